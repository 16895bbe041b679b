"""At the database: whatever SQL the application's role is made to run, it meets the rows of one organization alone."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, LiteralString, cast

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql
from psycopg.rows import dict_row

from security.api.tenants import DERIVED, Shop, Tenant, tenant_tables
from security.tenancy.bouncer import bouncer_before
from shopfloor.base.ids import new_id
from shopfloor.infra.database import APP_ROLE, SYSTEM_ROLE, Database, DatabaseSettings, DatabaseUrls, role_url, urls_of
from shopfloor.infra.tx import Store, begin

pytestmark = pytest.mark.asyncio(loop_scope="module")

# Of the installation: no row of these belongs to an organization.
NOT_OF_TENANTS = {
    "alembic_version": "the schema's version",
    "procrastinate_jobs": "the queue: ids alone, and the application's role may read and add (docs/adr/0007)",
    "procrastinate_events": "the queue's own log",
    "procrastinate_periodic_defers": "the queue's clock",
    "procrastinate_workers": "the queue's workers",
}
Row = dict[str, Any]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(shop: Shop) -> Shop:
    """Both tenants have a row in as many tables as the API fills."""
    for tenant in (shop.acme, shop.other):
        for path in ("/api/v1/artifacts/{artifact_id}", "/api/v1/projects/{project}", "/api/v1/api-keys/{key_id}"):
            await tenant.path_of(path)
        again = {"Idempotency-Key": str(new_id())}
        body = {"task": tenant.mark, "model": "mock/small"}
        assert (await tenant.client.post("/api/v1/jobs", json=body, headers=again)).status_code == 202
    return shop


def owned(shop: Shop, query: LiteralString, *parameters: Any) -> list[Row]:
    """As the owner of the tables, whom nothing is hidden from."""
    with psycopg.connect(shop.owner_url, row_factory=dict_row) as connection:
        return connection.execute(query, parameters).fetchall()


async def as_app(shop: Shop, tenant: Tenant | None = None) -> psycopg.AsyncConnection[Row]:
    """A raw connection of the application's role, in the transaction of one organization or of none."""
    connection = await psycopg.AsyncConnection[Row].connect(role_url(shop.owner_url, APP_ROLE), row_factory=dict_row)
    if tenant is not None:
        await connection.execute("select set_config('app.organization_id', %s, true)", (str(tenant.id),))
    return connection


def select(table: str) -> sql.Composed:
    return sql.SQL("select * from {}").format(sql.Identifier(table))


async def test_every_table_has_an_organization_or_a_reason_not_to(shop: Shop):
    every = {row["relname"] for row in owned(shop, _TABLES)}
    with psycopg.connect(shop.owner_url) as connection:
        bound = {*tenant_tables(connection), *DERIVED}
    assert every - bound == set(NOT_OF_TENANTS), "a new table needs organization_id and migrations/rls.py::protect"


_TABLES = (
    "select relname, relrowsecurity, relforcerowsecurity, pg_get_userbyid(relowner) as owner from pg_class "
    "where relkind in ('r', 'p') and relnamespace = 'public'::regnamespace and not relispartition"
)


async def test_every_table_of_tenants_forces_row_security_and_its_rules_name_the_setting(shop: Shop):
    with psycopg.connect(shop.owner_url) as connection:
        bound = [*tenant_tables(connection), *DERIVED]
    weak = [
        row["relname"]
        for row in owned(shop, _TABLES)
        if row["relname"] in bound and not (row["relrowsecurity"] and row["relforcerowsecurity"])
    ]
    assert weak == []
    rules = owned(
        shop,
        "select tablename, qual, with_check from pg_policies "
        "where permissive = 'PERMISSIVE' and (%s = any(roles) or 'public' = any(roles))",
        APP_ROLE,
    )
    assert {row["tablename"] for row in rules} >= set(bound)
    for row in rules:
        assert "app.organization_id" in (row["qual"] or row["with_check"]), row
        assert "app.organization_id" in (row["with_check"] or row["qual"]), row


async def test_the_applications_roles_own_nothing_and_bypass_nothing(shop: Shop):
    roles = owned(
        shop,
        "select rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication from pg_roles "
        "where rolname = any(%s)",
        [APP_ROLE, SYSTEM_ROLE],
    )
    assert len(roles) == 2
    assert [row for row in roles if any(value is True for value in row.values())] == []
    owners = {row["owner"] for row in owned(shop, _TABLES)}
    assert owners.isdisjoint({APP_ROLE, SYSTEM_ROLE})
    members = owned(
        shop,
        "select roleid::regrole::text as of_role from pg_auth_members where member::regrole::text = any(%s)",
        [APP_ROLE, SYSTEM_ROLE],
    )
    assert members == []
    functions = owned(
        shop,
        "select proname from pg_proc where prosecdef and pronamespace = 'public'::regnamespace and "
        "has_function_privilege(%s, oid, 'execute') and proname not like 'procrastinate%%'",
        APP_ROLE,
    )
    assert functions == [], "a SECURITY DEFINER function would run past row security"


async def test_in_no_table_a_row_of_another_organization_is_seen(filled: Shop):
    with psycopg.connect(filled.owner_url) as connection:
        tables = tenant_tables(connection)
    acme, other = filled.acme, filled.other
    seen: dict[str, tuple[int, int]] = {}
    for table in tables:
        async with await as_app(filled, other) as connection:
            with contextlib.suppress(psycopg.errors.InsufficientPrivilege):  # a table that the role can't even read
                rows = await (await connection.execute(select(table))).fetchall()
                theirs = sum(row["organization_id"] != other.id for row in rows)
                seen[table] = (theirs, sum(row["organization_id"] == other.id for row in rows))
                by_id = sql.SQL("select count(*) as n from {} where organization_id = %s").format(sql.Identifier(table))
                assert await (await connection.execute(by_id, (acme.id,))).fetchone() == {"n": 0}
    assert {table: count for table, (count, _) in seen.items() if count} == {}
    own = {table for table, (_, count) in seen.items() if count}
    assert own >= {"organizations", "users", "projects", "api_keys", "jobs", "runs", "steps", "events", "artifacts"}
    there = {table: len(rows) for table, rows in filled.rows_of(acme).items()}
    assert {table for table in own if not there[table]} == set(), "acme has rows that could have been seen"


async def test_without_the_setting_nothing_is_seen_and_nothing_can_be_written(filled: Shop):
    with psycopg.connect(filled.owner_url) as connection:
        tables = tenant_tables(connection)
    for setting in (None, "", str(new_id())):
        for table in tables:
            async with await as_app(filled) as connection:
                if setting is not None:
                    await connection.execute("select set_config('app.organization_id', %s, true)", (setting,))
                with contextlib.suppress(psycopg.errors.InsufficientPrivilege):
                    assert await (await connection.execute(select(table))).fetchall() == [], (setting, table)
    async with await as_app(filled) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            await connection.execute(_INSERT_PROJECT, (new_id(), filled.other.id, "x"))


_INSERT_PROJECT = "insert into projects (id, organization_id, slug, name) values (%s, %s, %s, 'x')"


async def test_no_row_is_written_into_another_organization_in_any_table(filled: Shop):
    """A copy of acme's row, and acme's row itself, by a connection that works for the other."""
    before = filled.rows_of(filled.acme)
    tried: dict[str, list[str]] = {}
    for table, columns in _writable(filled).items():
        name = sql.Identifier(table)
        into = sql.SQL(", ").join(map(sql.Identifier, columns))
        copied = sql.SQL(", ").join(
            sql.Literal(new_id()) if each == "id" else sql.Literal(filled.acme.id) if each == "organization_id"
            else sql.Identifier(each)
            for each in columns
        )  # fmt: skip
        statements = {
            "insert": sql.SQL("insert into {t} ({i}) select {c} from {t} limit 1").format(t=name, i=into, c=copied),
            "move": sql.SQL("update {} set organization_id = {}").format(name, sql.Literal(filled.acme.id)),
            "update": sql.SQL("update {t} set organization_id = organization_id where organization_id = {o}").format(
                t=name, o=sql.Literal(filled.acme.id)
            ),
            "delete": sql.SQL("delete from {} where organization_id = {}").format(name, sql.Literal(filled.acme.id)),
        }
        tried[table] = [await _outcome(filled, kind, statement) for kind, statement in statements.items()]
    assert filled.rows_of(filled.acme) == before
    through = {table: what for table, what in tried.items() if any(each.startswith("through") for each in what)}
    assert through == {}
    refused = [table for table, what in tried.items() if "insert: refused by the rule" in what]
    assert len(refused) > 5, tried  # the others lack the privilege altogether, or have no row to copy


async def _outcome(shop: Shop, kind: str, statement: sql.Composed) -> str:
    async with await as_app(shop, shop.other) as connection:
        try:
            touched = (await connection.execute(statement)).rowcount
        except psycopg.errors.InsufficientPrivilege as error:
            await connection.rollback()
            return f"{kind}: refused by the {'rule' if 'row-level security' in str(error) else 'grants'}"
        except (psycopg.errors.IntegrityError, psycopg.errors.GeneratedAlways, psycopg.errors.RaiseException):
            await connection.rollback()
            return f"{kind}: refused by a constraint"
        await connection.rollback()
        return f"through: {kind} {touched}" if touched else f"{kind}: nothing there"


def _writable(shop: Shop) -> dict[str, list[str]]:
    rows = owned(
        shop,
        "select c.relname, array_agg(a.attname::text order by a.attnum) as columns from pg_class c "
        "join pg_attribute a on a.attrelid = c.oid where a.attnum > 0 and not a.attisdropped and a.attgenerated = '' "
        "and a.attidentity = '' and c.relkind in ('r', 'p') and c.relnamespace = 'public'::regnamespace "
        "and not c.relispartition group by c.relname",
    )
    found = {row["relname"]: row["columns"] for row in rows if row["relname"] not in NOT_OF_TENANTS}
    return {table: columns for table, columns in found.items() if "organization_id" in columns}


async def test_the_right_organization_may_write(filled: Shop):
    """The positive control of the tests above."""
    async with await as_app(filled, filled.other) as connection:
        await connection.execute(_INSERT_PROJECT, (new_id(), filled.other.id, "control"))
        found = await (await connection.execute("select 1 from projects where slug = 'control'")).fetchall()
        await connection.rollback()
    assert len(found) == 1


ESCAPES = [
    "set role postgres",
    "set session authorization postgres",
    "set role shopfloor_system",
    "set session authorization shopfloor_system",
    "alter table projects disable row level security",
    "alter table projects no force row level security",
    "alter table projects owner to shopfloor_app",
    "drop policy own_organization on projects",
    "create policy all_of_them on projects using (true)",
    "alter policy own_organization on projects using (true)",
    "alter role shopfloor_app bypassrls",
    "alter role shopfloor_app superuser",
    "grant shopfloor_system to shopfloor_app",
    "create function public.peek() returns setof projects language sql security definer as 'select * from projects'",
    "create view public.peek as select * from projects",
    "create table public.keep as select * from projects",
    "create extension dblink",
    "copy projects to program 'cat > /tmp/stolen'",
    "copy projects to '/tmp/stolen'",
    "select pg_read_file('postgresql.conf')",
    "select lo_import('/etc/passwd')",
    "truncate projects",
    "drop table projects",
    "select rolpassword from pg_authid",
    "do $$ begin execute 'set local role postgres'; end $$",
    "create trigger peek before insert on projects for each row execute function suppress_redundant_updates_trigger()",
]


@pytest.mark.parametrize("statement", ESCAPES)
async def test_the_applications_role_can_not_lift_its_own_bounds(filled: Shop, statement: str):
    async with await as_app(filled, filled.other) as connection:
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.FeatureNotSupported)):
            await connection.execute(cast("LiteralString", statement))
        await connection.rollback()
    with psycopg.connect(filled.owner_url) as owner:  # the control: whoever may, can
        if statement.startswith(("alter table", "drop policy", "create policy", "truncate")):
            owner.execute(cast("LiteralString", statement.replace("truncate projects", "truncate projects cascade")))
        owner.rollback()


async def test_row_security_off_is_an_error_not_a_way_around(filled: Shop):
    async with await as_app(filled, filled.other) as connection:
        await connection.execute("set row_security = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            await connection.execute("select * from projects")


async def test_a_query_that_names_the_other_organization_in_every_way_gets_nothing(filled: Shop):
    tricks: list[LiteralString] = [
        "select * from projects where organization_id = %(acme)s or true",
        "select p.* from projects p join organizations o on true where o.id = %(acme)s",
        "select * from jobs where project_id in (select id from projects where organization_id = %(acme)s)",
        "with every as materialized (select * from projects) select * from every where organization_id = %(acme)s",
        "select * from projects for share",
        "select * from projects union all select * from projects where organization_id = %(acme)s",
        "table projects",
    ]
    async with await as_app(filled, filled.other) as connection:
        for trick in tricks:
            rows = await (await connection.execute(trick, {"acme": filled.acme.id})).fetchall()
            assert [row for row in rows if row["organization_id"] == filled.acme.id] == [], trick


async def test_no_key_error_tells_whether_an_id_of_another_organization_exists(filled: Shop):
    """A unique constraint sees every row: a taken id and a free one have to be refused alike."""
    for ident in (filled.acme.project_id, new_id()):
        async with await as_app(filled, filled.other) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                await connection.execute(_INSERT_PROJECT, (ident, filled.acme.id, "x"))


# The pool, straight and through PgBouncer -----------------------------------------------------------------------------


@pytest_asyncio.fixture(params=["straight", "pgbouncer"], scope="module", loop_scope="module")
async def pooled(request: pytest.FixtureRequest, filled: Shop) -> AsyncIterator[Store]:
    """Two connections for everybody, so that each is used for both organizations again and again."""
    if request.param == "straight":
        settings = DatabaseSettings(url=filled.owner_url, pool_size=2)
        async with _opened(Database(urls_of(settings), settings)) as store:
            yield store
        return
    with bouncer_before(filled.owner_url) as url_of:
        settings = DatabaseSettings(pgbouncer=True, pool_size=8)
        urls = DatabaseUrls(None, url_of(APP_ROLE), url_of(SYSTEM_ROLE), role_url(filled.owner_url, SYSTEM_ROLE))
        async with _opened(Database(urls, settings)) as store:
            yield store


@contextlib.asynccontextmanager
async def _opened(database: Database) -> AsyncIterator[Store]:
    await database.open()
    yield Store(database)
    await database.aclose()


_SEEN: LiteralString = (
    "select organization_id, (select setting from pg_settings where name = 'app.organization_id') as setting, "
    "pg_backend_pid() as backend from jobs"
)


async def _seen(store: Store, tenant: Tenant) -> tuple[set[Any], set[int]]:
    async with begin(store, tenant.principal) as tx:
        rows = await tx.all(_SEEN)
        return {row["organization_id"] for row in rows}, {row["backend"] for row in rows}


async def test_a_hundred_transactions_of_both_over_few_connections_see_their_own(pooled: Store, filled: Shop):
    tenants = [filled.acme, filled.other] * 50
    seen = await asyncio.gather(*(_seen(pooled, tenant) for tenant in tenants))
    for tenant, (organizations, _) in zip(tenants, seen, strict=True):
        assert organizations == {tenant.id}
    backends: dict[int, set[Any]] = {}
    for organizations, used in seen:
        for backend in used:
            backends.setdefault(backend, set()).update(organizations)
    shared = [both for both in backends.values() if len(both) == 2]
    assert shared, "the control: at least one backend worked for both"


async def test_nothing_of_a_transaction_stays_on_its_connection(pooled: Store, filled: Shop):
    """After a commit, an error, a roll-back and a cancelled task."""
    async with begin(pooled, filled.acme.principal) as tx:
        assert await tx.one("select 1 from jobs limit 1")
    with pytest.raises(psycopg.errors.UndefinedTable):
        async with begin(pooled, filled.acme.principal) as tx:
            await tx.execute("select * from there_is_no_such_table")
    with pytest.raises(RuntimeError):
        async with begin(pooled, filled.acme.principal) as tx:
            raise RuntimeError("a defect of a verb")
    task = asyncio.create_task(_waiting(pooled, filled.acme))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    for _ in range(20):
        async with pooled.database.app.connection() as connection:
            found = await (await connection.execute("select organization_id from jobs")).fetchall()
            assert found == []


async def _waiting(store: Store, tenant: Tenant) -> None:
    async with begin(store, tenant.principal) as tx:
        await tx.execute("select pg_sleep(30)")


async def test_a_setting_of_the_session_would_leak_and_be_seen_here(pooled: Store, filled: Shop):
    """The positive control: the same look at the pool, after `set_config(..., false)` by mistake."""
    async with pooled.database.app.connection() as connection:
        await connection.execute("select set_config('app.organization_id', %s, false)", (str(filled.acme.id),))
        leaked = False
    for _ in range(20):
        async with pooled.database.app.connection() as connection:
            rows = await (await connection.execute("select organization_id from jobs")).fetchall()
            leaked |= any(row["organization_id"] == filled.acme.id for row in rows)
    assert leaked
    for _ in range(40):
        async with pooled.database.app.connection() as connection:
            await connection.execute("reset all")


async def test_a_transaction_sets_its_organization_even_on_a_connection_that_leaks(pooled: Store, filled: Shop):
    async with pooled.database.app.connection() as connection:
        await connection.execute("select set_config('app.organization_id', %s, false)", (str(filled.acme.id),))
    for _ in range(10):
        assert (await _seen(pooled, filled.other))[0] == {filled.other.id}
    for _ in range(40):
        async with pooled.database.app.connection() as connection:
            await connection.execute("reset all")
