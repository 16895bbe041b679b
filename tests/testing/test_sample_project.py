from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from shopfloor.base.errors import Conflict
from shopfloor.testing import sample_project
from shopfloor.testing.mock_provider import load


def run_tests(folder: Path) -> str:
    """The last line that pytest prints there."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:asyncio", "-p", "no:xdist"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    return done.stdout.strip().splitlines()[-1]


def test_the_commit_is_the_same_everywhere(tmp_path):
    commits = {sample_project.create(tmp_path / name) for name in ("a", "b")}
    assert commits == {"fa016248452b9b390847ea94c49bfd9118983d04"}


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    (tmp_path / "mine").write_text("keep")
    with pytest.raises(Conflict):
        sample_project.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_one_test_fails_and_the_demo_scenarios_edit_repairs_it(tmp_path):
    sample_project.create(tmp_path / "repo")
    before = run_tests(tmp_path / "repo")
    edits = [
        call.arguments
        for reply in load("demo").scenes[0].replies
        for call in reply.tool_calls
        if call.name == "edit_file"
    ]
    for edit in edits:
        assert isinstance(edit, dict)
        file = tmp_path / "repo" / edit["path"]
        assert file.read_text().count(edit["old"]) == 1
        file.write_text(file.read_text().replace(edit["old"], edit["new"]))
    after = run_tests(tmp_path / "repo")
    assert [edit["path"] for edit in edits] == [sample_project.FIXED_FILE]
    assert before.startswith("1 failed, 10 passed")
    assert after.startswith("11 passed")
