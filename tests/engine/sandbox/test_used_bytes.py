"""What a soft disk holds, as far as the worker can see."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shopfloor.engine.sandbox.quota import used_bytes

MEASURE = (
    "import os, sys; from pathlib import Path; from shopfloor.engine.sandbox.quota import used_bytes; "
    "os.setgid(65534); os.setuid(65534); print(*used_bytes(Path('.')))"
)


def test_files_are_counted_and_links_are_not_followed(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"x" * 10_000)
    (tmp_path / "away").symlink_to("/usr")
    used, complete = used_bytes(tmp_path)
    assert 10_000 <= used <= 40_000
    assert complete


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("mode", [0o000, 0o744])
def test_a_folder_that_may_not_be_entered_is_told(tmp_path: Path, mode: int):
    (tmp_path / "open").write_bytes(b"x" * 10_000)
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "file").write_bytes(b"x" * 100_000)
    closed.chmod(mode)
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    used, complete = done.stdout.split()
    assert (int(used) < 100_000, complete) == (True, "False")
