"""The schema: made once by whoever comes first, refused when it isn't ours; and an external server with passwords."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import NullPool, create_engine

from shopfloor.base.ids import new_id
from shopfloor.base.principal import Principal
from shopfloor.domain.access.first_start import first_start, local_owner
from shopfloor.infra import embedded, revision, schema
from shopfloor.infra.database import (
    APP_ROLE,
    SYSTEM_ROLE,
    Database,
    DatabaseSettings,
    DatabaseUnavailable,
    role_password,
    urls_of,
)
from shopfloor.infra.revision import SchemaUnknown
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import Store, begin


@pytest.fixture
def empty(postgres: str) -> Iterator[str]:
    """The owner's URL of a database without anything."""
    name = f"test_{new_id().hex}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"create database {name}")
        yield postgres.replace("/postgres?", f"/{name}?")
        admin.execute(f"drop database {name} with (force)")


def test_migrating_twice_changes_nothing_the_second_time(empty: str):
    assert schema.migrate(empty) == (None, revision.head())
    assert schema.migrate(empty) == (revision.head(), revision.head())


def test_the_first_organization_of_an_older_schema_becomes_the_operator(empty: str, postgres: str):
    """Also for an owner that row-level security binds, as on a server of one's own."""
    name = f"owner_{new_id().hex}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"create role {name} login createrole")  # type: ignore[arg-type]
        admin.execute(f"grant create on database {empty.rpartition('/')[2].partition('?')[0]} to {name}")  # type: ignore[arg-type]
    with psycopg.connect(empty, autocommit=True) as admin:
        admin.execute(f"grant all on schema public to {name}")  # type: ignore[arg-type]
    url = (
        empty.replace("postgres@", f"{name}@")
        if "postgres@" in empty
        else empty.replace("user=postgres", f"user={name}")
    )
    assert url != empty
    config = schema._config()
    engine = create_engine(schema._sqlalchemy_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
    with psycopg.connect(empty, autocommit=True) as admin:  # a superuser: the tables' policies don't bind it
        for _ in range(2):
            admin.execute("insert into organizations (id, name) values (%s, 'O')", (new_id(),))
    assert schema.migrate(url) == ("0002", revision.head())
    with psycopg.connect(empty, autocommit=True) as admin:
        rows = admin.execute("select operator, slug from organizations order by created_at").fetchall()
        forced = admin.execute("select relforcerowsecurity from pg_class where relname = 'organizations'").fetchone()
    assert rows[0] == (True, "default")
    assert rows[1][0] is False
    assert rows[1][1].startswith("o")
    assert forced == (True,)


def test_processes_that_migrate_at_once_make_one_schema(empty: str):
    program = "import sys; from shopfloor.infra import schema; print(schema.migrate(sys.argv[1])[0])"
    command = [sys.executable, "-c", program]
    running = [
        subprocess.Popen([*command, empty], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    answers = [process.communicate(timeout=120) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], [error[-500:] for _, error in answers]
    assert sorted(answer.strip() for answer, _ in answers) == [revision.head(), revision.head(), "None"]


def test_a_newer_versions_schema_is_refused_and_left_alone(empty: str):
    schema.migrate(empty)
    with psycopg.connect(empty, autocommit=True) as admin:
        admin.execute("update alembic_version set version_num = '9999'")
        with pytest.raises(SchemaUnknown, match="revision 9999, which this version of Shopfloor does not know"):
            schema.migrate(empty)
        with pytest.raises(SchemaUnknown, match="newer"):
            revision.refuse_other("9999")
        row = admin.execute("select version_num from alembic_version").fetchone()
    assert row == ("9999",)


def test_an_empty_database_is_refused_with_the_command_to_type():
    with pytest.raises(SchemaUnknown, match="shopfloor migrate"):
        revision.refuse_other(None)
    revision.refuse_other(revision.head())


def test_a_database_that_does_not_hold_utf8_is_refused(postgres: str):
    name = f"test_{new_id().hex}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f"create database {name} encoding 'SQL_ASCII' template template0")
        with pytest.raises(schema.EncodingUnfit, match="SQL_ASCII, Shopfloor needs UTF8"):
            schema.migrate(postgres.replace("/postgres?", f"/{name}?"))
        admin.execute(f"drop database {name} with (force)")


def test_a_server_that_is_not_there_is_named_without_its_password():
    with pytest.raises(DatabaseUnavailable, match="does not take a connection") as away:
        schema.migrate("postgresql://owner:visibly-fake@127.0.0.1:1/shopfloor")
    assert "visibly-fake" not in str(away.value)


@pytest.fixture(scope="module")
def external(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an owner who is no superuser, on a server of its own that asks everybody for a password."""
    folder = tmp_path_factory.mktemp("external")
    for parent in (folder, *folder.parents):
        if parent != Path("/tmp") and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    binaries, data, port = embedded._binaries(folder, embedded._passable), folder / "data", _free_port()
    secret = folder / "password"
    secret.write_text("visibly-fake-superuser")
    secret.chmod(0o644)
    data.mkdir()
    embedded._give_to_server_user(data)
    made = embedded._run(
        [
            str(binaries / "initdb"),
            "-D",
            str(data),
            "-U",
            "root_of_all",
            "-A",
            "scram-sha-256",
            "-E",
            "UTF8",
            f"--pwfile={secret}",
        ]
    )
    assert made.returncode == 0, made.stdout
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    control = [str(binaries / "pg_ctl"), "-D", str(data), "-w", "-l", str(data / "log")]
    started = embedded._run([*control, "-o", options, "start"])
    assert started.returncode == 0, started.stdout
    try:
        admin_url = f"postgresql://root_of_all:visibly-fake-superuser@127.0.0.1:{port}/postgres"
        with psycopg.connect(admin_url, autocommit=True) as admin:
            admin.execute("create role keeper login createrole password 'visibly fake: p@ss/w%rd'")
            admin.execute("create database shopfloor owner keeper")
        yield f"postgresql://keeper:visibly%20fake%3A%20p%40ss%2Fw%25rd@127.0.0.1:{port}/shopfloor"
    finally:
        embedded._run([*control, "-m", "immediate", "stop"])


async def test_an_owner_without_superuser_rights_migrates_and_the_roles_sign_in_by_derived_passwords(external: str):
    assert (await asyncio.to_thread(schema.migrate, external))[1] == revision.head()
    settings = DatabaseSettings(url=external)
    database = Database(urls_of(settings), settings)
    await database.open()
    try:
        store = Store(database)
        await first_start(store, MasterKeySealer(bytes(range(32))))
        owner = await local_owner(store)
        stranger = Principal("user", new_id(), new_id(), frozenset({"*"}))
        async with begin(store, owner) as tx:
            found = await tx.one("select current_user::text as me, count(*) as n from projects")
            assert found == {"me": APP_ROLE, "n": 1}
        async with begin(store, stranger) as tx:
            assert await tx.all("select 1 from projects") == []
    finally:
        await database.aclose()


def test_the_owner_itself_is_bound_by_row_level_security(external: str):
    schema.migrate(external)
    with psycopg.connect(external) as owner:
        assert owner.execute("select count(*) from projects").fetchone() == (0,)


@pytest.mark.parametrize("role", [APP_ROLE, SYSTEM_ROLE])
def test_a_wrong_password_opens_nothing(role: str, external: str):
    schema.migrate(external)
    place = external.rpartition("@")[2]
    with psycopg.connect(f"postgresql://{role}:{role_password(external, role)}@{place}"):
        pass  # the positive control
    for wrong in ("", "guess", str(role_password(external + "x", role)) + "0"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(f"postgresql://{role}:{wrong}@{place}", connect_timeout=5)


def test_the_passwords_of_the_roles_differ_and_follow_the_owners():
    one, other = "postgresql://o:first@h/d", "postgresql://o:second@h/d"
    derived = {role_password(url, role) for url in (one, other) for role in (APP_ROLE, SYSTEM_ROLE)}
    assert len(derived) == 4
    assert not any("first" in str(each) or "second" in str(each) for each in derived)
    assert role_password("postgresql://o@/d?host=/run", APP_ROLE) is None


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def test_the_revisions_read_off_file_names_are_those_that_alembic_finds():
    scripts = ScriptDirectory(str(revision.VERSIONS.parent))
    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(revision.known())
    assert scripts.get_current_head() == revision.head()
