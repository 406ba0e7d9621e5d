"""A dot plot places each median on its panel's scale, with its interval, and says its number."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from lab.report.dot_plot import PANEL, Dot, Panel, dot_plot
from lab.units import show_count

SPACE = {"svg": "http://www.w3.org/2000/svg"}


def dot(median: float, low: float | None = None, high: float | None = None) -> Dot:
    return Dot(median=median, low=median if low is None else low, high=median if high is None else high)


def circles(*dots: Dot | None) -> list[tuple[float, str]]:
    """Where the dots of one panel stand (x), and what each says."""
    panel = Panel(heading="calls", note="less is better", show=show_count, dots=dots)
    drawn = dot_plot([f"row {n}" for n in range(len(dots))], [panel], title="t", summary="s")
    found = ElementTree.fromstring(drawn).findall(".//svg:circle", SPACE)
    return [(float(node.get("cx", "")), node.findtext("svg:title", "", SPACE)) for node in found]


def test_medians_of_one_magnitude_stand_in_proportion_from_zero():
    (two, _), (four, _), (ten, said) = circles(dot(2), dot(4), dot(10))
    assert (four - two) / (ten - two) == pytest.approx(2 / 8, abs=0.01)
    assert said == "10"


def test_medians_of_several_magnitudes_stand_by_powers_of_ten():
    (one, _), (ten, _), (hundred, _) = circles(dot(1), dot(10), dot(100))
    assert ten - one == pytest.approx(hundred - ten, abs=0.2)
    assert hundred - one == pytest.approx(PANEL, abs=0.2)


def test_zero_stands_at_the_left_edge_of_a_logarithmic_scale():
    (zero, said), (one, _), _ = circles(dot(0), dot(1), dot(1000))
    assert zero == one
    assert said == "0"


def test_a_subject_without_a_number_has_its_row_and_no_dot():
    assert len(circles(dot(1), None, dot(2))) == 2


def test_a_panel_without_any_number_is_drawn_with_its_heading_alone():
    assert circles(None, None) == []
