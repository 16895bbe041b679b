"""Two organizations on one real application, each with an example of everything, and a look at all their rows.

**A new route fails here?** Its path parameter needs an example that a tenant can have: add a maker to `EXAMPLES` (one
whose collection answers POST with an `id` is made by that, without an entry). A body that the document's example
doesn't make valid goes to `BODIES`. What belongs to the installation and not to a tenant is listed in `SHARED`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, LiteralString, cast
from uuid import UUID

import httpx2
import psycopg
from fastapi import FastAPI
from psycopg.types.json import Jsonb

from security.api import tenants_money
from security.api.routes import OPEN, Operation, operation
from shopfloor.apps.api import create_app
from shopfloor.apps.settings import load
from shopfloor.apps.wiring import Parts, open_parts
from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access.cookies import csrf_token
from shopfloor.domain.access.keys import mint
from shopfloor.domain.access.permissions import EVERY, ROLES
from shopfloor.domain.access.secret_text import hash_of, new_secret
from shopfloor.domain.artifacts import keep
from shopfloor.infra.tx import Tx, begin, begin_system
from shopfloor.infra.web.rate_limiting import LimitsSettings

OF_THE_TEST = "session-of-the-test"
BASE = "http://127.0.0.1:8321"


@dataclass
class Tenant:
    """An organization, its owner's client, and a mark that stands in every text of its."""

    name: str
    id: UUID
    user_id: UUID
    key: str
    client: httpx2.AsyncClient
    parts: Parts
    project_id: UUID = field(default_factory=new_id)

    @property
    def mark(self) -> str:
        return f"mark-of-{self.name}"

    @property
    def principal(self) -> Principal:
        return Principal("user", self.user_id, self.id, ROLES["owner"], name=self.mark, user_id=self.user_id)

    async def session(self) -> str:
        """The secret of a new browser session of the owner's. One a request: some requests end it.

        Written past the product and left out of what is compared: it is not what a request changed.
        """
        secret, session_id = new_secret(), new_id()
        async with begin(self.parts.store, self.principal) as tx:
            await tx.execute(
                "insert into sessions (id, organization_id, user_id, kind, secret_hash, methods, agent, created_at, "
                "signed_in_at, last_seen_at, idle_s, ends_at) values (%s, %s, %s, 'browser', %s, '{password}', %s, "
                "now(), now(), now(), 600, now() + interval '1 day')",
                (session_id, self.id, self.user_id, hash_of(secret), OF_THE_TEST),
            )
        return secret

    async def path_of(self, template: str) -> str:
        """`template` with examples of this tenant's own in place of its parameters, made anew."""
        path, whole = "", ""
        for step in template.strip("/").split("/"):
            whole += f"/{step}"
            path += "/" + (await self._example(whole, path) if step.startswith("{") else step)
        return path

    async def _example(self, whole: str, collection: str) -> str:
        parameter = whole.rpartition("/")[2][1:-1]
        if whole in TIED:
            return await _tied(self, collection, parameter, TIED[whole])
        maker = EXAMPLES.get(whole) or EXAMPLES.get(parameter)
        if maker is not None:
            return await maker(self)
        make = operation("post", whole.rpartition("/")[0])
        assert make is not None, f"{whole}: no example of {{{parameter}}}. Add a maker to EXAMPLES in {__file__}"
        made = await self.client.post(collection, json=await self.body_of(make))
        assert made.is_success, (
            f"{make} makes no {{{parameter}}}: {made.text}. Add it to BODIES or EXAMPLES in {__file__}"
        )
        return str(made.json()["id"])

    async def body_of(self, asked: Operation) -> Any:
        """A body that this tenant may send."""
        if str(asked) in BODIES:
            return BODIES[str(asked)](self)
        return asked.body_example()


@dataclass
class Shop:
    """The application and its two tenants."""

    app: FastAPI
    parts: Parts
    owner_url: str
    acme: Tenant
    other: Tenant

    @property
    def browser(self) -> httpx2.AsyncClient:
        """Sends no more than it is told to: each request brings the cookie of its own session."""
        return self.client()

    def client(self, authorization: str | None = None) -> httpx2.AsyncClient:
        headers = {} if authorization is None else {"Authorization": authorization}
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport, base_url=BASE, headers=headers)

    async def request(
        self, tenant: Tenant, asked: Operation, path: str | None = None, **options: Any
    ) -> httpx2.Response:
        """`asked` by the owner of `tenant`; `path` None: at an example of the tenant's own."""
        if asked.body is not None and "content" not in options:
            options.setdefault("json", await tenant.body_of(asked))
        path = path or await tenant.path_of(asked.path)
        if asked.of_a_person:
            secret = await tenant.session()
            signed = {"Cookie": f"shopfloor={secret}", "Origin": BASE, "X-CSRF-Token": csrf_token(secret)}
            options["headers"] = signed | dict(options.get("headers", {}))
            return await self.browser.request(asked.method.upper(), path, **options)
        return await tenant.client.request(asked.method.upper(), path, **options)

    def rows_of(self, tenant: Tenant) -> dict[str, set[str]]:
        """Every row of the tenant's in every table, as text: what changed is seen whoever changed it."""
        with psycopg.connect(self.owner_url) as connection:
            found = {}
            for table in tenant_tables(connection):
                row = "(to_jsonb(t) - 'last_used_at' - 'last_used_address')::text"
                query = f"select {row} from {table} t where organization_id = %s"
                rows = connection.execute(cast("LiteralString", query), (tenant.id,))
                found[table] = {row[0] for row in rows if OF_THE_TEST not in row[0]}
            return found

    def ids_of(self, tenant: Tenant) -> set[str]:
        """Every id of the tenant's, as it would stand in an answer."""
        with psycopg.connect(self.owner_url) as connection:
            ids = set()
            for table in tenant_tables(connection):
                query = f"select to_jsonb(t) ->> 'id' from {table} t where organization_id = %s"
                ids |= {row[0] for row in connection.execute(cast("LiteralString", query), (tenant.id,)) if row[0]}
            return ids


DERIVED = ("audit_nodes", "audit_checkpoints", "audit_keys", "data_keys")  # follow from other rows, later


def tenant_tables(connection: psycopg.Connection[Any]) -> list[str]:
    """Every table with an `organization_id`, from the catalogue, but for what is derived."""
    rows = connection.execute(
        "select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'organization_id' "
        "where c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace and not c.relispartition "
        "and c.relname <> all(%s) order by 1",
        (list(DERIVED),),
    )
    return [row[0] for row in rows]


@contextlib.asynccontextmanager
async def open_shop(database_url: str, **settings: Any) -> AsyncIterator[Shop]:
    """The whole application on this database. It admits no job: what the tests compare holds still."""
    with tempfile.TemporaryDirectory(prefix="sf-attacked-", ignore_cleanup_errors=True) as home:
        os.chmod(home, 0o711)  # noqa: PTH101 - quick, and before anything else runs
        still: dict[str, Any] = {
            "jobs": {"sweep_s": 3_600, "max_admitted": 1},
            "providers": {"allow_private": True},
            "accounts": {"identity_allow_private": True},
            "limits": dict.fromkeys(LimitsSettings.model_fields.keys() - {"organizations"}, 0),
        }
        loaded = load({"SHOPFLOOR_HOME": home}, database={"url": database_url}, **(still | settings))
        async with open_parts(loaded) as parts:
            object.__setattr__(parts.identity, "texts", _no_texts)
            app = create_app(parts)
            await _occupy(parts)
            acme, other = await _tenant(parts, app, "acme"), await _tenant(parts, app, "other")
            yield Shop(app, parts, database_url, acme, other)
            await acme.client.aclose()
            await other.client.aclose()


async def _no_texts(_: str) -> list[str]:
    """A fake name service: nobody has proved anything there."""
    return []


async def _occupy(parts: Parts) -> None:
    """A running job of a third organization, that of the first start, takes the only slot."""
    async with begin_system(parts.store) as tx:
        place = await tx.one("select id, organization_id from projects limit 1")
    assert place is not None
    third = Principal("system", new_id(), place["organization_id"], frozenset({"*"}))
    async with begin(parts.store, third) as tx:
        await tx.execute(
            "insert into jobs (id, organization_id, project_id, agent, task, model, limits, created_by, state, "
            "admitted_at) values (%s, %s, %s, 'coding', 'x', 'mock/x', '{}', %s, 'running', now())",
            (new_id(), place["organization_id"], place["id"], new_id()),
        )


async def _tenant(parts: Parts, app: FastAPI, name: str) -> Tenant:
    key, organization_id, user_id = mint(), new_id(), new_id()
    client = httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app, raise_app_exceptions=False),
        base_url=BASE,
        headers={"Authorization": f"Bearer {key.text}"},
    )
    tenant = Tenant(name, organization_id, user_id, key.text, client, parts)
    async with begin_system(parts.store) as tx:
        await tx.execute("insert into organizations (id, name) values (%s, %s)", (organization_id, tenant.mark))
        await tx.execute(
            "insert into users (id, organization_id, email, name, role) values (%s, %s, %s, %s, 'owner')",
            (user_id, organization_id, f"owner@{name}.example.org", tenant.mark),
        )
        await tx.execute(
            "insert into projects (id, organization_id, slug, name) values (%s, %s, 'default', %s)",
            (tenant.project_id, organization_id, tenant.mark),
        )
        await tx.execute(
            "insert into api_keys (id, organization_id, user_id, name, public_id, secret_hash, permissions) "
            "values (%s, %s, %s, %s, %s, %s, %s)",
            (
                new_id(), organization_id, user_id, tenant.mark, key.public_id,
                parts.sealer.fingerprint("api key", key.text), sorted(EVERY),
            ),
        )  # fmt: skip
    provider = {"name": "mock", "kind": "mock", "base_url": "http://127.0.0.1:9/v1", "models": ["small"]}
    assert (await client.post("/api/v1/providers", json=provider)).status_code == 201
    price = {"provider": "mock", "model": "small", "unit": "input", "usd_per_million": "1"}
    assert (await client.post("/api/v1/prices", json=price)).status_code == 201
    price = price | {"unit": "output"}
    assert (await client.post("/api/v1/prices", json=price)).status_code == 201
    return tenant


async def a_job(tenant: Tenant) -> str:
    """An ended job with everything a job can have: a run, a step, a call, events, a patch, an artifact, a question."""
    job_id, run_id, mark = new_id(), new_id(), tenant.mark
    patch = await tenant.parts.blobs.put(_chunks(f"+{mark}\n".encode()))
    async with begin(tenant.parts.store, tenant.principal) as tx:
        await tx.execute(
            "insert into jobs (id, organization_id, project_id, agent, task, model, limits, labels, created_by, state, "
            "ending, finished_at, started_at, patch_digest, output, turns, runs, last_seq) values "
            "(%s, %s, %s, 'coding', %s, 'mock/small', '{}', %s, %s, 'succeeded', 'finished', now(), now(), %s, %s, "
            "9, 1, 2)",
            (
                job_id, tenant.id, tenant.project_id, mark, Jsonb({"tenant": mark}), tenant.user_id, patch.digest,
                Jsonb({"summary": mark}),
            ),
        )  # fmt: skip
        await tx.execute(
            "insert into runs (id, organization_id, job_id, fence, worker, state, ended_at) "
            "values (%s, %s, %s, 1, %s, 'ended', now())",
            (run_id, tenant.id, job_id, mark),
        )
        await tx.execute(
            "insert into approvals (id, organization_id, project_id, job_id, run_id, kind, scope, turn, key, tool, "
            "arguments, digest, summary, expires_at) values (%s, %s, %s, %s, %s, 'tool', '', 1, 'c', 'shell', %s, '', "
            "%s, now() + interval '1 day')",
            (new_id(), tenant.id, tenant.project_id, job_id, run_id, Jsonb({"command": mark}), mark),
        )
        await tx.execute(
            "insert into steps (id, organization_id, job_id, run_id, turn, kind, name, state, result, done_at) "
            "values (%s, %s, %s, %s, 5, 'model', %s, 'done', '{}', now())",
            (new_id(), tenant.id, job_id, run_id, mark),
        )
        await tx.execute(
            "insert into holds (id, organization_id, job_id, run_id, scope, turn, attempt, model, state, bound_nanos) "
            "values (%s, %s, %s, %s, '', 5, 1, %s, 'settled', 1)",
            (new_id(), tenant.id, job_id, run_id, mark),
        )
        for seq, kind in ((1, "job.queued"), (2, "job.succeeded")):
            await tx.execute(
                "insert into events (organization_id, job_id, seq, kind, data) values (%s, %s, %s, %s, %s)",
                (tenant.id, job_id, seq, kind, Jsonb({"by": mark})),
            )
    await an_artifact(tenant, job_id)
    return str(job_id)


async def an_artifact(tenant: Tenant, job_id: UUID | None = None) -> str:
    content = _chunks(f"content {tenant.mark} {new_id()}".encode())
    made = await keep.save(
        tenant.parts.store, tenant.principal, tenant.parts.blobs, content,
        job_id=job_id or UUID(await a_job(tenant)), name=f"{tenant.mark}.txt", media_type="text/plain",
    )  # fmt: skip
    return str(made.id)


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _tied(tenant: Tenant, collection: str, parameter: str, body: dict[str, str] | None) -> str:
    """Somebody or something that was put into this collection."""
    ident = await EXAMPLES[parameter](tenant)
    put = await tenant.client.put(f"{collection}/{ident}", json=body)
    assert put.is_success, put.text
    return ident


def _named(tenant: Tenant) -> str:
    return f"{tenant.mark}-{new_id().hex[-12:]}"


async def a_fixed(text: str) -> str:
    return text


async def a_member(tenant: Tenant) -> str:
    """Somebody else of the organization."""
    made = await tenant.client.post("/api/v1/service-accounts", json={"name": tenant.mark, "role": "developer"})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def a_person(tenant: Tenant) -> str:
    """Somebody else who has an account, a session and a factor."""
    user_id, mark = new_id(), tenant.mark
    async with begin(tenant.parts.store, tenant.principal) as tx:
        await tx.execute(
            "insert into users (id, organization_id, email, name, role) values (%s, %s, %s, %s, 'developer')",
            (user_id, tenant.id, f"{user_id.hex}@example.org", mark),
        )
        await tx.execute(
            "insert into sessions (id, organization_id, user_id, kind, secret_hash, methods, created_at, "
            "signed_in_at, last_seen_at, idle_s, ends_at) values (%s, %s, %s, 'browser', %s, '{password}', now(), "
            "now(), now(), 600, now() + interval '1 day')",
            (new_id(), tenant.id, user_id, user_id.bytes),
        )
        await _passkey(tx, tenant, user_id)
    return str(user_id)


async def _passkey(tx: Tx, tenant: Tenant, user_id: UUID) -> UUID:
    passkey = new_id()
    await tx.execute(
        "insert into passkeys (id, organization_id, user_id, name, credential_id, public_key, sign_count, aaguid, "
        "backed_up) values (%s, %s, %s, %s, %s, '\\x00', 0, '', false)",
        (passkey, tenant.id, user_id, tenant.mark, passkey.bytes),
    )
    return passkey


async def a_passkey(tenant: Tenant) -> str:
    async with begin(tenant.parts.store, tenant.principal) as tx:
        return str(await _passkey(tx, tenant, tenant.user_id))


async def an_own_session(tenant: Tenant) -> str:
    await tenant.session()
    async with begin(tenant.parts.store, tenant.principal) as tx:
        row = await tx.one("select id from sessions where user_id = %s order by id desc limit 1", (tenant.user_id,))
    assert row is not None
    return str(row["id"])


async def an_identity(tenant: Tenant) -> str:
    provider, identity = await tenant.path_of("/api/v1/identity-providers/{provider_id}"), new_id()
    async with begin(tenant.parts.store, tenant.principal) as tx:
        await tx.execute(
            "insert into identities (id, organization_id, user_id, provider_id, issuer, subject) "
            "values (%s, %s, %s, %s, 'https://id.example.org', %s)",
            (identity, tenant.id, tenant.user_id, provider.rpartition("/")[2], f"{tenant.mark}-{identity.hex}"),
        )
    return str(identity)


async def an_entry(tenant: Tenant) -> str:
    """Something that the organization did."""
    async with begin(tenant.parts.store, tenant.principal) as tx:
        row = await tx.one("select id from audit_entries where organization_id = %s order by id limit 1", (tenant.id,))
    assert row is not None
    return str(row["id"])


async def an_identity_provider(tenant: Tenant) -> str:
    return (await tenant.path_of("/api/v1/identity-providers/{provider_id}")).rpartition("/")[2]


async def a_role(tenant: Tenant) -> str:
    made = await tenant.client.post("/api/v1/roles", json=BODIES["POST /api/v1/roles"](tenant))
    assert made.status_code == 201, made.text
    return str(made.json()["name"])


# What has to be in a collection before it can be taken out, and the body that puts it there.
TIED: dict[str, dict[str, str] | None] = {
    "/api/v1/teams/{team}/members/{user_id}": {"team_role": "lead"},
    "/api/v1/projects/{project}/grants/{holder_id}": {"role": "viewer"},
    "/api/v1/environments/{environment_id}/jobs/{job_id}": None,
    "/api/v1/releases/{release_id}/jobs/{job_id}": None,
    "/api/v1/sprints/{sprint_id}/jobs/{job_id}": None,
}


async def an_approval(tenant: Tenant) -> str:
    job = await a_job(tenant)
    async with begin(tenant.parts.store, tenant.principal) as tx:
        row = await tx.one("select id from approvals where job_id = %s", (job,))
    assert row is not None
    return str(row["id"])


EXAMPLES: dict[str, Callable[[Tenant], Awaitable[str]]] = {
    "job_id": a_job,
    "artifact_id": an_artifact,
    "approval_id": an_approval,
    "/api/v1/agents/{name}": lambda _: a_fixed("coding"),
    "/api/v1/roles/{name}": a_role,
    "/api/v1/auth/oidc/{provider_id}": an_identity_provider,
    "user_id": a_person,
    "holder_id": a_person,
    "entry_id": an_entry,
    "session_id": an_own_session,
    "passkey_id": a_passkey,
    "identity_id": an_identity,
    **tenants_money.EXAMPLES,
}
BODIES: dict[str, Callable[[Tenant], Any]] = {
    **tenants_money.BODIES,
    "POST /api/v1/dead-letters/requeue": lambda _: {"ids": [str(new_id())]},
    "POST /api/v1/dead-letters/discard": lambda tenant: {"ids": [str(new_id())], "reason": tenant.mark},
    "POST /api/v1/roles": lambda tenant: {
        "name": f"r-{new_id()}", "description": tenant.mark, "permissions": ["job.read"],
    },
    "PATCH /api/v1/roles/{name}": lambda _: {"description": "another"},
    "PUT /api/v1/projects/{project}/grants/{holder_id}": lambda _: {"role": "developer"},
    "POST /api/v1/service-accounts": lambda tenant: {"name": tenant.mark, "role": "developer"},
    "POST /api/v1/environments": lambda tenant: {"project": "default", "name": _named(tenant)},
    "POST /api/v1/releases": lambda tenant: {"project": "default", "name": _named(tenant)},
    "POST /api/v1/sprints": lambda tenant: {
        "project": "default", "name": _named(tenant), "starts": "2026-03-02", "ends": "2026-03-13",
    },
    "POST /api/v1/identity-providers": lambda _: {
        "name": f"i-{new_id().hex[-12:]}", "issuer": "http://127.0.0.1:9/id", "client_id": "shopfloor",
    },
    "POST /api/v1/verified-domains": lambda _: {"domain": f"{new_id().hex[-12:]}.example.org"},
    "POST /api/v1/secrets": lambda _: {"name": f"s-{new_id().hex[-12:]}", "value": "visibly-fake"},
    "POST /api/v1/jobs": lambda tenant: {"task": tenant.mark, "model": "mock/small"},
    "POST /api/v1/jobs/{job_id}/fork": lambda _: {"before_turn": 5},
    "POST /api/v1/api-keys": lambda tenant: {"name": tenant.mark, "permissions": ["job.read"]},
    "POST /api/v1/projects": lambda tenant: {"slug": f"p-{new_id().hex[-12:]}", "name": tenant.mark},
    "POST /api/v1/prices": lambda _: {"provider": "mock", "model": "small", "unit": "input", "usd_per_million": "2"},
    "POST /api/v1/providers": lambda _: {
        "name": f"mock-{new_id().hex[-12:]}", "kind": "mock", "base_url": "http://127.0.0.1:9/v1", "models": ["small"],
    },
}  # fmt: skip
# What a valid body is answered where the proof inside it would have to be somebody's: it was read, and not believed.
NOT_BELIEVED = {
    "password-too-weak", "factor-unknown", "link-not-valid", "sign-in-refused", "not-signed-in", "code-wrong",
    "passkey-not-taken",
    "identity-provider-unknown", "identity-provider-away", "domain-not-proved",
}  # fmt: skip


def taken(answer: httpx2.Response) -> bool:
    """Whether a request that is well written came as far as what it asks for."""
    return answer.is_success or answer.status_code == 409 or answer.json()["code"] in NOT_BELIEVED


# Of the installation, the same for every organization.
SHARED = {
    "/api/v1/agents": "built in, or files of the installation",
    "/api/v1/agents/{name}": "built in, or files of the installation",
    "/api/v1/system": "the installation itself",
    **dict.fromkeys(
        ("/api/v1/ledger/check", *(f"/api/v1/usage{each}" for each in ("", "/export", "/estimate", "/check"))),
        "sums without names, and this tenant has paid nothing: tests/domain/usage",
    ),
    "/api/v1/organizations": "of the operator alone (test_route_matrix.py)",
    "/api/v1/roles/permissions": "the table of the installation",
    **{place.partition(" ")[2]: f"open: {why}" for place, why in OPEN.items()},
    "/openapi.json": "the same for everybody",
    "/healthz": "the process",
    "/metrics": "counts of the process, without labels of tenants",
}
