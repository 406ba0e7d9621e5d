"""Traffic that the tests of capture and host send, as programs run inside a host.

python traffic.py serve ADDRESS PORT        echo until its standard input ends; prints `up` when it listens
python traffic.py connect ADDRESS PORT N    N connections one after another, 64 bytes echoed on each
python traffic.py datagrams ADDRESS PORT N  N datagrams of 64 bytes as fast as it goes; prints when it is done
python traffic.py bulk ADDRESS PORT BYTES   one connection; that many bytes, echoed
"""

from __future__ import annotations

import select
import socket
import sys


def serve(address: str, port: int) -> None:
    listener = socket.create_server((address, port), backlog=1024)
    listener.setblocking(False)
    waiting = select.epoll()
    waiting.register(listener, select.EPOLLIN)
    waiting.register(sys.stdin, select.EPOLLIN)
    connections: dict[int, socket.socket] = {}
    print("up", flush=True)
    while True:
        for descriptor, _events in waiting.poll():
            if descriptor == sys.stdin.fileno():
                return
            if descriptor == listener.fileno():
                connection, _peer = listener.accept()
                connections[connection.fileno()] = connection
                waiting.register(connection, select.EPOLLIN)
                continue
            connection = connections[descriptor]
            if data := connection.recv(65536):
                connection.sendall(data)
            else:
                del connections[descriptor]
                connection.close()


def connect(address: str, port: int, number: int) -> None:
    for _ in range(number):
        bulk(address, port, 64)


def bulk(address: str, port: int, size: int) -> None:
    with socket.create_connection((address, port)) as connection:
        while size > 0:
            piece = min(size, 20_000)
            connection.sendall(bytes(piece))
            left = piece
            while left:
                left -= len(connection.recv(left))
            size -= piece


def datagrams(address: str, port: int, number: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.connect((address, port))
        for i in range(number):
            try:
                sender.send(i.to_bytes(4, "big") + bytes(60))
            except ConnectionRefusedError:  # the answer (ICMP) to an earlier datagram: nobody needs to listen
                sender.send(i.to_bytes(4, "big") + bytes(60))
    print("sent", flush=True)


if __name__ == "__main__":
    what, where, *numbers = sys.argv[1:]
    {"serve": serve, "connect": connect, "bulk": bulk, "datagrams": datagrams}[what](where, *map(int, numbers))
