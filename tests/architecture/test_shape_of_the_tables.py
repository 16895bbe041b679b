"""Rows as the code has them against the tables as the migrations make them, and an index behind every list."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access import store as access
from shopfloor.domain.access import store_grants as grants
from shopfloor.domain.access import store_people as people
from shopfloor.domain.access.models import ApiKey, Grant, Member, Organization, Project, Role, Team
from shopfloor.domain.accounts import invitations, oidc_store, sessions, store_factors
from shopfloor.domain.accounts.models import Invitation, Session
from shopfloor.domain.accounts.models_factors import Passkey, TotpSecret
from shopfloor.domain.accounts.oidc_models import Flow, Identity, IdentityProvider, VerifiedDomain
from shopfloor.domain.approvals import store as approvals
from shopfloor.domain.approvals.models import Approval
from shopfloor.domain.artifacts import store as artifacts
from shopfloor.domain.artifacts.models import Artifact
from shopfloor.domain.audit import store as audit
from shopfloor.domain.audit.models import StoredCheckpoint
from shopfloor.domain.budgets import store_budgets as budgets
from shopfloor.domain.budgets.models import Budget, BudgetAlert, BudgetPeriod, BudgetRaise
from shopfloor.domain.dead_letters import store as dead_letters
from shopfloor.domain.dead_letters.models import DeadLetter, LetterState
from shopfloor.domain.delivery import store as delivery
from shopfloor.domain.delivery.models import Environment, Release, Sprint
from shopfloor.domain.jobs import store as jobs
from shopfloor.domain.jobs.models import Event, Job, Run, Step
from shopfloor.domain.models import breakers
from shopfloor.domain.models import store as models
from shopfloor.domain.models.breakers import StoredBreaker
from shopfloor.domain.models.models import PriceRow, Provider
from shopfloor.domain.notifications import store as notifications
from shopfloor.domain.notifications.models import Channel, Delivery, Notification
from shopfloor.domain.secrets import store as secrets
from shopfloor.domain.secrets.models import Secret
from shopfloor.domain.usage.models import LabelDay, UsageDay
from shopfloor.engine.providers.port import ModelRef
from shopfloor.infra.secrets.columns import SealedColumn, sealed_columns
from shopfloor.infra.secrets.data_keys import DataKey
from shopfloor.infra.tx import Store, Tx, begin, begin_system

TABLES = {
    Organization: "organizations",
    Project: "projects",
    ApiKey: "api_keys",
    Member: "users",
    Role: "roles",
    Team: "teams",
    Grant: "project_grants",
    Environment: "environments",
    Release: "releases",
    Sprint: "sprints",
    Session: "sessions",
    Invitation: "invitations",
    TotpSecret: "totp_secrets",
    Passkey: "passkeys",
    IdentityProvider: "identity_providers",
    Identity: "identities",
    VerifiedDomain: "verified_domains",
    Flow: "oidc_flows",
    Provider: "providers",
    PriceRow: "prices",
    StoredBreaker: "provider_breakers",
    Artifact: "artifacts",
    Job: "jobs",
    Approval: "approvals",
    Run: "runs",
    Step: "steps",
    Event: "events",
    StoredCheckpoint: "audit_checkpoints",
    Secret: "secrets",
    DeadLetter: "dead_letters",
    DataKey: "data_keys",
    UsageDay: "usage_daily",
    LabelDay: "usage_labels_daily",
    Budget: "budgets",
    BudgetRaise: "budget_raises",
    BudgetPeriod: "budget_periods",
    BudgetAlert: "budget_alerts",
    Channel: "notification_channels",
    Notification: "notifications",
    Delivery: "notification_deliveries",
}
NO_FILTERS: dict[str, Any] = {"scope_type": None, "scope_id": None, "paused": None}
REF = ModelRef("anthropic", "claude")

LISTS: dict[str, Callable[[Tx], Awaitable[Any]]] = {
    "projects": lambda tx: access.projects(tx, after=None, limit=50),
    "projects, next page": lambda tx: access.projects(tx, after=new_id(), limit=50),
    "members": lambda tx: people.members(tx, filters={}, after=new_id(), limit=50),
    "service accounts": lambda tx: people.members(tx, filters={"kind": "service"}, after=new_id(), limit=50),
    "roles": people.roles,
    "teams": lambda tx: people.teams(tx, after=new_id(), limit=50),
    "team members": lambda tx: people.team_members(tx, new_id(), after=new_id(), limit=50),
    "grants": lambda tx: grants.grants(tx, new_id(), after=new_id(), limit=50),
    "releases": lambda tx: delivery.records(tx, delivery.RELEASES, project_ids=None, after=new_id(), limit=50),
    "jobs of a sprint": lambda tx: delivery.tied_jobs(tx, delivery.SPRINTS, new_id(), before=new_id(), limit=50),
    "keys": lambda tx: access.keys(tx, after=new_id(), limit=50),
    "sessions": lambda tx: sessions.list_sessions(tx, new_id(), after=None, limit=50),
    "sessions, next page": lambda tx: sessions.list_sessions(tx, new_id(), after=new_id(), limit=50),
    "passkeys": lambda tx: store_factors.passkeys(tx, new_id()),
    "identity providers": lambda tx: oidc_store.providers(tx, after="a", limit=50),
    "identities": lambda tx: oidc_store.identities(tx, new_id()),
    "verified domains": lambda tx: oidc_store.domains(tx, after="a", limit=50),
    "invitations": lambda tx: invitations.list_invitations(tx, after=new_id(), limit=50),
    "providers": lambda tx: models.providers(tx, after="m", limit=50),
    "providers by name": lambda tx: models.providers_named(tx, ["a"]),
    "breakers of a provider": lambda tx: breakers.of_provider(tx, new_id()),
    "providers with an open breaker": lambda tx: breakers.not_closed(tx, [new_id()]),
    "prices": lambda tx: models.prices(tx, provider=None, model=None, before=new_id(), limit=50),
    "own patterns": lambda tx: models.own_patterns(tx, "a", datetime.now(UTC)),
    "own price": lambda tx: models.own_price(tx, REF, datetime.now(UTC)),
    "artifacts": lambda tx: artifacts.artifacts(tx, new_id(), after=new_id(), limit=50),
    "jobs": lambda tx: jobs.jobs(tx, filters={}, after=None, limit=50),
    "jobs, next page": lambda tx: jobs.jobs(tx, filters={}, after=new_id(), limit=50),
    "jobs of a project": lambda tx: jobs.jobs(tx, filters={"project_id": [new_id()]}, after=new_id(), limit=50),
    "runs": lambda tx: jobs.runs(tx, new_id()),
    "steps": lambda tx: jobs.steps(tx, new_id(), after=new_id(), limit=50),
    "approvals": lambda tx: approvals.approvals(tx, filters={}, project_ids=None, before=new_id(), limit=50),
    "approvals that wait": lambda tx: approvals.approvals(
        tx, filters={"state": "pending"}, project_ids=None, before=new_id(), limit=50
    ),
    "approvals of a job": lambda tx: approvals.approvals(
        tx, filters={"job_id": new_id()}, project_ids=None, before=None, limit=50
    ),
    "audit": lambda tx: audit.entries(tx, audit.Filters(), before=new_id(), limit=50),
    "audit of a target": lambda tx: audit.entries(tx, audit.Filters(target="x"), before=None, limit=50),
    "audit of a project": lambda tx: audit.entries(tx, audit.Filters(project=new_id()), before=None, limit=50),
    "audit of a request": lambda tx: audit.entries(tx, audit.Filters(request="x"), before=None, limit=50),
    "audit in its order": lambda tx: audit.in_tree(tx, 7, 507),
    "checkpoints": lambda tx: audit.checkpoints(tx, after=7, limit=50),
    "secrets": lambda tx: secrets.secrets(tx, after=new_id(), limit=50),
    "secret by name": lambda tx: secrets.named(tx, "a", new_id()),
    "secret by host": lambda tx: secrets.for_host(tx, "a", new_id()),
    "dead letters": lambda tx: _letters(tx, None, None),
    "dead letters, next page": lambda tx: _letters(tx, None, new_id()),
    "open dead letters": lambda tx: _letters(tx, "open", new_id()),
    "events": lambda tx: jobs.events(tx, new_id(), after=7, limit=50),
    "budgets": lambda tx: budgets.budgets(tx, **NO_FILTERS, after=new_id(), limit=50),
    "paused budgets": lambda tx: budgets.budgets(tx, **NO_FILTERS | {"paused": True}, after=None, limit=50),
    "raises of a budget": lambda tx: budgets.raises(tx, new_id(), before=new_id(), limit=50),
    "open raises": lambda tx: budgets.raises(tx, new_id(), before=None, limit=50, only_open=True),
    "alerts": lambda tx: budgets.alerts(tx, budget_id=None, before=new_id(), limit=50),
    "alerts of a budget": lambda tx: budgets.alerts(tx, budget_id=new_id(), before=None, limit=50),
    "periods of a page of budgets": lambda tx: budgets.periods_at(tx, [(new_id(), datetime.now(UTC))]),
    "notifications": lambda tx: notifications.inbox(tx, new_id(), unread=None, before=new_id(), limit=50),
    "unread notifications": lambda tx: notifications.inbox(tx, new_id(), unread=True, before=None, limit=50),
    "notification channels": lambda tx: notifications.channels(tx, after=new_id(), limit=50),
    "deliveries of a channel": lambda tx: notifications.deliveries(tx, new_id(), before=new_id(), limit=50),
}


def _letters(tx: Tx, state: LetterState | None, before: UUID | None) -> Awaitable[Any]:
    return dead_letters.letters(tx, state=state, filters={}, permission="deadletter.read", before=before, limit=50)


@pytest.mark.parametrize("row", TABLES, ids=lambda row: row.__name__)
async def test_a_row_has_the_columns_of_its_table_and_may_lack_what_they_may(store: Store, row: type):
    async with begin_system(store) as tx:
        columns = {
            found["attname"]: not found["attnotnull"]
            for found in await tx.all(
                "select attname, attnotnull from pg_attribute where attrelid = %s::regclass and attnum > 0 "
                "and not attisdropped",
                (TABLES[row],),
            )
        }
    hints = typing.get_type_hints(row)
    fields = {field.name: _may_be_none(hints[field.name]) for field in dataclasses.fields(row)}
    assert fields == {name: columns.get(name, "no such column") for name in fields}


@pytest.mark.parametrize("name", LISTS)
async def test_a_list_is_read_through_an_index_without_sorting(store: Store, owner: Principal, name: str):
    async with begin(store, owner) as tx:
        plans = await _plans(tx, LISTS[name])
    assert plans
    # A page of each project at most is merged: as many rows as pages, whatever the table holds.
    unwanted = {"Seq Scan"} if name == "jobs of a project" else {"Seq Scan", "Sort", "Incremental Sort"}
    for plan in plans:
        assert not set(_kinds(plan)) & unwanted, plan
        # Into the owner's part of the index at once, not along everybody's rows.
        assert any("organization_id" in each or "job_id" in each for each in _conditions(plan)), plan


async def test_a_list_without_an_index_would_be_seen(store: Store, owner: Principal):
    """The positive control of the test above."""
    async with begin(store, owner) as tx:
        [plan] = await _plans(tx, lambda recorded: recorded.all("select id from projects order by name limit 5"))
    assert "Sort" in set(_kinds(plan))


async def test_every_sealed_column_is_known_to_the_rotation_of_data_keys(store: Store):
    async with begin_system(store) as tx:
        rows = await tx.all(
            "select table_name, column_name from information_schema.columns where table_schema = 'public' "
            "and data_type = 'bytea' and column_name like 'sealed%%'",
            (),
        )
    known = {(column.table, column.column) for column in sealed_columns()}
    assert {(row["table_name"], row["column_name"]) for row in rows} == known
    assert SealedColumn("providers", "sealed_key") in sealed_columns()


class _Explained(Tx):
    """Explains what it is asked for instead of running it."""

    def __init__(self, tx: Tx) -> None:
        super().__init__(tx.connection, tx.principal, tx._services)
        self.plans: list[dict[str, Any]] = []

    async def all(self, query: Any, parameters: Any = ()) -> list[Any]:
        cursor = await self.connection.execute("explain (format json) " + query, parameters)
        found = await cursor.fetchone()
        assert found is not None
        self.plans.append(found["QUERY PLAN"][0]["Plan"])
        return []

    async def one(self, query: Any, parameters: Any = ()) -> None:
        await self.all(query, parameters)


async def _plans(tx: Tx, ask: Callable[[Tx], Awaitable[Any]]) -> list[dict[str, Any]]:
    """Empty tables are read as a whole at no cost: with that forbidden, an index is used if there is one that fits."""
    for method in ("seqscan", "sort", "bitmapscan"):
        await tx.connection.execute(f"set local enable_{method} = off")
    explained = _Explained(tx)
    await ask(explained)
    return explained.plans


def _kinds(plan: dict[str, Any]) -> list[str]:
    return [plan["Node Type"], *(kind for part in plan.get("Plans", []) for kind in _kinds(part))]


def _conditions(plan: dict[str, Any]) -> list[str]:
    return [plan.get("Index Cond", ""), *(each for part in plan.get("Plans", []) for each in _conditions(part))]


def _may_be_none(hint: Any) -> bool:
    is_union = typing.get_origin(hint) in {typing.Union, types.UnionType}
    return is_union and type(None) in typing.get_args(hint)
