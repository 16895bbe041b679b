"""`python -m shopfloor.testing.mock_provider [--scenario FILE] [--host H] [--port N] [--bill FILE]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from shopfloor.base.errors import ShopfloorError
from shopfloor.testing.mock_provider.server import run_server


def main(arguments: list[str] | None = None) -> int:
    """Serve until stopped. Exit code 2 for a scenario or address that can't be used."""
    parser = argparse.ArgumentParser(prog="python -m shopfloor.testing.mock_provider", description=__doc__)
    parser.add_argument("--scenario", default="default", help="a built-in name or a YAML file")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8399, help="0: a free one")
    parser.add_argument("--bill", type=Path, default=None, help="append one JSON line for each request")
    chosen = parser.parse_args(arguments)
    try:
        run_server(chosen.scenario, host=chosen.host, port=chosen.port, bill_path=chosen.bill)
    except ShopfloorError as error:
        sys.stderr.write(f"{error.detail}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
