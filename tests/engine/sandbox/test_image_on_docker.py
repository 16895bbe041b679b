"""The image where it can't be made from packages: by the Dockerfile, on a real engine."""

from __future__ import annotations

import pytest

from shopfloor.engine.sandbox.engine import engine_at
from shopfloor.engine.sandbox.image import _from_dockerfile
from shopfloor.engine.sandbox.port import ImageMissing
from shopfloor.engine.sandbox.settings import default_engine_url

pytestmark = pytest.mark.docker


async def test_without_packages_and_without_a_base_it_says_what_to_type(image: None):
    async with engine_at(default_engine_url(), timeout_s=30) as engine:
        with pytest.raises(ImageMissing) as caught:
            await _from_dockerfile(engine, "127.0.0.1:1/nothing:here")
    assert "sudo apt-get install -y mmdebstrap" in caught.value.detail
    assert "image build" in caught.value.detail
    assert "127.0.0.1:1" in caught.value.detail  # what failed
