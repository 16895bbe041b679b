"""The scanner of `make check`: nothing in this repository, and each planted key is found."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# Put together here, so that no file of the repository holds one whole. None was ever a key.
PLANTED = {
    "AWS": "AKIA" + "QW7NB2LKX5VTRM3C",
    "GitHub": "ghp_" + "Kq8ZrT2mVx5LbN7wYc4Hs9Jd3Fg6Pa1Qe0Ru",
    "Anthropic": "sk-ant-" + "api03-Kq8ZrT2mVx5LbN7wYc4Hs9Jd3Fg6Pa",
    "Vault": "hvs." + "CAESIKq8ZrT2mVx5LbN7wYc4Hs9Jd3Fg6Pa",
    "ours": "sf_live_" + "Kq8ZrT2mVx5L_" + "bN7wYc4Hs9Jd3Fg6Pa2QeTRuKq8ZrT2mVx5LbN",
    "a private key": "-----BEGIN RSA " + "PRIVATE KEY-----",
    "a password in a URL": "postgresql://keeper:" + "Kq8ZrT2mVx5L@db.internal/s",
}


def _scan(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/scan_secrets.py", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _repository(folder: Path, content: str) -> Path:
    (folder / "settings.py").write_text(content)
    (folder / "untracked.py").write_text(f'KEY = "{PLANTED["AWS"]}"\n')
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run(["git", "add", "settings.py"], cwd=folder, check=True)
    return folder


def test_this_repository_holds_none():
    scanned = _scan()
    assert (scanned.returncode, scanned.stdout) == (0, ""), scanned.stdout + scanned.stderr


def test_every_planted_key_is_found_by_its_line_and_never_printed(tmp_path: Path):
    lines = [f"name_{number} = '{key}'" for number, key in enumerate(PLANTED.values())]
    scanned = _scan("--root", _repository(tmp_path, "\n".join(["# settings", *lines])))
    assert scanned.returncode == 1
    found = {int(line.split(":")[1]) for line in scanned.stdout.splitlines() if line.startswith("settings.py")}
    assert found == set(range(2, len(PLANTED) + 2)), scanned.stdout
    assert not [key for key in PLANTED.values() if key in scanned.stdout and "PRIVATE" not in key]


def test_what_is_visibly_fake_or_not_tracked_passes(tmp_path: Path):
    fakes = 'A = "sk-ant-api03-visibly-fake-fake-fake-0000"\nB = "postgresql://owner:visibly-fake@host/x"\n'
    assert _scan("--root", _repository(tmp_path, fakes)).returncode == 0


@pytest.mark.parametrize("planted", [True, False])
def test_a_wheel_is_looked_into(tmp_path: Path, planted: bool):
    wheel = tmp_path / "thing-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("thing/__init__.py", f'KEY = "{PLANTED["GitHub"] if planted else "none"}"\n')
    scanned = _scan(wheel)
    assert (scanned.returncode, "thing/__init__.py:1" in scanned.stdout) == (int(planted), planted)
