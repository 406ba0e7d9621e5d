"""Crafted: the capture has each packet twice, 10 us apart; a real retransmission has another IP id."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
ladder.a("PA", 1, ack=1, data=b"abc")
copy = ladder.frames[-1]
ladder.frames.append((copy[0] + 10_000, copy[1]))
ladder.a("PA", 1, ack=1, data=b"abc")
ladder.frames.append((ladder.frames[-1][0] + 2_000_000, ladder.frames[-1][1]))
ladder.save(__file__)
