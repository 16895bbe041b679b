"""Which schema this version knows, read off the migrations' file names: asked at every start, so without Alembic."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import ClassVar

import psycopg

from shopfloor.base.errors import ShopfloorError

VERSIONS = Path(__file__).parent.parent / "migrations" / "versions"


class SchemaUnknown(ShopfloorError):
    """The database's schema is not the one of this version; nothing was started, nothing changed."""

    status: ClassVar[int] = 503
    title: ClassVar[str] = "The database's schema is not of this version"


@lru_cache(maxsize=1)
def known() -> tuple[str, ...]:
    """Every revision, oldest first: files are named `<revision>_<what>.py` with four digits, one after the other."""
    found = tuple(sorted(file.name.partition("_")[0] for file in VERSIONS.glob("[0-9][0-9][0-9][0-9]_*.py")))
    if not found:
        raise SchemaUnknown("This installation holds no migrations: it is damaged, install it again.")
    return found


def head() -> str:
    """The newest."""
    return known()[-1]


def is_head(owner_url: str) -> bool:
    """Whether the database is at this version's head already, asked as its owner."""
    with psycopg.connect(owner_url, connect_timeout=5) as connection:
        if connection.execute("select to_regclass('alembic_version')").fetchone() == (None,):
            return False
        return connection.execute("select version_num from alembic_version").fetchall() == [(head(),)]


def refuse_unknown(found: str | None) -> None:
    """Raises: SchemaUnknown for a revision that a newer version made."""
    if found is not None and found not in known():
        raise SchemaUnknown(
            f"The database's schema is at revision {found}, which this version of Shopfloor does not know: a newer "
            "version made it. Start that version, or restore the backup made before the upgrade.",
            found=found,
        )


def refuse_other(found: str | None) -> None:
    """Raises: SchemaUnknown unless the database's revision is this version's head."""
    refuse_unknown(found)
    if found != head():
        raise SchemaUnknown(
            f"The database's schema is at {found or 'nothing yet'}, this version needs {head()}. "
            "Run `shopfloor migrate` with the owner's SHOPFLOOR_DATABASE__URL, then start again.",
            found=found,
            needed=head(),
        )
