"""Two organizations with one of everything that a route can name, and callers of every kind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from shopfloor.apps.wiring import Parts
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access.keys import mint
from shopfloor.domain.access.permissions import EVERY, IN_PROJECTS, OF_THE_OPERATOR, ROLES
from shopfloor.domain.accounts.models import Person
from shopfloor.domain.accounts.sessions import open_session
from shopfloor.domain.accounts.signing import access_token
from shopfloor.infra.tx import Tx, begin, begin_system

CUSTOM = frozenset({"project.read", "job.read", "artifact.read", "member.read", "role.read", "price.edit"})
SIGNED_IN_TOO = {"owner", "viewer"}  # come with a session as well
SERVICE = frozenset({"job.read", "job.submit"})


@dataclass(frozen=True)
class Caller:
    """Who asks, and what the table of permissions says of them."""

    name: str
    header: str
    may: Principal  # `permissions`, `project_permissions` and `project_ids` as they should come out


@dataclass
class World:
    """One organization; `ids` are values for path parameters, by `collection/parameter`."""

    organization_id: UUID
    ids: dict[str, str] = field(default_factory=dict)
    project: UUID = field(default_factory=new_id)
    other_project: UUID = field(default_factory=new_id)
    callers: list[Caller] = field(default_factory=list)


async def build(parts: Parts, *, operator: bool) -> World:
    """The operator's organization of the first start, or a second one."""
    async with begin_system(parts.store) as tx:
        if operator:
            row = await tx.one("select id from organizations where operator")
            assert row is not None
            world = World(row["id"])
        else:
            world = World(new_id())
            await tx.execute("insert into organizations (id, name) values (%s, 'Other')", (world.organization_id,))
    digest = (await parts.blobs.put(_chunks(), max_bytes=None)).digest
    await _fill(parts, world, digest)
    return world


async def _chunks() -> AsyncIterator[bytes]:
    yield b"content"


async def _fill(parts: Parts, world: World, digest: str) -> None:
    """As the application's own role, within the organization: what it may not write, nobody could have made."""
    principal = Principal("system", new_id(), world.organization_id, frozenset({"*"}))
    async with begin(parts.store, principal) as tx:
        await _places(tx, world)
        await _people(parts, tx, world)
        await _work(tx, world, digest)
        await _accounts(parts, tx, world)
    await _letter(parts, world)
    async with begin(parts.store, principal) as tx:  # entries are written right before a commit
        entry = await tx.one("select id from audit_entries where organization_id = %s limit 1", (tx.organization_id,))
    assert entry is not None
    world.ids["audit/entry_id"] = str(entry["id"])
    for caller in list(world.callers):
        if caller.name in SIGNED_IN_TOO:
            await _session(parts, world, caller)


async def _places(tx: Tx, world: World) -> None:
    org = world.organization_id
    for project_id, slug in ((world.project, "shop"), (world.other_project, "bank")):
        await tx.execute(
            "insert into projects (id, organization_id, slug, name) values (%s, %s, %s, 'P')", (project_id, org, slug)
        )
    await tx.execute(
        "insert into roles (id, organization_id, name, permissions) values (%s, %s, %s, %s)",
        (new_id(), org, f"custom-{org.hex[-8:]}", sorted(CUSTOM)),
    )
    team = new_id()
    await tx.execute("insert into teams (id, organization_id, slug, name) values (%s, %s, 'web', 'Web')", (team, org))
    world.ids |= {
        "projects/project": str(world.project), "teams/team": str(team), "roles/name": f"custom-{org.hex[-8:]}",
        "agents/name": "coding",
    }  # fmt: skip


async def _people(parts: Parts, tx: Tx, world: World) -> None:
    everywhere = {name: (name, ROLES[name]) for name in ROLES}
    everywhere["custom"] = (world.ids["roles/name"], CUSTOM)
    for name, (role, held) in everywhere.items():
        await _caller(parts, tx, world, name, role, held)
    user_id = await _caller(
        parts, tx, world, "developer of one project", "member", ROLES["member"],
        in_project=ROLES["developer"] & IN_PROJECTS,
    )  # fmt: skip
    await tx.execute(
        "insert into project_grants (id, organization_id, project_id, user_id, role) values (%s, %s, %s, %s, "
        "'developer')",
        (new_id(), world.organization_id, world.project, user_id),
    )
    await tx.execute(
        "insert into team_members (organization_id, team_id, user_id) values (%s, %s, %s)",
        (world.organization_id, world.ids["teams/team"], user_id),
    )
    await _caller(parts, tx, world, "service key", "developer", ROLES["developer"], kind="service", key=SERVICE)
    await _caller(
        parts, tx, world, "owner's key for another project", "owner", ROLES["owner"],
        project_ids=frozenset({world.other_project}),
    )  # fmt: skip
    world.ids |= {"members/user_id": str(user_id), "teams/user_id": str(user_id), "projects/holder_id": str(user_id)}


async def _caller(
    parts: Parts, tx: Tx, world: World, name: str, role: str, held: frozenset[str], *, kind: str = "person",
    key: frozenset[str] = EVERY, in_project: frozenset[str] = frozenset(), project_ids: frozenset[UUID] | None = None,
) -> UUID:  # fmt: skip
    user_id, key_id, text = new_id(), new_id(), mint()
    await tx.execute(
        "insert into users (id, organization_id, email, name, role, kind) values (%s, %s, %s, %s, %s, %s)",
        (user_id, world.organization_id, f"{user_id}@example.org", name, role, kind),
    )
    await tx.execute(
        "insert into api_keys (id, organization_id, user_id, name, public_id, secret_hash, permissions, project_ids) "
        "values (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            key_id, world.organization_id, user_id, name, text.public_id,
            parts.sealer.fingerprint("api key", text.text), sorted(key),
            sorted(project_ids) if project_ids is not None else None,
        ),
    )  # fmt: skip
    world.ids.setdefault("api-keys/key_id", str(key_id))
    operator = await tx.one("select operator from organizations where id = %s", (world.organization_id,))
    assert operator is not None
    may = held & key if operator["operator"] else (held & key) - OF_THE_OPERATOR
    places = {world.project: in_project & key} if in_project else {}
    principal = Principal(
        "key", key_id, world.organization_id, may, project_ids, name, project_permissions=places, user_id=user_id
    )
    world.callers.append(Caller(name, f"Bearer {text.text}", principal))
    return user_id


async def _work(tx: Tx, world: World, digest: str) -> None:
    org, job, artifact, provider = world.organization_id, new_id(), new_id(), new_id()
    await tx.execute(
        "insert into jobs (id, organization_id, project_id, agent, task, model, limits, created_by, state, "
        "finished_at) values (%s, %s, %s, 'coding', 'x', 'mock/x', %s, %s, 'succeeded', now())",
        (job, org, world.project, '{"cost_nanos": 1, "turns": 1, "timeout_s": 10}', new_id()),
    )
    await tx.execute(
        "insert into artifacts (id, organization_id, job_id, name, media_type, digest, size_bytes) "
        "values (%s, %s, %s, 'a.txt', 'text/plain', %s, 7)",
        (artifact, org, job, digest),
    )
    await tx.execute(
        "insert into providers (id, organization_id, name, kind, base_url, models) values (%s, %s, 'mock', 'mock', "
        """'http://127.0.0.1:9/v1', '[{"name": "small"}]')""",
        (provider, org),
    )
    world.ids |= {"artifacts/artifact_id": str(artifact), "providers/provider_id": str(provider)}
    own: dict[str, tuple[str, Any]] = {
        "environment": ("kind, protected", ("dev", False)),
        "release": ("status, notes", ("planned", "")),
        "sprint": ("goal, starts, ends", ("", "2026-03-02", "2026-03-13")),
    }
    for one, (columns, values) in own.items():
        record = new_id()
        places = ", ".join(["%s"] * (4 + len(values)))
        await tx.execute(
            f"insert into {one}s (id, organization_id, project_id, name, {columns}) values ({places})",  # type: ignore[arg-type]
            (record, org, world.project, "1", *values),
        )
        await tx.execute(
            f"insert into {one}_jobs (organization_id, project_id, {one}_id, job_id) values (%s, %s, %s, %s)",  # type: ignore[arg-type]
            (org, world.project, record, job),
        )
        world.ids |= {f"{one}s/{one}_id": str(record), f"{one}s/job_id": str(job)}
    world.ids["jobs/job_id"] = str(job)
    run, approval = new_id(), new_id()
    await tx.execute(
        "insert into runs (id, organization_id, job_id, fence, worker, state) values (%s, %s, %s, 1, 'w', 'ended')",
        (run, org, job),
    )
    await tx.execute(
        "insert into approvals (id, organization_id, project_id, job_id, run_id, kind, scope, turn, key, tool, "
        "arguments, digest, summary, state, decided_at, expires_at) values (%s, %s, %s, %s, %s, 'tool', '', 1, 'c', "
        "'shell', '{}', '', 'x', 'approved', now(), now())",
        (approval, org, world.project, job, run),
    )
    world.ids["approvals/approval_id"] = str(approval)
    await _money(tx, world)


async def _money(tx: Tx, world: World) -> None:
    """A budget of the project with a raise; a channel with a delivery, and what it told."""
    org, made_by = world.organization_id, new_id()
    budget, raise_, channel, told, delivery = (new_id() for _ in range(5))
    await tx.execute(
        "insert into budgets (id, organization_id, scope_type, scope_id, project_id, period, time_zone, limit_nanos, "
        "hard, thresholds, auto_pause, created_by) "
        "values (%s, %s, 'project', %s, %s, 'month', 'UTC', 1, true, '{80}', true, %s)",
        (budget, org, str(world.project), world.project, made_by),
    )
    await tx.execute(
        "insert into budget_raises (id, organization_id, budget_id, amount_nanos, reason, created_by, expires_at) "
        "values (%s, %s, %s, 1, 'x', %s, now() + interval '1 day')",
        (raise_, org, budget, made_by),
    )
    await tx.execute(
        "insert into notification_channels (id, organization_id, kind, address, events, created_by) "
        "values (%s, %s, 'email', 'ops@example.org', '{}', %s)",
        (channel, org, made_by),
    )
    await tx.execute(
        "insert into notifications (id, organization_id, project_id, kind, key, title, body, data) "
        "values (%s, %s, %s, 'budget.alert', %s, 'x', 'x', '{}')",
        (told, org, world.project, str(told)),
    )
    await tx.execute(
        "insert into notification_deliveries (id, organization_id, notification_id, channel_id, state) "
        "values (%s, %s, %s, %s, 'failed')",
        (delivery, org, told, channel),
    )
    world.ids |= {
        "budgets/budget_id": str(budget), "budgets/raise_id": str(raise_),
        "notifications/notification_id": str(told), "notifications/channel_id": str(channel),
        "notifications/delivery_id": str(delivery),
    }  # fmt: skip


async def _letter(parts: Parts, world: World) -> None:
    """A task that was given up: only the system adds those."""
    letter, queue_number = new_id(), new_id().int % 2**40
    async with begin_system(parts.store) as tx:
        await tx.execute(
            "insert into dead_letters (id, organization_id, project_id, kind, task, queue, task_id, reason, history, "
            "attempts, payload) values (%s, %s, %s, 'task', 'of.a.test', 'default', %s, "
            """'{"code": "x", "title": "x", "detail": "x"}', '[]', 1, '{}')""",
            (letter, world.organization_id, world.project, queue_number),
        )
    world.ids["dead-letters/letter_id"] = str(letter)


async def _accounts(parts: Parts, tx: Tx, world: World) -> None:
    """What belongs to signing in, and a secret. Nobody else's than the first caller's."""
    org, [owner] = world.organization_id, [each for each in world.callers if each.name == "owner"]
    provider, identity, passkey = new_id(), new_id(), new_id()
    invitation, domain, secret = new_id(), new_id(), new_id()
    issuer, user_id = "https://id.example.org", owner.may.user_id
    await tx.execute(
        "insert into identity_providers (id, organization_id, name, issuer, client_id, scopes, default_role) "
        "values (%s, %s, 'corp', %s, 'shopfloor', '{openid}', 'viewer')",
        (provider, org, issuer),
    )
    await tx.execute(
        "insert into identities (id, organization_id, user_id, provider_id, issuer, subject) "
        "values (%s, %s, %s, %s, %s, 'somebody')",
        (identity, org, user_id, provider, issuer),
    )
    await tx.execute(
        "insert into passkeys (id, organization_id, user_id, name, credential_id, public_key, sign_count, aaguid, "
        "backed_up) values (%s, %s, %s, 'laptop', %s, '\\x00', 0, '', false)",
        (passkey, org, user_id, passkey.bytes),
    )
    await tx.execute(
        "insert into invitations (id, organization_id, email, role, invited_by, token_hash, created_at, expires_at) "
        "values (%s, %s, 'new@example.org', 'viewer', %s, %s, now(), now() + interval '1 day')",
        (invitation, org, user_id, invitation.bytes),
    )
    await tx.execute(
        "insert into verified_domains (id, organization_id, domain, token) values (%s, %s, 'example.org', 'x')",
        (domain, org),
    )
    sealed = await parts.sealer.seal(tx, org, f"secrets.value:{secret}", "visibly-fake")
    await tx.execute(
        "insert into secrets (id, organization_id, project_id, name, kind, sealed_value, created_by) "
        "values (%s, %s, %s, 'deploy', 'generic', %s, %s)",
        (secret, org, world.project, sealed, user_id),
    )
    await tx.record("secret.added", "secret", secret)
    world.ids |= {
        "identity-providers/provider_id": str(provider), "auth/provider_id": str(provider),
        "me/identity_id": str(identity), "me/passkey_id": str(passkey), "invitations/invitation_id": str(invitation),
        "verified-domains/domain_id": str(domain), "secrets/secret_id": str(secret),
    }  # fmt: skip


async def _session(parts: Parts, world: World, caller: Caller) -> None:
    """The same person, signed in: an access token in place of a key."""
    assert caller.may.user_id is not None
    principal = Principal("system", new_id(), world.organization_id, frozenset({"*"}))
    async with begin(parts.store, principal) as tx:
        row = await tx.one(
            "select id, organization_id, email, name, role, created_at, disabled_at, password_hash, email_verified_at "
            "from users where id = %s",
            (caller.may.user_id,),
        )
        assert row is not None
        opened = await open_session(tx, Person(**row), methods=["password"], kind="token")
    token = await access_token(parts.store, parts.sealer, session_id=opened.id, user_id=opened.user_id, life_s=600)
    world.ids.setdefault("me/session_id", str(opened.id))
    may = replace(caller.may, kind="user", id=opened.user_id, session_id=opened.id)
    world.callers.append(Caller(f"{caller.name}, signed in", f"Bearer {token}", may))
