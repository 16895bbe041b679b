"""What a browser loads of the built web app, gzipped, beside its budget; exit code 1 when one is passed.

The shell is the entry with the frame around every page; a first route is that with a page's own chunk; a lazy chunk is
what one tab or dialog adds. Says nothing where the app isn't built.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

DIST = Path(__file__).parent.parent / "src/shopfloor/apps/webui/dist"
SHELL_KIB, ROUTE_KIB, LAZY_KIB, CSS_KIB = 160, 220, 90, 30
FRAME = "src/routes/_app.tsx?tsr-split=component"
Manifest = dict[str, dict[str, Any]]


def files_of(manifest: Manifest, *chunks: str) -> set[str]:
    """Every script that these chunks load before they run."""
    found: set[str] = set()
    pending = list(chunks)
    while pending:
        chunk = manifest[pending.pop()]
        if chunk["file"] not in found:
            found.add(chunk["file"])
            pending += chunk.get("imports", [])
    return found


def kib(files: set[str]) -> float:
    """As they are sent: the twin that was made at the build, else the file itself."""
    return (
        sum((twin if (twin := DIST / f"{file}.gz").exists() else DIST / file).stat().st_size for file in files) / 1024
    )


def measured(manifest: Manifest) -> list[tuple[str, float, float]]:
    """(what, KiB, at most)."""
    entry = next(name for name, chunk in manifest.items() if chunk.get("isEntry"))
    shell = files_of(manifest, entry, FRAME)
    rows = [("shell", kib(shell), float(SHELL_KIB))]
    for name, chunk in sorted(manifest.items()):
        if not chunk.get("isDynamicEntry") or name == FRAME:
            continue
        if name.startswith("src/routes/"):
            frame = (FRAME,) if "/_app/" in name else ()
            rows.append((name.partition("?")[0], kib(files_of(manifest, entry, *frame, name)), float(ROUTE_KIB)))
        else:
            rows.append((name, kib(files_of(manifest, name) - shell), float(LAZY_KIB)))
    css = {file for chunk in manifest.values() for file in chunk.get("css", []) if chunk.get("isEntry")}
    return [*rows, ("css of the entry", kib(css), float(CSS_KIB))]


def main() -> int:
    """The exit code."""
    found = DIST / ".vite/manifest.json"
    if not found.is_file():
        return 0
    rows = measured(json.loads(found.read_text()))
    passed = [row for row in rows if row[1] > row[2]]
    for what, size, most in rows if passed or "--all" in sys.argv else []:
        print(f"{'OVER' if size > most else 'ok':<5} {size:7.1f} of {most:5.0f} KiB  {what}")
    return 1 if passed else 0


if __name__ == "__main__":
    sys.exit(main())
