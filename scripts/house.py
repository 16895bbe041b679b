"""The house's own rules about what is committed, those that no linter knows. Exit 1 with a line for each breach."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
MOST_LINES = 500
CODE = {".py", ".ts", ".tsx"}
GENERATED = {"web/src/api/schema.d.ts", "web/src/routeTree.gen.ts"}
UNFINISHED = {
    "src/": re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError"),
    "tests/": re.compile(r"\b(TODO|FIXME|XXX|HACK)\b|pytest\.mark\.(skip|xfail)\b"),
}
SECRET = re.compile(
    r"\b(sk-ant-api\d\d-[A-Za-z0-9_-]{40,}|ghp_[A-Za-z0-9]{36}|AKIA[0-9A-Z]{16})\b|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
FAKE = re.compile(r"fake|example|test|mock|EXAMPLE|AAAA|0123", re.IGNORECASE)


def main() -> int:
    """1 if anything was found."""
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    breaches = [breach for name in listing.split("\0") if name for breach in _breaches(name)]
    for breach in breaches:
        print(breach)
    return bool(breaches)


def _breaches(name: str) -> list[str]:
    file = ROOT / name
    if file.is_symlink() or not file.is_file():
        return []
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return []
    return [*_too_long(name, lines), *_by_line(name, lines)]


def _too_long(name: str, lines: list[str]) -> list[str]:
    if Path(name).suffix not in CODE or name in GENERATED or len(lines) <= MOST_LINES:
        return []
    return [f"{name}: {len(lines)} lines; {MOST_LINES} at most: does it tell one story?"]


def _by_line(name: str, lines: list[str]) -> list[str]:
    found: list[str] = []
    for number, line in enumerate(lines, 1):
        if name.startswith("requirements/") and "://" in line:
            found.append(f"{name}:{number}: a lock file holds hashes, no addresses")
        if any(name.startswith(top) and pattern.search(line) for top, pattern in UNFINISHED.items()):
            found.append(f"{name}:{number}: unfinished or skipped: {line.strip()[:100]}")
        if (secret := SECRET.search(line)) and not FAKE.search(line):
            found.append(f"{name}:{number}: looks like a secret: {secret[0][:12]}...")
    return found


if __name__ == "__main__":
    sys.exit(main())
