"""Crafted after RFC 9293 figure 6: three segments, with the options that Linux offers."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
offered = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
answered = [("MSS", 1400), ("SAckOK", b""), ("Timestamp", (9, 1)), ("NOP", None), ("WScale", 8)]
ladder.a("S", 0, options=offered)
ladder.b("SA", 0, ack=1, options=answered, after=2_000_000)
ladder.a("A", 1, ack=1, after=3_000_000)
ladder.save(__file__)
