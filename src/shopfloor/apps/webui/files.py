"""The built files of the web app, read once: what is small stays in memory, with its compressed twins."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

BUILT: Final = Path(__file__).parent / "dist"
NONCE_MARK: Final = "__CSP_NONCE__"
_TWINS: Final = {".br": "br", ".gz": "gzip"}  # file ending: Content-Encoding, best first
_KINDS: Final = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml", ".json": "application/json"}


@dataclass(frozen=True, slots=True)
class Asset:
    """One built file. `twins` are the same content by encoding, the best one first."""

    kind: str
    content: bytes = field(repr=False)
    twins: Mapping[str, bytes] = field(default_factory=dict[str, bytes], repr=False)
    hashed: bool = False  # its name changes with its content


@dataclass(frozen=True, slots=True)
class WebFiles:
    """What was built: files by their path, and the page that starts the app."""

    page: str
    assets: Mapping[str, Asset]


def built_files(folder: Path = BUILT) -> WebFiles | None:
    """Everything under `folder`; None if the web app was not built."""
    page = folder / "index.html"
    if not page.is_file():
        return None
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix not in _TWINS]
    paths = [path for path in paths if path != page and ".vite" not in path.relative_to(folder).parts]
    assets = {f"/{path.relative_to(folder).as_posix()}": _asset(path, folder) for path in paths}
    return WebFiles(page.read_text("utf-8"), assets)


def _asset(path: Path, folder: Path) -> Asset:
    kind = _KINDS.get(path.suffix) or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    named = kind if not kind.startswith(("text/", "application/json")) else f"{kind}; charset=utf-8"
    twins = {
        encoding: twin.read_bytes()
        for ending, encoding in _TWINS.items()
        if (twin := path.with_name(path.name + ending)).is_file()
    }
    return Asset(named, path.read_bytes(), twins, hashed=path.relative_to(folder).parts[0] == "assets")
