"""The database's schema: bring it up to this version, and refuse to start on one that is not known."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, pool, text
from sqlalchemy.engine import Connection, make_url

from shopfloor.base.errors import ShopfloorError
from shopfloor.infra.database import APP_ROLE, SYSTEM_ROLE, DatabaseUnavailable, role_password
from shopfloor.infra.revision import head, refuse_unknown

_MIGRATIONS = Path(__file__).parent.parent / "migrations"
_MIGRATION_LOCK = 0x5F0F_1004  # one migrates at a time; the number is ours
_OLDEST_SERVER = 150_000


class ServerTooOld(ShopfloorError):
    """PostgreSQL is older than 15."""

    title: ClassVar[str] = "PostgreSQL is too old"


class EncodingUnfit(ShopfloorError):
    """The database does not hold UTF-8."""

    title: ClassVar[str] = "The database's encoding does not fit"


def migrate(owner_url: str) -> tuple[str | None, str]:
    """Bring the schema to this version's head; the revisions before and after. Safe to call from several processes."""
    engine = create_engine(
        _sqlalchemy_url(owner_url), poolclass=pool.NullPool, connect_args={"client_encoding": "utf8"}
    )
    try:
        with engine.connect() as connection:
            _check_server(connection)
            connection.execute(text("select pg_advisory_lock(:key)"), {"key": _MIGRATION_LOCK})
            before = MigrationContext.configure(connection).get_current_revision()
            refuse_unknown(before)
            connection.commit()
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            _set_passwords(connection, owner_url)
            connection.commit()
            return before, head()
    except psycopg.OperationalError as error:  # pragma: no branch
        raise _unreachable(error) from error
    except Exception as error:
        if isinstance(error.__cause__, psycopg.OperationalError):
            raise _unreachable(error.__cause__) from error
        raise
    finally:
        engine.dispose()


def _check_server(connection: Connection) -> None:
    number = int(connection.execute(text("show server_version_num")).scalar_one())
    if number < _OLDEST_SERVER:
        raise ServerTooOld(f"PostgreSQL {number // 10_000} is too old: Shopfloor needs 15 or newer.", found=number)
    encoding = str(connection.execute(text("show server_encoding")).scalar_one())
    if encoding != "UTF8":
        raise EncodingUnfit(
            f"The database holds {encoding}, Shopfloor needs UTF8. Make one: create database shopfloor "
            "encoding 'UTF8' template template0.",
            found=encoding,
        )


def _set_passwords(connection: Connection, owner_url: str) -> None:
    for role in (APP_ROLE, SYSTEM_ROLE):
        password = role_password(owner_url, role)  # hex, made by us: safe inside the quotes
        if password is not None:
            connection.execute(text(f"alter role {role} login password '{password}'"))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config


def _sqlalchemy_url(owner_url: str) -> str:
    return make_url(owner_url).set(drivername="postgresql+psycopg").render_as_string(hide_password=False)


def _unreachable(error: BaseException) -> DatabaseUnavailable:
    reason = str(error).strip().partition("\n")[0]
    return DatabaseUnavailable(f"PostgreSQL does not take a connection: {reason}. Start it or check the URL.")
