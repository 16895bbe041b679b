"""One job from start to end in this process: no server, the same database, worker and rules as with one."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any
from uuid import UUID

from shopfloor.apps.settings import Settings
from shopfloor.apps.wiring import Parts, open_parts
from shopfloor.apps.worker import working
from shopfloor.base.errors import InvalidInput
from shopfloor.base.money import nanos_from_usd
from shopfloor.base.principal import Principal
from shopfloor.domain.access.first_start import local_owner
from shopfloor.domain.jobs import control, store
from shopfloor.domain.jobs.errors import JobEnded
from shopfloor.domain.jobs.models import Event, Job
from shopfloor.domain.jobs.schemas import event_reply, job_reply
from shopfloor.domain.jobs.submit import Submission, submit
from shopfloor.domain.models.candidates import model_refs
from shopfloor.domain.models.providers import ensure_env_providers
from shopfloor.engine.git.bundles import bundle_from_local
from shopfloor.engine.git.command import Git
from shopfloor.engine.git.unpack import starting_bundle
from shopfloor.engine.providers.catalogue import environment_variables
from shopfloor.engine.sandbox.engine import engine_at
from shopfloor.engine.sandbox.image import check_image
from shopfloor.engine.sandbox.port import ImageMissing
from shopfloor.infra.tx import Tx, begin, perform

_LOOK_S = 0.5  # a wake-up may be lost
_PAGE = 200
_PATIENCE_S = 60.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person at a terminal asks for."""

    task: str
    folder: Path | None = None  # a repository of their own
    include_uncommitted: bool = False
    submission: Mapping[str, Any] = field(default_factory=dict[str, Any])  # fields of Submission, as they are
    resume: UUID | None = None  # go on with this job instead

    def __post_init__(self) -> None:
        if self.folder is not None and self.submission.get("repo_ref") is not None:
            raise InvalidInput("--ref goes with a URL. Of a local repository the job takes what is checked out: HEAD.")


class Wish(Enum):
    """What the person at the terminal wants next."""

    CANCEL = auto()
    LEAVE = auto()


@dataclass(slots=True)
class Wishes:
    """How a terminal tells a job under way what is wanted; set from signal handlers."""

    asked: list[Wish] = field(default_factory=list[Wish])
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def add(self, wish: Wish) -> None:
        """Ask for it."""
        self.asked.append(wish)
        self.changed.set()


@dataclass(frozen=True, slots=True)
class Ended:
    """How it went. `left`: the job goes on without us, at the next worker of this data folder."""

    job: dict[str, Any]  # as JobReply serves it
    patch: bytes
    left: bool


Watch = Callable[[dict[str, Any]], None]  # one event, as EventReply serves it


async def run_one(
    settings: Settings, asked: Asked, *, environ: Mapping[str, str], watch: Watch, wishes: Wishes,
    prepare: Callable[[Parts, Principal], Any] | None = None,
) -> Ended:  # fmt: skip
    """Submit, work, watch. Raises: before anything is stored, for what can't work: engine, image, key, repository."""
    await _check_sandboxes(settings)
    async with open_parts(settings) as parts:
        owner = await local_owner(parts.store)
        if prepare is not None:
            await prepare(parts, owner)
        job_id = asked.resume or await _submitted(parts, owner, asked, environ)
        async with working(parts, only=job_id):
            left = await _watched(parts, owner, job_id, watch, wishes)
        return await _ended(parts, owner, job_id, left=left)


async def _check_sandboxes(settings: Settings) -> None:
    async with engine_at(settings.sandbox.engine_url, timeout_s=settings.sandbox.api_timeout_s) as engine:
        try:
            await check_image(engine, settings.sandbox.image)
        except ImageMissing as error:
            todo = "Make the default one: shopfloor image build. `shopfloor doctor` says what else is missing."
            raise ImageMissing(f"{error.detail}. {todo}", **error.facts) from error


async def _submitted(parts: Parts, owner: Principal, asked: Asked, environ: Mapping[str, str]) -> UUID:
    fields = dict(asked.submission)
    wanted = _providers_of(fields.get("model") or parts.settings.jobs.default_model, parts.settings)
    async with begin(parts.store, owner) as tx:
        await ensure_env_providers(tx, parts.sealer, environ, wanted=wanted)
    async with AsyncExitStack() as stack:
        if asked.folder is not None:
            fields["bundle"] = await stack.enter_async_context(
                _bundle(parts, asked.folder, include_uncommitted=asked.include_uncommitted)
            )
        async with begin(parts.store, owner) as tx:
            job, _ = await submit(tx, parts.desk, Submission(task=asked.task, **fields))
    parts.dispatcher.poke()
    return job.id


def _providers_of(model: str | None, settings: Settings) -> set[str]:
    """Those the person's environment can name: one that needs no key (Ollama) is made without a variable being set."""
    if model is None:
        return set()
    named = {ref.provider for ref in model_refs(model, settings.providers.model_profiles)}
    return named & set(environment_variables())


@asynccontextmanager
async def _bundle(parts: Parts, folder: Path, *, include_uncommitted: bool) -> AsyncGenerator[tuple[str, str]]:
    """The person's own repository as a blob: (commit, digest)."""
    with tempfile.TemporaryDirectory(prefix="shopfloor-run-") as scratch:
        commit = await bundle_from_local(folder, Path(scratch) / "own.git", include_uncommitted=include_uncommitted)
        blob = await parts.blobs.put(starting_bundle(Git(), commit))
        yield commit.sha, blob.digest


async def _watched(parts: Parts, owner: Principal, job_id: UUID, watch: Watch, wishes: Wishes) -> bool:
    """Pass its events on until it has ended. True: the person left before."""
    mine = {f"job:{job_id}", "*"}
    parts.notifier.listen(lambda key: wishes.changed.set() if key in mine else None)
    seen, done = 0, 0
    while True:
        wishes.changed.clear()
        for wish in wishes.asked[done:]:
            done += 1
            if wish is Wish.LEAVE:
                return True
            await _cancel(parts, owner, job_id)
        job, events = await _news(parts, owner, job_id, seen)
        for event in events:
            watch(event_reply(event).model_dump(mode="json"))
            seen = event.seq
        if job.ended and seen >= job.last_seq:
            return False
        if len(events) < _PAGE:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await wishes.changed.wait()


async def _news(parts: Parts, owner: Principal, job_id: UUID, seen: int) -> tuple[Job, list[Event]]:
    async def read(tx: Tx) -> tuple[Job, list[Event]]:
        return await store.job(tx, job_id), await store.events(tx, job_id, after=seen, limit=_PAGE)

    return await perform(parts.store, owner, read, patience_s=_PATIENCE_S)


async def _cancel(parts: Parts, owner: Principal, job_id: UUID) -> None:
    with suppress(JobEnded):  # it was faster
        await perform(parts.store, owner, lambda tx: control.cancel(tx, job_id), patience_s=_PATIENCE_S)
        parts.notifier.wake(f"cancel:{job_id}")


async def _ended(parts: Parts, owner: Principal, job_id: UUID, *, left: bool) -> Ended:
    async with begin(parts.store, owner) as tx:
        job = await store.job(tx, job_id)
    patch = b""
    if job.patch_digest is not None:
        patch = b"".join([piece async for piece in parts.blobs.open(job.patch_digest)])
    return Ended(job_reply(job).model_dump(mode="json"), patch, left)


def limits_of(*, cost_usd: str | None, turns: int | None, timeout_s: int | None) -> dict[str, Any]:
    """As Submission takes them. Raises: InvalidInput."""
    given: dict[str, Any] = {"turns": turns, "timeout_s": timeout_s}
    if cost_usd is not None:
        try:
            given["cost_nanos"] = nanos_from_usd(cost_usd)
        except (ArithmeticError, ValueError) as error:
            raise InvalidInput(f"{cost_usd!r} is no amount: write it like 2.50, in USD.") from error
    return {name: value for name, value in given.items() if value is not None}
