"""`shopfloor`: answers what needs nothing loaded, hands the rest to `root`."""

from __future__ import annotations

import sys

from shopfloor import __version__

_VERSION = (["--version"], ["-V"], ["version"])


def main() -> None:
    """The console script. Leaves with the exit code."""
    words = sys.argv[1:]
    if words in _VERSION:
        sys.stdout.write(f"shopfloor {__version__}\n")
        return
    from shopfloor.apps.cli.root import run  # Typer alone takes as long as everything --version may

    sys.exit(run(words))


if __name__ == "__main__":
    main()
