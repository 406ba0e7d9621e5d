"""Crafted: without a handshake seen, one side closes; Zeek calls it SH, and SHR where it is the responder."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("PA", 100, ack=200, data=b"abc")
ladder.a("FA", 103, ack=200)
ladder.ports["a"] += 1
ladder.a("PA", 100, ack=200, data=b"abc")
ladder.b("FA", 200, ack=103)
ladder.save(__file__)
