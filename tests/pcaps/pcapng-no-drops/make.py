"""Crafted: the recorder says that it lost nothing: silence is silence."""

from pathlib import Path

from lab.analysis.capture_file import PcapngWriter
from tests.pcaps.craft import Ladder

ladder = Ladder()
ladder.a("S", 0)
with PcapngWriter(Path(__file__).with_name("input.pcapng")) as file:
    file.packet(*ladder.frames[0])
    file.statistics(ladder.t_ns, received=1, dropped=0)
