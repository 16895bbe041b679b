"""Check the seed of prices against what the providers' own pages said: `python scripts/check_prices.py`.

Exit code 1 if something differs: then read the page again, and either put the new figure and day into
src/shopfloor/engine/providers/published.json, or wait for genai-prices to follow.
"""

from __future__ import annotations

import sys

from shopfloor.engine.providers.published import cross_check, published


def main() -> int:
    """Print what differs; the exit code."""
    found = cross_check()
    for each in found:
        print(each)
    standard = sum(line.service_tier == "standard" for line in published())
    print(f"{len(published())} recorded lines ({standard} at the standard tier), {len(found)} differences.")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
