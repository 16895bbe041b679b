"""The map of ASVS 5.0: complete for levels 1 and 2, and every test that it names exists."""

from __future__ import annotations

import ast
import csv
import re
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "compliance" / "asvs.csv"
COLUMNS = ["requirement_id", "level", "chapter", "requirement", "status", "evidence"]
STATUSES = {"met", "partly", "not applicable", "open"}
# How many requirements of levels 1 and 2 each chapter has. Source: OWASP ASVS 5.0.0
IN_CHAPTER = {
    "V1": 27, "V2": 11, "V3": 19, "V4": 10, "V5": 9, "V6": 35, "V7": 18, "V8": 7, "V9": 7, "V10": 29, "V11": 14,
    "V12": 9, "V13": 13, "V14": 9, "V15": 13, "V16": 16, "V17": 7,
}  # fmt: skip
_TEST = re.compile(r"\b(tests/[\w/]+\.py)(?:::(\w+))?")
_FILE = re.compile(r"\b((?:docs|requirements|scripts)/[\w./-]*\w)")


def rows() -> list[dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == COLUMNS
        return list(reader)


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def missing_in(evidence: str) -> list[str]:
    """What an evidence names and the tree doesn't have."""
    found = [f"{path}::{name}" if name else path for path, name in _TEST.findall(evidence)]
    gone = [each for each in found if not _there(each)]
    return gone + [path for path in _FILE.findall(evidence) if not (ROOT / path).exists()]


def _there(test: str) -> bool:
    path, _, name = test.partition("::")
    return (ROOT / path).exists() and (not name or name in names_in(path))


def test_every_requirement_of_levels_one_and_two_stands_there_once():
    found = rows()
    ids = [row["requirement_id"] for row in found]
    assert [each for each, times in Counter(ids).items() if times > 1] == []
    assert {row["level"] for row in found} == {"1", "2"}
    assert Counter(each.partition(".")[0] for each in ids) == IN_CHAPTER
    assert Counter(row["level"] for row in found) == {"1": 70, "2": 183}
    assert all(row["chapter"].split()[0] == row["requirement_id"].partition(".")[0] for row in found)


def test_every_row_has_a_status_and_its_evidence():
    for row in rows():
        assert row["status"] in STATUSES, row
        assert len(row["requirement"]) > 10, row
        assert len(row["evidence"]) > 3, row


def test_what_is_met_names_a_test_a_file_or_a_setting():
    shown = re.compile(r"tests/|docs/|requirements/|SHOPFLOOR_|\w/\w+\.py|pyproject\.toml|written in Python")
    assert [row for row in rows() if row["status"] == "met" and not shown.search(row["evidence"])] == []


def test_every_test_and_file_that_is_named_exists():
    gone = {row["requirement_id"]: found for row in rows() if (found := missing_in(row["evidence"]))}
    assert gone == {}


def test_a_name_that_is_not_there_is_seen():
    """The positive control of the test above."""
    assert missing_in("tests/compliance/test_asvs.py::test_nothing") == ["tests/compliance/test_asvs.py::test_nothing"]
    assert missing_in("tests/nowhere.py::test_x; docs/nowhere.md") == ["tests/nowhere.py::test_x", "docs/nowhere.md"]
    assert missing_in("tests/compliance/test_asvs.py::test_a_name_that_is_not_there_is_seen") == []
