from __future__ import annotations

import pytest

from sandbox_on_docker import require_image


@pytest.fixture(scope="session")
def image() -> None:
    require_image()
