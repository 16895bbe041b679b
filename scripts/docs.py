"""Writes the reference pages that are made from the code; `--check` only says which are out of date."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from figures import page as figures

from shopfloor import __version__
from shopfloor.apps.api import create_app
from shopfloor.domain.access.permissions import reference as permissions
from shopfloor.infra.rate_limiter import RateLimiter
from shopfloor.infra.web.edge import EdgeSettings
from shopfloor.infra.web.error_reference import all_errors, reference
from shopfloor.infra.web.health import Health
from shopfloor.infra.web.rate_limiting import LimitsSettings

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"


def openapi() -> str:
    """The document that /openapi.json serves. No part is opened: routes are described, not called."""
    settings = SimpleNamespace(web=EdgeSettings(), limits=LimitsSettings())
    parts: Any = SimpleNamespace(settings=settings, health=Health(__version__), limiter=RateLimiter(), store=None)
    return json.dumps(create_app(parts).openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "openapi.json": openapi,
    "errors.md": lambda: reference(all_errors()),
    "figures.md": figures,
    "permissions.md": permissions,
}


def main(arguments: list[str]) -> int:
    """The exit code: 1 if `--check` found a page that differs."""
    stale: list[str] = []
    for name, write in PAGES.items():
        file, text = REFERENCE / name, write()
        if file.exists() and file.read_text(encoding="utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            file.write_text(text, encoding="utf-8")
    if not stale:
        return 0
    checking = "--check" in arguments
    print(f"{'Out of date, run `make docs`' if checking else 'Written'}: {', '.join(stale)}")
    return int(checking)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
