"""How many attacks were tried, by family: printed at the end of a run, and too few of them fail it."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath

import pytest

FAMILIES = ("api", "fuzz", "input", "ssrf", "tenancy")
FEWEST = 300  # when all of them ran


def attacks(reports: list[pytest.TestReport]) -> Counter[str]:
    """Cases that passed, by file. A test that tries many says how many by the property `cases`."""
    tried: Counter[str] = Counter()
    for report in reports:
        path = PurePath(report.nodeid.partition("::")[0])
        if path.parts[:2] == ("tests", "security") and len(path.parts) > 3 and path.parts[2] in FAMILIES:
            more = [int(str(value)) for name, value in report.user_properties if name == "cases"]
            tried[f"{path.parts[2]}: {path.stem.removeprefix('test_').replace('_', ' ')}"] += sum(more) or 1
    return tried


def summary(tried: Counter[str]) -> list[str]:
    """Lines for a person."""
    lines = [f"{count:6} {family}" for family, count in sorted(tried.items())]
    return [*lines, f"{tried.total():6} attacks and controls tried, 0 through"]


def too_few(tried: Counter[str]) -> bool:
    """Whether all families ran and tried fewer than they should."""
    ran = {family.partition(":")[0] for family in tried}
    return ran == set(FAMILIES) and tried.total() < FEWEST
