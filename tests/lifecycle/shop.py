"""A whole installation in this process: embedded PostgreSQL, a worker on a real engine, a mock provider over HTTP."""

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from sandbox_on_docker import SMALL
from shopfloor.apps import settings as app_settings
from shopfloor.apps.wiring import Parts, open_parts
from shopfloor.base.ids import new_id
from shopfloor.base.money import picos_per_unit
from shopfloor.base.principal import Principal
from shopfloor.domain.access import projects
from shopfloor.domain.access.first_start import local_owner
from shopfloor.domain.jobs import control, store
from shopfloor.domain.jobs.models import Event, Job
from shopfloor.domain.jobs.submit import Submission, submit
from shopfloor.domain.models.prices import set_price
from shopfloor.domain.models.providers import NewProvider, add_provider
from shopfloor.engine.providers.port import ModelRef
from shopfloor.infra.tx import Tx, begin, perform
from shopfloor.testing.mock_provider import Bill, Scenario, Server, load, parse, serve
from shopfloor.testing.mock_provider.scenario import Scene

MODEL = "mock/demo"
LIMITS = {"cost_nanos": 50_000_000_000, "turns": 40, "timeout_s": 300}
DONE = {"tool_calls": [{"name": "finish", "arguments": "from-schema"}]}
SETTINGS: dict[str, Any] = {
    "providers": {"allow_private": True, "attempts": 2, "call_timeout_s": 90},
    "repositories": {"allow_http": True, "allow_private": True},
    "jobs": {
        "heartbeat_s": 0.25,
        "heartbeat_limit_s": 6,
        "sweep_s": 0.25,
        "slots": 4,
        "provider_pause_longest_s": 1.5,
        "check_timeout_s": 60,
    },
    "sandbox": {"egress_allow_private": True, "limits": {name: getattr(SMALL, name) for name in SMALL.__slots__}},
}


def say(tool: str, **arguments: Any) -> dict[str, Any]:
    """A reply of the scripted model that calls one tool."""
    return {"tool_calls": [{"name": tool, "arguments": arguments}]}


def shell(command: str, **more: Any) -> dict[str, Any]:
    return say("shell", command=command, **more)


class Shop:
    """What a test works with. A job named `x` is answered by what `script("x", ...)` said before."""

    def __init__(self, parts: Parts, owner: Principal, mock: Server):
        self.parts, self.owner, self.mock = parts, owner, mock
        self._news = asyncio.Event()
        parts.notifier.listen(lambda _: self._news.set())

    def script(self, name: str, *replies: dict[str, Any], otherwise: dict[str, Any] | None = DONE, **more: Any) -> str:
        """Queue these replies for the conversation `name`; the text that a task has to hold to get them."""
        scene = {"name": name, "when": {"first_message_contains": marker(name)}, "replies": list(replies)}
        app = self.mock.app
        scene = Scene.model_validate({**scene, "otherwise": otherwise})
        app.scenario = app.scenario.model_copy(update={"scenes": [scene, *app.scenario.scenes], **more})
        return marker(name)

    async def submit(self, task: str, **fields: Any) -> Job:
        limits = {**LIMITS, **fields.pop("limits", {})}
        fields = {"model": MODEL, "checks": [], **fields}
        job, _ = await self.do(lambda tx: submit(tx, self.parts.desk, Submission(task=task, limits=limits, **fields)))
        self.parts.dispatcher.poke()
        return job

    async def run(self, task: str, *, within_s: float = 60, **fields: Any) -> Job:
        """Submit it and wait for its end."""
        job = await self.submit(task, **fields)
        return await self.ended(job.id, within_s=within_s)

    async def again(self, work: Callable[[Tx], Any]) -> Job:
        """A retry, fork or replay, on its way."""
        job = await self.do(work)
        self.parts.dispatcher.poke()
        return job

    async def cancel(self, job_id: UUID) -> None:
        await self.do(lambda tx: control.cancel(tx, job_id))
        self.parts.notifier.wake(f"cancel:{job_id}")

    async def do(self, work: Callable[[Tx], Any]) -> Any:
        async with begin(self.parts.store, self.owner) as tx:
            return await work(tx)

    async def job(self, job_id: UUID) -> Job:
        return await perform(self.parts.store, self.owner, lambda tx: store.job(tx, job_id))

    async def events(self, job_id: UUID, kind: str | None = None) -> list[Event]:
        found = await self.do(lambda tx: store.events(tx, job_id, after=0, limit=100_000))
        return [event for event in found if kind in (None, event.kind)]

    async def ended(self, job_id: UUID, *, within_s: float = 60) -> Job:
        async with self._limit(job_id, "end", within_s):
            while not (job := await self.job(job_id)).ended:
                await self._something()
            return job

    async def seen(self, job_id: UUID, kind: str, *, within_s: float = 60, **data: Any) -> Event:
        """The first event of this kind whose data holds `data`."""
        async with self._limit(job_id, f"say {kind}", within_s):
            while True:
                for event in await self.events(job_id, kind):
                    if data.items() <= event.data.items():
                        return event
                assert not (await self.job(job_id)).ended, await self.story(job_id)
                await self._something()

    async def told(self, job_id: UUID, kind: str) -> Event:
        """The one event of this kind that a job has told by now."""
        (event,) = await self.events(job_id, kind)
        return event

    async def results(self, job_id: UUID) -> list[str]:
        """What each tool call gave the model, in order."""
        steps = await self.do(lambda tx: store.steps(tx, job_id))
        done = [step.result for step in steps if step.kind == "tool" and step.turn > 0 and step.result is not None]
        return [result["text"] for result in done]

    async def asked(self, name: str, turn: int = 0, *, within_s: float = 60) -> None:
        """The provider has got the request for this turn (0-based)."""
        async with asyncio.timeout(within_s):
            while not any(entry.turn == turn for entry in self.bill(name).entries):  # noqa: ASYNC110 - another side's
                await asyncio.sleep(0.02)

    async def patch(self, job: Job) -> str:
        assert job.patch_digest is not None
        return b"".join([piece async for piece in self.parts.blobs.open(job.patch_digest)]).decode(errors="replace")

    async def artifacts(self, job_id: UUID) -> dict[str, int]:
        """Name -> bytes."""
        rows = await self.do(
            lambda tx: tx.all("select name, size_bytes from artifacts where job_id = %s order by id", (job_id,))
        )
        return {row["name"]: row["size_bytes"] for row in rows}

    def bill(self, name: str) -> Bill:
        return self.mock.bill().of(name)

    async def story(self, job_id: UUID) -> str:
        lines = [f"{event.seq} {event.kind} {json.dumps(event.data)[:600]}" for event in await self.events(job_id)]
        return "\n".join(lines[-40:])

    async def project(self, settings: dict[str, Any]) -> str:
        """A new project with these settings; its slug."""
        slug = f"p{new_id().hex[-12:]}"
        await self.do(lambda tx: projects.create_project(tx, slug=slug, name=slug, fields={"settings": settings}))
        return slug

    async def provider(self, name: str, base_url: str, key: str = "sk-mock-test") -> str:
        """Another provider, priced like the first; its model."""
        await self.do(lambda tx: add_provider(tx, self.parts.sealer, NewProvider(name, "mock", key, base_url)))
        await self.do(lambda tx: set_price(tx, ModelRef(name, "demo"), _picos(self.mock.app.scenario)))
        return f"{name}/demo"

    @asynccontextmanager
    async def _limit(self, job_id: UUID, what: str, within_s: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(within_s):
                yield
        except TimeoutError:
            raise AssertionError(f"It did not {what} within {within_s} s:\n{await self.story(job_id)}") from None

    async def _something(self) -> None:
        self._news.clear()
        with suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), 0.1)


def marker(name: str) -> str:
    return f"[[conversation: {name}]]"


def settings_in(home: Path, **changes: dict[str, Any]) -> app_settings.Settings:
    merged = {part: {**SETTINGS.get(part, {}), **changes.get(part, {})} for part in {*SETTINGS, *changes}}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SHOPFLOOR_")}
    return app_settings.load({**environment, "SHOPFLOOR_HOME": str(home)}, **merged)


@asynccontextmanager
async def a_home() -> AsyncIterator[Path]:
    """A data folder that PostgreSQL's own user can reach also where the tests run as root."""
    root = "/var/tmp" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="sf-life-", dir=root, ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101 - a path method would be taken for blocking
        yield Path(folder) / "home"


@asynccontextmanager
async def open_shop(settings: app_settings.Settings) -> AsyncIterator[Shop]:
    """The parts and the provider, without a worker: that is `working(shop.parts)`."""
    async with serve(_scenario()) as mock, open_parts(settings) as parts:
        owner = await local_owner(parts.store)
        shop = Shop(parts, owner, mock)
        await shop.provider("mock", mock.openai_url)
        yield shop


def _scenario() -> Scenario:
    """The demo's prices; each test adds its own scenes before the demo's."""
    return load("demo").at_full_speed()


def scenario_file(path: Path) -> Scenario:
    return parse(path.read_text(encoding="utf-8"), origin=str(path))


def _picos(scenario: Scenario) -> dict[Any, int]:
    price = scenario.price_of("demo")
    assert price is not None
    given: dict[str, Decimal | None] = {
        "input": price.input, "output": price.output, "cache-read": price.cache_read,
        "cache-write-5m": price.cache_write_5m, "cache-write-1h": price.cache_write_1h, "reasoning": price.reasoning,
    }  # fmt: skip
    return {unit: picos_per_unit(usd) for unit, usd in given.items() if usd is not None}
