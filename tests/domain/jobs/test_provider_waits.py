"""Jobs that wait for a provider: who goes on when, in which order, and that it is not everybody at once."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.jobs import dispatch, lease, provider_waits
from shopfloor.domain.jobs.lease import Lease
from shopfloor.domain.jobs.lifecycle import WaitingReason
from shopfloor.domain.jobs.models import Job
from shopfloor.domain.jobs.provider_waits import Lane, Waiting, allowed, choose, in_turn
from shopfloor.engine.providers.port import ProviderOverloaded
from shopfloor.infra.tx import Store, begin, begin_system

REF = "mock/small"
CLOSED_LONG_AGO = Lane(False, False, False, 3_600.0, 0, None)
OPEN = Lane(True, False, False, None, 0, None)
HALF_OPEN = Lane(False, True, False, None, 0, None)
_IDS = itertools.count(1)
DOWN = ProviderOverloaded("down", models=[REF])


def waiting(
    organization: int = 1, project: int = 1, *, on: tuple[str, ...] = (REF,), worn_out: bool = False
) -> Waiting:
    return Waiting(UUID(int=next(_IDS)), UUID(int=organization), UUID(int=project), on, worn_out)


@pytest.mark.parametrize(
    ("lane", "jobs"),
    [
        (CLOSED_LONG_AGO, None),
        (OPEN, 0),
        (HALF_OPEN, 1),
        (Lane(False, True, True, None, 0, None), 0),  # a call tries it just now
        (Lane(False, True, False, None, 1, 5.0), 0),  # a job is on its way to try it
        (Lane(False, True, False, None, 1, 61.0), 1),  # it never came
        (Lane(False, False, False, 0.2, 0, None), 1),
        (Lane(False, False, False, 0.2, 1, 0.1), 0),
        (Lane(False, False, False, 1.1, 1, 1.0), 2),
        (Lane(False, False, False, 3.0, 7, 1.0), 8),
        (Lane(False, False, False, 8.0, 7, 1.0), None),
    ],
)
def test_a_provider_that_comes_back_gets_1_2_4_jobs_a_second(lane: Lane, jobs: int | None):
    assert allowed(lane) == jobs


def test_the_line_goes_in_turn_between_organizations_and_projects():
    first = [waiting(1, 1) for _ in range(3)]
    second = waiting(1, 2)
    other = waiting(2, 3)
    assert in_turn([*first, second, other]) == [first[0], other, second, first[1], first[2]]


def test_one_job_tries_a_half_open_provider_and_those_for_others_go_on():
    three, free = [waiting() for _ in range(3)], waiting(on=("other/x",))
    chosen = choose([*three, free], {(UUID(int=1), REF): HALF_OPEN})
    assert chosen == {three[0].id: (UUID(int=1), REF), free.id: None}


def test_a_job_with_a_chain_goes_on_when_one_of_its_models_can_be_called():
    job = waiting(on=("down/x", "up/y"))
    assert choose([job], {(UUID(int=1), "down/x"): OPEN}) == {job.id: None}
    assert choose([job], {(UUID(int=1), "down/x"): OPEN, (UUID(int=1), "up/y"): OPEN}) == {}


def test_a_job_whose_patience_has_ended_goes_on_to_say_so():
    job = waiting(worn_out=True)
    assert choose([job], {(UUID(int=1), REF): OPEN}) == {job.id: None}


def test_another_organizations_breaker_holds_nobody_back():
    job = waiting(1)
    assert choose([job], {(UUID(int=2), REF): OPEN}) == {job.id: None}


@pytest.fixture
def park(
    registered: Store, make_job: Callable[..., Awaitable[Job]], claim: Callable[..., Awaitable[Lease]]
) -> Callable[..., Awaitable[UUID]]:
    """A job parked for its provider; its id."""

    async def one(*, wait_s: float = 3_600, patience_s: float = 86_400) -> UUID:
        held = await claim((await make_job()).id)
        async with begin(registered, held.principal) as tx:
            await lease.park(tx, held, WaitingReason.PROVIDER, wait_s=wait_s, error=DOWN)
            await provider_waits.note(tx, held.job_id, [REF], patience_s=patience_s)
        return held.job_id

    return one


@pytest.fixture
def breaker(registered: Store, owner: Principal) -> Callable[..., Awaitable[None]]:
    """Set the breaker of mock/small: columns as SQL."""

    async def write(**columns: str) -> None:
        async with begin(registered, owner) as tx:
            if not await tx.one("select 1 from provider_breakers"):
                await tx.execute(
                    "insert into providers (id, organization_id, name, kind, models) "
                    "values (%s, %s, 'mock', 'mock', '[]')",
                    (provider := new_id(), owner.organization_id),
                )
                await tx.execute(
                    "insert into provider_breakers (organization_id, provider_id, model, credential, ref) "
                    "values (%s, %s, 'small', 'c', %s)",
                    (owner.organization_id, provider, REF),
                )
            for name, value in columns.items():
                await tx.execute(f"update provider_breakers set {name} = {value}")  # type: ignore[arg-type]

    return write


async def wake(store: Store) -> list[UUID]:
    async with begin_system(store) as tx:
        return await dispatch.wake(tx)


async def test_without_a_breaker_a_job_waits_as_long_as_it_was_to(registered: Store, park: Any):
    late, due = await park(wait_s=3_600), await park(wait_s=0)
    assert await wake(registered) == [due]
    assert late not in await wake(registered)


async def test_an_open_breaker_holds_jobs_back_though_their_wait_is_over(registered: Store, park: Any, breaker: Any):
    job = await park(wait_s=0)
    await breaker(open_until="now() + interval '1 hour'")
    assert await wake(registered) == []
    await breaker(open_until="null")
    assert await wake(registered) == [job]


async def test_one_job_tries_a_half_open_breaker_though_its_wait_is_not_over(
    registered: Store, park: Any, breaker: Any
):
    jobs = [await park() for _ in range(3)]
    await breaker(open_until="now() - interval '1 second'")
    assert await wake(registered) == [jobs[0]]
    assert await wake(registered) == []


async def test_once_it_has_closed_they_go_on_in_order_and_more_each_second(registered: Store, park: Any, breaker: Any):
    jobs = [await park() for _ in range(9)]
    async with begin_system(registered) as tx:
        await tx.execute("update jobs set parked_at = now() - interval '1 hour'")
    await breaker(open_until="null", closed_at="now()", woken="0")
    assert await wake(registered) == jobs[:1]
    await breaker(closed_at="now() - interval '1.1 seconds'")
    assert sorted(await wake(registered)) == jobs[1:3]
    await breaker(closed_at="now() - interval '2.1 seconds'")
    assert sorted(await wake(registered)) == jobs[3:7]
    assert await wake(registered) == []


async def test_a_breaker_that_closed_before_the_job_was_parked_wakes_nobody(registered: Store, park: Any, breaker: Any):
    await breaker(open_until="null", closed_at="now() - interval '1 minute'")
    await park()
    assert await wake(registered) == []


async def test_patience_ends_though_the_breaker_is_open(registered: Store, park: Any, breaker: Any):
    await breaker(open_until="now() + interval '1 hour'")
    job = await park(patience_s=0)
    assert await wake(registered) == [job]


async def test_a_woken_job_is_queued_and_can_be_admitted_at_once(registered: Store, park: Any, look: Any, admit: Any):
    job = await park(wait_s=0)
    await wake(registered)
    assert (found := await look(job)).state == "queued"
    assert (found.waiting_reason, found.not_before) == (None, None)
    assert await admit() == [job]
