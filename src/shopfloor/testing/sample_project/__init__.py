"""A small Python repository with one bug and one failing test: what the demo and the end-to-end tests work on.

The files lie in `files/`, each with `.txt` after its real name so that no tool of ours takes them for its own.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from shopfloor.base.errors import Conflict, Unavailable

FILES = Path(__file__).parent / "files"
TASK = (
    "The test suite fails: half a cent of discount or tax must round up, but some amounts come out a cent too low. "
    "Find the cause, fix it, and show that all tests pass."
)
CHECK = "python3 -m pytest -q"
FIXED_FILE = "pricing/rounding.py"

_WHEN = "2026-01-05T09:00:00+00:00"
_GIT_TIMEOUT_S = 30
_IDENTITY = {
    "GIT_AUTHOR_NAME": "Sample Project",
    "GIT_AUTHOR_EMAIL": "sample@example.invalid",
    "GIT_AUTHOR_DATE": _WHEN,
    "GIT_COMMITTER_NAME": "Sample Project",
    "GIT_COMMITTER_EMAIL": "sample@example.invalid",
    "GIT_COMMITTER_DATE": _WHEN,
    "GIT_CONFIG_GLOBAL": os.devnull,  # nobody's hooks, signing key or line endings
    "GIT_CONFIG_SYSTEM": os.devnull,
}


def create(path: Path) -> str:
    """Make the repository in `path` (new or empty), branch `main`; its commit, the same on every machine.

    Raises: Conflict if something is there already; Unavailable if Git is missing or fails.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise Conflict(f"{path} is not an empty folder: name a new one for the sample project.", path=str(path))
    path.mkdir(parents=True, exist_ok=True)
    for name, content in contents().items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(0o644)
    _git(path, "init", "--quiet", "--initial-branch=main", "--template=", "--object-format=sha1")
    _git(path, "add", "--all")
    _git(path, "commit", "--quiet", "--message=Price carts in whole cents")
    return _git(path, "rev-parse", "HEAD").strip()


def contents() -> dict[str, bytes]:
    """The files by their real path."""
    found = sorted(file for file in FILES.rglob("*.txt") if file.is_file())
    return {file.relative_to(FILES).as_posix().removesuffix(".txt"): file.read_bytes() for file in found}


def _git(path: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(path), "LC_ALL": "C", **_IDENTITY}
    try:
        done = subprocess.run(
            ["git", *arguments],  # noqa: S607 - whichever Git the machine has
            cwd=path,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=_GIT_TIMEOUT_S,
        )
    except FileNotFoundError as error:
        raise Unavailable("Git is not installed: install it (on Debian: apt-get install git) and try again.") from error
    except subprocess.SubprocessError as error:
        said = getattr(error, "stderr", None) or error
        raise Unavailable(f"Git could not make the sample project: {said}", path=str(path)) from error
    return done.stdout
