"""`shopfloor demo`: the main job on a sample repository, with a real sandbox and a mock model over real HTTP."""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shopfloor.apps.cli.failures import FAILED, exit_code_of_job
from shopfloor.base.errors import Conflict, ShopfloorError

if TYPE_CHECKING:
    from shopfloor.apps.cli.screen import Screen
    from shopfloor.apps.wiring import Parts
    from shopfloor.base.principal import Principal
    from shopfloor.engine.providers.port import Unit
    from shopfloor.infra.tx import Tx
    from shopfloor.testing.mock_provider import Bill, Scenario, Server

_PROVIDER = "mock"
_MODEL = f"{_PROVIDER}/demo"
_LABELS = {"from": "demo"}
_KEY = "sk-mock-demo"
_START_S = 10.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo", help="See it work: a sample repository, a mock model, a real sandbox.")(_demo)


def _demo(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Fold nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The job as JSON on standard output at the end.")] = False,
) -> None:
    from shopfloor.apps.cli.run import finish, in_terminal
    from shopfloor.apps.cli.screen import Screen
    from shopfloor.apps.cli.settings import settings_for
    from shopfloor.apps.one_job import Asked
    from shopfloor.apps.only_one import running
    from shopfloor.testing import sample_project

    settings = settings_for(quiet=True, providers={"allow_private": True})
    if (other := running(settings.home)) is not None:
        raise Conflict(
            f"`shopfloor up` works on {settings.home} (process {other.process}) and would take the demo's job, without "
            "the mock model. Stop it first, or run SHOPFLOOR_HOME=/var/tmp/shopfloor-demo shopfloor demo."
        )
    screen = Screen(sys.stderr if as_json else sys.stdout, verbose=verbose)
    with tempfile.TemporaryDirectory(prefix="shopfloor-demo-") as scratch, _mock() as server:
        folder = Path(scratch) / "pricing"
        commit = sample_project.create(folder)
        _introduce(screen, settings.home, folder, commit, server.url)
        asked = Asked(
            sample_project.TASK,
            folder,
            submission={"model": _MODEL, "checks": [sample_project.CHECK], "labels": _LABELS},
        )

        async def prepare(parts: Parts, owner: Principal) -> None:
            await _ready(parts, owner, server)

        ended, _ = in_terminal(settings, asked, screen, prepare=prepare)
        finish(screen, ended, as_json=as_json, folder=None)
        same = _compare(screen, server.bill(), ended.job["cost_nanos"])
    _what_next(screen)
    raise typer.Exit(exit_code_of_job(ended.job) or (0 if same else FAILED))


def _introduce(screen: Screen, home: Path, folder: Path, commit: str, url: str) -> None:
    from shopfloor.testing.sample_project import CHECK, TASK

    screen.say("Shopfloor demo: from a task to a checked diff", "head")
    screen.say(f"repository  {folder}, a shop's pricing with one bug, at {commit[:12]}")
    screen.say(f"task        {TASK}")
    screen.say(f"check       {CHECK}")
    screen.say(f"model       {_MODEL}: a mock that answers from a file over real HTTP at {url}")
    screen.say(f"data        {home}")
    screen.say("")


async def _ready(parts: Parts, owner: Principal, server: Server) -> None:
    """The mock as a provider with its price; demos that were broken off are cancelled: their mock is gone."""
    from shopfloor.domain.jobs import control, store
    from shopfloor.domain.jobs.lifecycle import TERMINAL, State
    from shopfloor.infra.tx import begin

    open_states = sorted(set(State) - TERMINAL)
    async with begin(parts.store, owner) as tx:
        filters = {"state": open_states, "label": _LABELS}
        for job in await store.jobs(tx, filters=filters, after=None, limit=100):
            await control.cancel(tx, job.id)
    async with begin(parts.store, owner) as tx:
        await _provider(parts, tx, server)


async def _provider(parts: Parts, tx: Tx, server: Server) -> None:
    from shopfloor.domain.models import prices, providers
    from shopfloor.domain.models import store as models
    from shopfloor.engine.providers.port import ModelRef

    known = (await models.providers_named(tx, [_PROVIDER])).get(_PROVIDER)
    if known is None:
        new = providers.NewProvider(_PROVIDER, "mock", _KEY, server.openai_url)
        await providers.add_provider(tx, parts.sealer, new, origin="environment")
    else:
        change = providers.ProviderChange(frozenset({"api_key", "base_url"}), _KEY, server.openai_url)
        await providers.change_provider(tx, parts.sealer, known, change)
    ref, picos = ModelRef.parse(_MODEL), _picos(server.app.scenario)
    now = await models.own_price(tx, ref, tx.clock.now())
    if now is None or now.picos != picos:
        await prices.set_price(tx, ref, picos)


def _picos(scenario: Scenario) -> dict[Unit, int]:
    """The scenario's price in our units: pico-USD a token."""
    from shopfloor.base.money import picos_per_unit

    price = scenario.price_of("demo")
    assert price is not None
    given: dict[Unit, Decimal | None] = {
        "input": price.input, "output": price.output, "cache-read": price.cache_read,
        "cache-write-5m": price.cache_write_5m, "cache-write-1h": price.cache_write_1h, "reasoning": price.reasoning,
    }  # fmt: skip
    return {unit: picos_per_unit(usd) for unit, usd in given.items() if usd is not None}


def _compare(screen: Screen, bill: Bill, ours_nanos: int) -> bool:
    from shopfloor.base.money import format_usd

    same = bill.cost_nanos == ours_nanos
    theirs, ours = format_usd(bill.cost_nanos), format_usd(ours_nanos)
    said = f"bill        the mock provider served {len(bill.billed)} calls and asks {theirs}; we booked {ours}"
    screen.say(f"{said}: the same to the nano-dollar" if same else f"{said}: NOT the same", "good" if same else "bad")
    return same


def _what_next(screen: Screen) -> None:
    screen.say("")
    screen.say("On a repository of your own", "head")
    screen.say("  export ANTHROPIC_API_KEY=...     (or OPENAI_API_KEY, GEMINI_API_KEY, ...)")
    screen.say('  shopfloor run --repo . --model anthropic/claude-sonnet-5 "fix the failing test"')
    screen.say("  shopfloor up     API, worker and database for a team")


@contextmanager
def _mock() -> Generator[Server]:
    """The mock provider on an event loop of its own, in a thread: nothing but HTTP between it and us."""
    from shopfloor.testing.mock_provider import serve

    ready: list[Server] = []
    started, stop = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def served() -> None:
        loops.append(asyncio.get_running_loop())
        async with serve("demo") as server:
            ready.append(server)
            started.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(served()), name="mock-provider", daemon=True)
    thread.start()
    if not started.wait(_START_S):
        raise ShopfloorError("The mock provider did not start: the lines above say why.")
    try:
        yield ready[0]
    finally:
        loops[0].call_soon_threadsafe(stop.set)
        thread.join(_START_S)
