"""Crafted: SYN, SYN-ACK and FIN with a window of zero advertise nothing; a bare ACK and data do."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake(window=0)
ladder.b("A", 1, ack=1, window=0)
ladder.b("PA", 1, ack=1, data=b"abc", window=0)
ladder.b("FA", 4, ack=1, window=0)
ladder.a("FA", 1, ack=5, window=0)
ladder.b("A", 5, ack=2)
ladder.save(__file__)
