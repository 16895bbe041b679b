"""An application on a real database, and a command line in this process with a data folder of its own."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from shopfloor.apps.settings import Settings, load
from shopfloor.apps.wiring import Parts, open_parts


@pytest.fixture
def home() -> Iterator[Path]:
    """Not below pytest's folder: the database's own user has to pass."""
    with tempfile.TemporaryDirectory(prefix="sf-apps-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o711)
        yield Path(folder)


@pytest.fixture
def settings(home: Path, database_url: str) -> Settings:
    return load({"SHOPFLOOR_HOME": str(home)}, database={"url": database_url})


@pytest.fixture
async def parts(settings: Settings) -> AsyncIterator[Parts]:
    async with open_parts(settings) as opened:
        yield opened
