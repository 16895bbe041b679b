"""Every list and claim reads a few pages of an index, however many jobs there are."""

from __future__ import annotations

import json
import random
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.jobs import dispatch, lease
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.settings import JobsSettings
from shopfloor.infra.tx import Parameters, Store, Tx, begin, begin_system

pytestmark = pytest.mark.slow

MANY = 100_000
PAGES = 600  # of 8 KiB; a page of 50 jobs reads 50 rows, each on a page of its own at worst, and the way to them
LOAD: LiteralString = (
    "insert into jobs (id, organization_id, project_id, agent, task, model, limits, state, admitted_at, finished_at, "
    "waiting_reason, not_before, created_by, labels) "
    "select (lpad(to_hex(%(first)s + n), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid, "
    "%(organization)s, %(project)s, 'coding', repeat('Fix it. ', 40), 'mock/small', "
    """'{"cost_nanos": 1, "turns": 1, "timeout_s": 10}', %(state)s::text, """
    "case when %(state)s = 'queued' then null else now() end, "
    "case when %(state)s in ('succeeded', 'dead') then now() end, "
    "case when %(state)s = 'waiting' then 'provider' end, now() - interval '1 minute', %(organization)s, "
    "jsonb_build_object('n', n::text) from generate_series(1, %(count)s) n"
)
HISTORY, LINE, RARE, URGENT = (1_600_000_000_000 + k * 10_000_000 for k in range(4))


@pytest.fixture
async def full(store: Store, database_url: str, owner: Principal, registered: Store) -> dict[str, UUID]:
    """100,000 ended jobs, 100,000 in one project's line, a few of each rare kind; project ids by name."""
    del registered
    async with begin(store, owner) as tx:
        project = await tx.one("select id from projects")
        assert project is not None
        second = new_id()
        await tx.execute(
            "insert into projects (id, organization_id, slug, name) values (%s, %s, 'second', 'Second')",
            (second, owner.organization_id),
        )
    organization = owner.organization_id
    with psycopg.connect(database_url, autocommit=True) as admin:
        for first, place, state, count in (
            (HISTORY, project["id"], "succeeded", MANY),
            (LINE, project["id"], "queued", MANY),
            (RARE, project["id"], "dead", 5),
            (RARE + 1_000, project["id"], "waiting", 5),
            (URGENT, second, "queued", 1),
        ):
            admin.execute(
                LOAD,
                {"first": first, "organization": organization, "project": place, "state": state, "count": count},
            )
        admin.execute("vacuum analyze jobs")
    return {"default": project["id"], "second": second}


class Explaining:
    """A transaction that first asks for the plan of everything it runs."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self.plans: list[tuple[str, dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    async def one(self, query: LiteralString, parameters: Parameters = ()) -> Any:
        await self._explain(query, parameters)
        return await self._tx.one(query, parameters)

    async def all(self, query: LiteralString, parameters: Parameters = ()) -> Any:
        await self._explain(query, parameters)
        return await self._tx.all(query, parameters)

    async def execute(self, query: LiteralString, parameters: Parameters = ()) -> int:
        await self._explain(query, parameters)
        return await self._tx.execute(query, parameters)

    async def _explain(self, query: LiteralString, parameters: Parameters) -> None:
        reads = query.lstrip().startswith(("select", "with active"))
        options = "analyze, buffers, format json" if reads else "format json"
        row = await self._tx.one(f"explain ({options}) {query}", parameters)  # type: ignore[arg-type]
        assert row is not None
        found = row["QUERY PLAN"]
        self.plans.append((query, (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]))

    def check(self) -> None:
        """No table of ours is read from end to end, and no read touches more than its pages."""
        assert self.plans
        for query, plan in self.plans:
            scanned = [node for node in _nodes(plan) if node["Node Type"] == "Seq Scan"]
            grown = {"jobs", "events", "steps", "runs", "holds"}
            facts = (query, json.dumps(plan, indent=1)[:3_000])
            assert [node for node in scanned if node["Relation Name"] in grown] == [], facts
            assert plan.get("Shared Hit Blocks", 0) + plan.get("Shared Read Blocks", 0) <= PAGES, facts


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(each for child in plan.get("Plans", []) for each in _nodes(child))]


async def test_lists_and_claims_read_a_few_pages_among_200_000_jobs(full: dict[str, UUID], store: Store, owner):
    deep = UUID(f"{HISTORY + MANY // 2:012x}70008000{0:012x}")
    filters: list[dict[str, Any]] = [
        {},
        {"state": ["succeeded"]},
        {"state": ["dead"]},
        {"state": ["running", "waiting", "dead"]},
        {"state": ["succeeded", "queued", "failed"]},
        {"project_id": [full["default"]]},
        {"project_id": list(full.values())},
        {"project_id": [full["second"]]},
        {"project_id": list(full.values()), "state": ["dead", "succeeded"]},
        {"parent_id": new_id()},
    ]
    async with begin(store, owner) as tx:
        explaining = Explaining(tx)
        for wanted in filters:
            for after in (None, deep):
                await jobs.jobs(explaining, filters=wanted, after=after, limit=50)  # type: ignore[arg-type]
        some = (await jobs.jobs(tx, filters={"state": ["queued"]}, after=None, limit=1))[0]
        await jobs.job(explaining, some.id)  # type: ignore[arg-type]
        await jobs.events(explaining, some.id, after=5, limit=100)  # type: ignore[arg-type]
        await jobs.steps(explaining, some.id)  # type: ignore[arg-type]
        await jobs.snapshots(explaining, some.id)  # type: ignore[arg-type]
        await jobs.runs(explaining, some.id)  # type: ignore[arg-type]
        explaining.check()


async def test_dispatch_reads_a_few_pages_with_100_000_jobs_in_one_line(full: dict[str, UUID], store: Store, owner):
    settings = JobsSettings(max_admitted=2)
    async with begin_system(store) as tx:
        explaining = Explaining(tx)
        admitted = await dispatch.admit(explaining, settings)  # type: ignore[arg-type]
        assert len(admitted) == 2
        await dispatch.rescue(explaining, settings, chance=random.Random(1))  # type: ignore[arg-type]
        await dispatch.wake(explaining)  # type: ignore[arg-type]
        await dispatch.readmit(explaining)  # type: ignore[arg-type]
        explaining.check()
    async with begin(store, owner) as tx:
        explaining = Explaining(tx)
        claimed = await lease.claim(explaining, admitted[0], worker="w")  # type: ignore[arg-type]
        assert claimed is not None
        explaining.check()


async def test_a_query_without_an_index_is_noticed(full: dict[str, UUID], store: Store, owner):
    async with begin(store, owner) as tx:
        explaining = Explaining(tx)
        await explaining.all("select id from jobs where task like 'nothing'")
        with pytest.raises(AssertionError):
            explaining.check()


async def test_lists_page_through_everything_once_newest_first(make_job, store: Store, owner):
    jobs_made = [await make_job(labels={"n": str(n % 2)}) for n in range(7)]
    made, made_in = [job.id for job in jobs_made], jobs_made[0].project_id
    async with begin(store, owner) as tx:
        for filters, wanted in (
            ({}, made[::-1]),
            ({"state": ["queued", "running"]}, made[::-1]),
            ({"label": {"n": "1"}}, made[1::2][::-1]),
            ({"state": ["succeeded"]}, []),
            ({"state": []}, []),
            ({"project_id": [made_in]}, made[::-1]),
            ({"project_id": [made_in, new_id(), made_in], "state": ["queued", "queued"]}, made[::-1]),
        ):
            found: list[UUID] = []
            while page := await jobs.jobs(tx, filters=filters, after=found[-1] if found else None, limit=2):
                found += [job.id for job in page]
            assert found == wanted
