"""What this room counts for `/metrics`."""

from __future__ import annotations

from shopfloor.infra.metrics import counter, gauge
from shopfloor.infra.tx import Tx

OPEN = gauge("shopfloor_dead_letters_open", "Dead letters nobody has settled, over all organizations.", ["kind"])
ADDED = counter("shopfloor_dead_letters_total", "Jobs and tasks given up, as this process saw it.", ["kind"])


async def count_open(tx: Tx) -> None:
    """Set the gauge (a system transaction); the index of open letters holds no others."""
    rows = await tx.all("select kind, count(*) as n from dead_letters where state = 'open' group by kind")
    found = {row["kind"]: row["n"] for row in rows}
    for kind in ("job", "task"):
        OPEN.labels(kind).set(found.get(kind, 0))
