"""From settings to running parts: what every door opens, in order, and closes in reverse."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit
from uuid import UUID

from shopfloor import __version__
from shopfloor.apps import notices
from shopfloor.apps.chains import model_opener, own_model
from shopfloor.apps.housekeeping import reap, tidy
from shopfloor.apps.production import refuse_weak, refuse_weak_keys
from shopfloor.apps.settings import Settings
from shopfloor.apps.strike_out import strike_out_passwords, strike_out_settings
from shopfloor.base.clock import Clock, SystemClock
from shopfloor.base.ids import new_id, parse_id
from shopfloor.domain.access.api_keys import PRINTS
from shopfloor.domain.access.events import MemberDisabled
from shopfloor.domain.access.first_start import first_start, has_keys
from shopfloor.domain.access.tokens import KeyRing
from shopfloor.domain.accounts.desk import AccountsDesk, IdentityParts
from shopfloor.domain.accounts.oidc_client import IdentityClient
from shopfloor.domain.accounts.oidc_domains import dns_texts
from shopfloor.domain.accounts.passwords import Passwords
from shopfloor.domain.approvals import decide as approvals
from shopfloor.domain.approvals.gate import ApprovalGate
from shopfloor.domain.audit import recorder
from shopfloor.domain.audit.outside import keep_outside
from shopfloor.domain.audit.sequence import Sequencer
from shopfloor.domain.budgets.ledger import Ledger
from shopfloor.domain.dead_letters import collect as dead_letters
from shopfloor.domain.jobs import departed, late_diff
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.bench import Bench
from shopfloor.domain.jobs.books import JobsOfLedger
from shopfloor.domain.jobs.dispatch import Dispatcher
from shopfloor.domain.jobs.events import JobFinished
from shopfloor.domain.jobs.execute import execute
from shopfloor.domain.jobs.lease import Lease, worker_principal
from shopfloor.domain.jobs.models import Event, Job
from shopfloor.domain.jobs.submit import Desk
from shopfloor.domain.jobs.worker import Worker
from shopfloor.domain.models.candidates import check_models
from shopfloor.domain.models.gate import SharedGate
from shopfloor.domain.models.health import providers_answer
from shopfloor.domain.models.providers import ProviderDesk, provider_desk
from shopfloor.domain.notifications.channels import NotificationDesk
from shopfloor.domain.notifications.deliver import Sending
from shopfloor.domain.secrets.use import git_credentials
from shopfloor.engine.agents.registry import all_agents, find_agent
from shopfloor.engine.git.cache import RepositoryCache
from shopfloor.engine.git.command import Git, GitSettings
from shopfloor.engine.git.urls import Credentials, parse_repository_url
from shopfloor.engine.sandbox.docker import DockerSandboxes
from shopfloor.engine.sandbox.egress import EgressProxies
from shopfloor.infra import mail, revision
from shopfloor.infra.blobs import FolderBlobs
from shopfloor.infra.bus import Subscriptions
from shopfloor.infra.database import Database, urls_of
from shopfloor.infra.embedded import EmbeddedPostgres
from shopfloor.infra.ending import end
from shopfloor.infra.live import LiveFeed, Read
from shopfloor.infra.notify import Notifier
from shopfloor.infra.outbound import OutboundRules
from shopfloor.infra.rate_limiter import RateLimiter
from shopfloor.infra.redis import RedisSettings
from shopfloor.infra.secret_stores.choose import Kept, open_master_keys
from shopfloor.infra.secrets.envelope import EnvelopeSealer
from shopfloor.infra.secrets.installation import open_sealer
from shopfloor.infra.secrets.port import Sealer
from shopfloor.infra.secrets.wake import forget_keys
from shopfloor.infra.tx import Services, Store, Tx, begin, begin_system
from shopfloor.infra.web.edge import EdgeSettings
from shopfloor.infra.web.health import Degraded, Health

if TYPE_CHECKING:
    from shopfloor.infra.rate_limits_shared import SharedWindows

_TERMINAL_EVENTS = frozenset({"job.succeeded", "job.failed", "job.cancelled", "job.dead"})


@dataclass(frozen=True, slots=True)
class Parts:
    """What a door works with; `app.state.shopfloor` for the API."""

    settings: Settings
    store: Store
    sealer: EnvelopeSealer
    blobs: FolderBlobs
    ledger: Ledger
    notifier: Notifier
    dispatcher: Dispatcher
    desk: Desk
    live: LiveFeed
    health: Health
    providers: ProviderDesk
    gate: SharedGate
    audit: Sequencer
    clock: Clock
    chance: random.Random
    ring: KeyRing
    accounts: AccountsDesk
    identity: IdentityParts
    notifications: NotificationDesk
    limiter: RateLimiter
    new_key: str | None = field(repr=False)  # of the first start; printed once

    @property
    def edge(self) -> EdgeSettings:
        """How we are reached."""
        return self.settings.web

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """Of WebSockets."""
        return self.settings.web.allowed_origins


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncGenerator[Parts]:
    """Database (embedded unless one is named), keys, blobs, wake-ups, dispatch. Raises: what a part can't start for."""
    settings.home.mkdir(mode=0o711, parents=True, exist_ok=True)
    clock, chance = SystemClock(), random.Random()  # noqa: S311 - jitter, not secrets
    refuse_weak(settings)
    strike_out_settings(settings)
    async with _master_keys(settings) as kept, _database(settings) as database:
        subscriptions = Subscriptions()
        subscriptions.subscribe(JobFinished, late_diff.TASK, late_diff.arguments_of)
        subscriptions.subscribe(JobFinished, approvals.WITHDRAW_TASK, approvals.arguments_of)
        subscriptions.subscribe(MemberDisabled, departed.TASK, departed.arguments_of)
        notices.subscribe(subscriptions)
        store = Store(database, Services(subscriptions=subscriptions, clock=clock, recorder=recorder.keep))
        printed = (PRINTS,) if await has_keys(store) else ()
        sealer = await open_sealer(store, kept.master_keys, settings.secrets, older=kept.older, printed=printed)
        new_key = await first_start(store, sealer, keep=lambda key: _keep_key(settings.admin_key_file, key.text))
        notifier = Notifier(database)
        notifier.listen(lambda key: forget_keys(sealer, key))
        await notifier.start()
        store.services.wake = notifier.wake
        ledger = Ledger(store, JobsOfLedger(), settings=settings.ledger)
        notifier.listen(ledger.woken)
        dispatcher = Dispatcher(store, settings.jobs, notifier, chance=chance, ledger=ledger)
        live = _live(store, notifier)
        gate = _gate(settings, store, notifier, chance)
        limiter = await _limiter(settings, clock)
        parts = Parts(
            settings=settings,
            store=store,
            sealer=sealer,
            blobs=FolderBlobs(settings.blobs_folder),
            ledger=ledger,
            notifier=notifier,
            dispatcher=dispatcher,
            desk=_desk(settings, sealer),
            live=live,
            health=Health(__version__, clock=clock),
            providers=provider_desk(allow_private=settings.providers.allow_private, clock=clock),
            gate=gate,
            audit=_sequencer(settings, store, sealer),
            clock=clock,
            chance=chance,
            ring=KeyRing(store),
            accounts=AccountsDesk(
                store, sealer, settings.accounts, settings.mail, Passwords(settings.accounts.hash_at_once)
            ),
            identity=IdentityParts(
                IdentityClient(clock, allow_private=settings.accounts.identity_allow_private), dns_texts()
            ),
            notifications=NotificationDesk(sealer, settings.mail, settings.notifications, notices.compose),
            limiter=limiter,
            new_key=new_key.text if new_key else None,
        )
        parts.health.register("database", lambda: _database_answers(store))
        parts.health.register("providers", lambda: providers_answer(store), needed=False)
        if settings.redis.url is not None:
            parts.health.register("redis", lambda: _redis_answers(limiter), needed=False)
        sweeps = asyncio.create_task(dispatcher.run())
        sealing = asyncio.create_task(parts.audit.run())
        collecting = asyncio.create_task(dead_letters.run(store))
        try:
            yield parts
        finally:
            await end(collecting, sealing, sweeps)
            await ledger.aclose()
            await parts.audit.finish()
            await live.close()
            await notifier.aclose()
            await limiter.aclose()


@asynccontextmanager
async def open_worker(parts: Parts, *, only: UUID | None = None) -> AsyncGenerator[Worker]:
    """A worker on this machine's container engine, its reaper running; with `only` for that job alone.

    Stop it with `worker.stop()`.
    """
    settings = parts.settings
    install = install_id(settings)
    egress = EgressProxies(
        settings.sandbox.state_dir / install / "egress", allow_private=settings.sandbox.egress_allow_private
    )
    sandboxes = DockerSandboxes(settings.sandbox, install_id=install, clock=parts.clock, egress=egress)
    sandboxes.start()
    git = Git(
        GitSettings(outbound=_repository_rules(settings), max_repository_bytes=settings.repositories.max_mib * 2**20)
    )
    bench = Bench(
        store=parts.store,
        ledger=parts.ledger,
        notifier=parts.notifier,
        sandboxes=sandboxes,
        git=git,
        cache=RepositoryCache(settings.repositories_folder, git),
        blobs=parts.blobs,
        settings=settings.jobs,
        sandbox_limits=settings.sandbox.limits,
        clock=parts.clock,
        chance=parts.chance,
        work_dir=settings.work_folder,
        agents=all_agents(settings.agents_folder),
        open_model=model_opener(parts),
        credentials_of=lambda job: repository_credentials(parts, job),
        gate=ApprovalGate(),
    )
    name = f"{socket.gethostname()}-{os.getpid()}"

    async def make_late_diff(job_id: str, organization_id: str) -> None:
        await late_diff.make_late_diff(bench, UUID(job_id), UUID(organization_id))

    async def cancel_jobs_of(organization_id: str, user_id: str) -> None:
        await departed.cancel_jobs_of(parts.store, parts.notifier, UUID(organization_id), UUID(user_id))

    parts.store.services.queue.task(late_diff.TASK, make_late_diff, attempts=5)
    parts.store.services.queue.task(departed.TASK, cancel_jobs_of, attempts=5)

    async def withdraw_approvals(organization_id: str, job_id: str) -> None:
        await approvals.withdraw_of(parts.store, UUID(organization_id), UUID(job_id))

    parts.store.services.queue.task(approvals.WITHDRAW_TASK, withdraw_approvals, attempts=5)

    async def send_mail(mail_id: str, organization_id: str) -> None:
        await mail.deliver(parts.store, parts.sealer, settings.mail, UUID(mail_id), UUID(organization_id))

    parts.store.services.queue.task(mail.TASK, send_mail, attempts=mail.ATTEMPTS)
    notices.register(Sending(parts.store, parts.sealer, settings.mail, settings.notifications))

    async def run(lease: Lease, cancel: asyncio.Event) -> None:
        await execute(bench, lease, cancel)

    worker = Worker(name, parts.store, settings.jobs, parts.notifier, parts.dispatcher, run, only=only)
    parts.health.register("sandbox", lambda: _sandbox_answers(sandboxes), needed=False, timeout_s=5.0)
    chores = [
        asyncio.create_task(approvals.keep_expiring(parts.store, parts.notifier, parts.clock)),
        asyncio.create_task(notices.send_summaries(parts.store)),
        asyncio.create_task(reap(parts.store, sandboxes, parts.clock)),
        asyncio.create_task(tidy(parts.store, sandboxes, parts.blobs, bench.cache, settings.work_folder)),
    ]
    try:
        yield worker
    finally:
        await end(*chores)
        await sandboxes.aclose()
        await egress.aclose()


def _keep_key(file: Path, key: str) -> None:
    """Whichever door made it: a key that is only printed is lost with the terminal. The whole key, or none at all."""
    fresh = file.with_name(f".{file.name}.{new_id().hex}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as out:
        out.write(f"{key}\n")
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)  # what is there belongs to a database that is gone
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the name, too, lives through a power cut
    finally:
        os.close(folder)


@asynccontextmanager
async def _master_keys(settings: Settings) -> AsyncGenerator[Kept]:
    """The keeper of the master key, and its connections closed at the end."""
    kept = await open_master_keys(settings.secrets, settings.home)
    try:
        refuse_weak_keys(settings, kept.keys)
        yield kept
    finally:
        await kept.master_keys.aclose()


@asynccontextmanager
async def _database(settings: Settings) -> AsyncGenerator[Database]:
    """Open pools on the database. The embedded one is started and migrated; an external one has to be migrated."""
    embedded: EmbeddedPostgres | None = None
    url: str | None = None
    if settings.database.url is None and not (settings.database.app_url and settings.database.system_url):
        embedded = EmbeddedPostgres(settings.home / "postgres")
        url = await asyncio.to_thread(embedded.start)
    try:
        if url is not None:
            await asyncio.to_thread(_migrate, url)
        urls = urls_of(settings.database, url)
        strike_out_passwords(urls)
        database = Database(urls, settings.database)
        await database.open()
        try:
            await _check_schema(database)
            yield database
        finally:
            await database.aclose()
    finally:
        if embedded is not None:
            await asyncio.to_thread(embedded.stop)


async def _check_schema(database: Database) -> None:
    async with begin_system(Store(database)) as tx:
        found = await tx.one("select version_num from alembic_version")
    revision.refuse_other(found["version_num"] if found else None)


def _migrate(url: str) -> None:
    if not revision.is_head(url):
        from shopfloor.infra.schema import migrate

        migrate(url)


def _gate(settings: Settings, store: Store, notifier: Notifier, chance: random.Random) -> SharedGate:
    own = settings.providers
    gate = SharedGate(
        store, clock=store.services.clock, chance=chance, policy=own.breaker, settings=own.stress,
        call_timeout_s=own.call_timeout_s,
    )  # fmt: skip
    notifier.listen(gate.woken)
    return gate


def _sequencer(settings: Settings, store: Store, sealer: Sealer) -> Sequencer:
    folder = settings.checkpoint_folder
    return Sequencer(
        store, sealer, keep_outside=lambda checkpoint, note: keep_outside(folder, checkpoint, note),
        interval_s=settings.audit.interval_s,
    )  # fmt: skip


async def _limiter(settings: Settings, clock: Clock) -> RateLimiter:
    limiter = RateLimiter(_shared_windows(settings.redis), clock=clock)
    await limiter.start()
    return limiter


def _shared_windows(settings: RedisSettings) -> SharedWindows | None:
    if settings.url is None:
        return None
    from shopfloor.infra.rate_limits_shared import SharedWindows
    from shopfloor.infra.redis_client import redis_storage

    storage = redis_storage(settings)
    return None if storage is None else SharedWindows(storage, timeout_s=settings.timeout_s)


def _live(store: Store, notifier: Notifier) -> LiveFeed:
    """The fan-out of job events in this process, fed by wake-ups."""

    async def read(job_id: UUID, after: int, limit: int) -> list[Event]:
        async with begin_system(store) as tx:  # whoever watches was let in by the route, and is asked again
            return await jobs.events(tx, job_id, after=after, limit=limit)

    live = LiveFeed(cast("Read", read), is_last=lambda event: event.kind in _TERMINAL_EVENTS)

    def woken(key: str) -> None:
        kind, _, name = key.partition(":")
        about = parse_id(name)  # a job, or an organization
        if kind == "job" and about is not None:
            live.changed(about)
        elif kind == "access" or key == "*":  # "*": some may have been lost
            live.recheck(about)

    notifier.listen(woken)
    return live


def _desk(settings: Settings, sealer: Sealer) -> Desk:
    rules = _repository_rules(settings)

    async def check_model(tx: Tx, text: str) -> str:
        refs = await check_models(tx, sealer, text, settings.providers.model_profiles)
        return ",".join(str(ref) for ref in refs)

    def check_repository(url: str, hosts: list[str]) -> None:
        parse_repository_url(url, rules)
        if hosts:
            parse_repository_url(url, OutboundRules(rules.schemes, tuple(hosts), rules.allow_private))

    return Desk(
        settings=settings.jobs,
        agents=lambda: sorted(all_agents(settings.agents_folder)),
        check_model=check_model,
        check_repository=check_repository,
        agent_model=lambda name: own_model(settings, find_agent(name, all_agents(settings.agents_folder))),
    )


def _repository_rules(settings: Settings) -> OutboundRules:
    own = settings.repositories
    schemes = {"https", "http"} if own.allow_http else {"https"}
    return OutboundRules(frozenset(schemes), own.hosts, own.allow_private)


async def repository_credentials(parts: Parts, job: Job) -> Credentials | None:
    """For the host of the job's repository: the project's secret, the organization's, else the installation's."""
    host = urlsplit(job.repo_url or "").hostname or ""
    async with begin(parts.store, worker_principal(job.organization_id, "git")) as tx:
        own = await git_credentials(tx, parts.sealer, host, job.project_id)
    if own is not None:
        return Credentials(own.token, own.username) if own.username else Credentials(own.token)
    secret = parts.settings.repositories.credentials.get(host)
    if secret is None:
        return None
    user, colon, password = secret.get_secret_value().partition(":")
    return Credentials(password, user) if colon else Credentials(user)


async def _database_answers(store: Store) -> str:
    async with begin_system(store) as tx:
        await tx.one("select 1")
    return ""


async def _redis_answers(limiter: RateLimiter) -> str:
    if limiter.away is not None:
        raise Degraded(f"{limiter.away}. Meanwhile each process counts rate limits by itself")
    return ""


async def _sandbox_answers(sandboxes: DockerSandboxes) -> str:
    found = await sandboxes.health()
    return f"{found.backend}/{found.runtime}, disk {found.disk}"


def install_id(settings: Settings) -> str:
    """Tells this installation's containers from others on the same engine: one a data folder."""
    return hashlib.sha256(str(settings.home.resolve()).encode()).hexdigest()[:12]
