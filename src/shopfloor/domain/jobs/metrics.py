"""What this room counts for `/metrics`."""

from __future__ import annotations

from typing import Final

from shopfloor.base.money import NANOS_PER_USD
from shopfloor.infra.metrics import counter, gauge, histogram
from shopfloor.infra.tx import Tx

OPEN_STATES: Final = ("queued", "running", "waiting")
_MINUTES_S = (5, 15, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 14_400)

OPEN = gauge("shopfloor_jobs_open", "Jobs that have not ended, over all organizations.", ["state"])
ENDED = counter("shopfloor_jobs_ended_total", "Jobs ended by this process.", ["state", "ending"])
RUN_SECONDS = histogram("shopfloor_run_seconds", "A run, from claim to end.", ["ending"], buckets=_MINUTES_S)
LOST = counter("shopfloor_runs_lost_total", "Runs taken back from workers that fell silent.")
REPLIES = counter("shopfloor_model_replies_total", "Model replies recorded.", ["model"])
TOKENS = counter("shopfloor_model_tokens_total", "Tokens of recorded replies.", ["model", "class"])
COST = counter("shopfloor_model_cost_usd_total", "Cost of recorded replies, in USD.", ["model"])


async def count_open(tx: Tx) -> None:
    """Set the gauge of open jobs (a system transaction); the states' indexes hold open jobs only."""
    rows = await tx.all(
        "select state, count(*) as n from jobs where state in ('queued', 'running', 'waiting') group by state"
    )
    found = {row["state"]: row["n"] for row in rows}
    for state in OPEN_STATES:
        OPEN.labels(state).set(found.get(state, 0))


def count_reply(model: str, cost_nanos: int, usage: dict[str, int]) -> None:
    """One recorded reply."""
    REPLIES.labels(model).inc()
    COST.labels(model).inc(cost_nanos / NANOS_PER_USD)
    for name, tokens in usage.items():
        if name != "requests":
            TOKENS.labels(model, name.removesuffix("_tokens")).inc(tokens)
