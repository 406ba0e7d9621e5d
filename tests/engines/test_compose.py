from __future__ import annotations

import re

from lab.engines.compose import SUBNET_REFUSALS, project_name


def test_a_project_name_is_one_that_both_compose_versions_take_and_unique_to_the_run() -> None:
    names = [project_name(run) for run in ("20261123T150102Z-3fa9c1", "20261123T150102Z-3fa9c2", "a.b/c")]
    assert len(set(names)) == 3
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) for name in names)


def test_a_taken_subnet_is_known_by_the_engines_words() -> None:
    said = "Pool overlaps with other one on this address space"
    assert any(refusal in said for refusal in SUBNET_REFUSALS)
