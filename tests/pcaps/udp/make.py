"""Crafted: a question, two answers, and one datagram nobody answers."""

from tests.pcaps.craft import Ladder

ladder = Ladder(b_port=53)
ladder.datagram("a", b"question")
ladder.datagram("b", b"answer one")
ladder.datagram("b", b"answer two", after=500_000)
ladder.ports = {"a": 5000, "b": 6000}
ladder.datagram("a", b"")
ladder.save(__file__)
