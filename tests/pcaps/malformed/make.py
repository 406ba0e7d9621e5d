"""Crafted: headers that contradict themselves take no part."""

from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.handshake()
whole = bytes(ladder.packets[-1])
bad_offset = bytearray(whole)
bad_offset[32] = 0x10
bad_version = bytearray(whole)
bad_version[0] = 0x55
ether = bytes(12) + b"\x08\x00"
for broken in (bad_offset, bad_version, whole[:30], b""):
    ladder.frames.append((ladder.t_ns, ether + bytes(broken)))
ladder.frames.append((ladder.t_ns, b"\x01\x02"))
ladder.save(__file__)
