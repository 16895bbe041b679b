"""A whole installation per test: its own data folder, processes and mock provider; one engine and image for all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from e2e_installation import Installation
from sandbox_on_docker import require_image


@pytest.fixture(scope="session")
def _image() -> None:
    require_image()


@pytest.fixture
async def installation(_image: None) -> AsyncIterator[Installation]:
    # Not pytest's own folder: every run of it is closed again to the database's own user.
    with tempfile.TemporaryDirectory(prefix="sf-e2e-", ignore_cleanup_errors=True) as folder:
        os.chmod(folder, 0o755)  # noqa: PTH101 - one quick call
        home = Path(folder) / "home"
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("SHOPFLOOR_", "XDG_"))}
        environ |= {
            "SHOPFLOOR_HOME": str(home),
            "XDG_CONFIG_HOME": str(Path(folder) / "config"),
            "SHOPFLOOR_PROVIDERS__ALLOW_PRIVATE": "true",
            "SHOPFLOOR_JOBS__HEARTBEAT_LIMIT_S": "3",
            "SHOPFLOOR_SANDBOX__LIMITS": json.dumps({"memory_mib": 512, "workspace_mib": 64, "workspace_inodes": 4096}),
        }
        made = Installation(home, environ)
        yield made
        for process in made.started:
            if process.process.returncode is None:
                await process.stop()
