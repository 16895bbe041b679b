"""The soft disk where the worker's user may neither see nor delete what the agent made."""

from __future__ import annotations

import pytest

from sandbox_on_docker import output_of, spec
from shopfloor.engine.sandbox import errand
from shopfloor.engine.sandbox.docker import DockerSandboxes
from shopfloor.engine.sandbox.image import check_image
from shopfloor.engine.sandbox.opened import OpenSandbox
from shopfloor.engine.sandbox.records import OWNER_LABEL

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

HIDE = "mkdir -p closed/deep && head -c 4000000 /dev/zero > closed/deep/file && ln -s /etc etc && chmod 000 closed"


async def test_what_a_closed_folder_hides_is_measured_and_can_be_deleted(boxes: DockerSandboxes):
    launcher = boxes._launcher
    sandbox = await boxes.open(spec())
    assert isinstance(sandbox, OpenSandbox)
    await output_of(sandbox, HIDE)
    assert "Permission denied" in await output_of(sandbox, "rm -r closed 2>&1")  # even its owner, as it is
    folder = launcher.volumes.reserve(sandbox.name)
    image, labels = await check_image(launcher.engine), {OWNER_LABEL: launcher.install_id}
    assert await errand.is_over(launcher.engine, image, folder, 3_900_000, labels)
    assert not await errand.is_over(launcher.engine, image, folder, 4_500_000, labels)
    assert await errand.empty(launcher.engine, image, folder, labels)
    assert list(folder.iterdir()) == []
    await sandbox.aclose()
    assert await launcher.engine.labelled(f"{OWNER_LABEL}={launcher.install_id}") == []
