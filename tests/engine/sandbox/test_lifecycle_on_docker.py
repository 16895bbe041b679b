"""Opening, limits, ends, the warm pool and the reaper on a real engine."""

# ruff: noqa: ASYNC240 - /proc and /sys are memory

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from sandbox_on_docker import SMALL, backend, output_of, spec
from shopfloor.base.clock import SystemClock
from shopfloor.base.errors import SettingsError
from shopfloor.base.ids import new_id
from shopfloor.engine.sandbox.docker import DockerSandboxes
from shopfloor.engine.sandbox.port import Egress, ImageMissing, Sandbox, SandboxUnavailable
from shopfloor.engine.sandbox.settings import SandboxSettings
from shopfloor.engine.workspace import WorkspaceLost

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

NOW = SystemClock().now


async def leftovers(boxes: DockerSandboxes) -> dict[str, object]:
    launcher = boxes._launcher
    containers = await launcher.engine.labelled(f"shopfloor.install={launcher.install_id}")
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if launcher.install_id in line]
    loops = [path for path in Path("/sys/block").glob("loop*/loop/backing_file") if launcher.install_id in _text(path)]
    return {
        "containers": [each["Names"] for each in containers],
        "mounts": mounts,
        "loops": loops,
        "disks": launcher.volumes.names(),
        "records": launcher.records.names(),
    }


NOTHING = {"containers": [], "mounts": [], "loops": [], "disks": set(), "records": set()}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


async def test_closing_leaves_nothing_and_may_be_repeated(image: None, tmp_path: Path):
    async with backend(tmp_path) as boxes:
        sandbox = await boxes.open(spec())
        assert (await leftovers(boxes))["disks"] != set()
        await sandbox.aclose()
        await sandbox.aclose()
        assert await leftovers(boxes) == NOTHING


async def test_a_closed_sandbox_says_that_it_is_gone(boxes: DockerSandboxes):
    sandbox = await boxes.open(spec())
    await sandbox.aclose()
    with pytest.raises(WorkspaceLost):
        await sandbox.run("true", timeout_s=5)
    with pytest.raises(WorkspaceLost):
        await sandbox.read_file("x")


async def test_a_killed_container_ends_every_wait(boxes: DockerSandboxes):
    sandbox = await boxes.open(spec())
    waiting = asyncio.create_task(sandbox.run("sleep 60", timeout_s=60))
    await asyncio.sleep(0.2)
    await boxes._launcher.engine.kill(sandbox.id)
    with pytest.raises(WorkspaceLost):
        await waiting
    await sandbox.aclose()


async def test_isolation_is_told_as_it_is(box: Sandbox, boxes: DockerSandboxes):
    isolation = box.isolation
    assert (isolation.backend, isolation.runtime, isolation.network) == ("docker", "runc", "none")
    assert isolation.memory == isolation.cpu == isolation.pids == "hard"
    assert isolation.disk == ("hard" if os.geteuid() == 0 else "soft")
    assert isolation.seccomp.startswith("shopfloor-strict@")
    assert await boxes.health() == isolation


async def test_a_sandbox_dies_at_its_lifetime_without_any_worker(boxes: DockerSandboxes):
    sandbox = await boxes.open(spec(limits=replace(SMALL, lifetime_s=2)))
    with pytest.raises(WorkspaceLost):
        await sandbox.run("sleep 30", timeout_s=30)
    state = await boxes._launcher.engine.inspect(sandbox.id)
    assert state is not None
    assert state["State"]["Running"] is False
    await sandbox.aclose()


async def test_an_unknown_image_is_missing_and_leaves_nothing(boxes: DockerSandboxes):
    before = await leftovers(boxes)
    with pytest.raises(ImageMissing, match="not on this machine"):
        await boxes.open(spec(image="no-such-image:1"))
    assert await leftovers(boxes) == before


async def test_an_image_that_another_version_built_is_refused(
    image: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from shopfloor.engine.sandbox import image as module

    async with backend(tmp_path) as boxes:
        engine = boxes._launcher.engine
        real = module.image_name()
        monkeypatch.setattr(module, "image_name", lambda: real)
        monkeypatch.setattr(module, "image_content", lambda: "0" * 16)
        with pytest.raises(ImageMissing, match="not built by this version"):
            await module.check_image(engine)


async def test_an_engine_that_does_not_run_is_told_with_what_to_do(tmp_path: Path):
    settings = SandboxSettings(state_dir=tmp_path, engine_url=f"unix://{tmp_path}/no.sock")
    boxes = DockerSandboxes(settings, install_id="none", clock=SystemClock())
    with pytest.raises(SandboxUnavailable, match="DOCKER_HOST"):
        await boxes.open(spec())
    await boxes.aclose()


async def test_a_runtime_that_the_engine_lacks_is_refused(image: None, tmp_path: Path):
    async with backend(tmp_path, runtime="kata") as boxes:
        with pytest.raises(SandboxUnavailable, match="no runtime kata"):
            await boxes.open(spec())
        assert await leftovers(boxes) == NOTHING


async def test_egress_without_a_proxy_is_refused(boxes: DockerSandboxes):
    with pytest.raises(SandboxUnavailable, match="egress"):
        await boxes.open(spec(egress=Egress(allow=("example.org:443",))))


async def test_more_than_the_limit_are_not_opened(image: None, tmp_path: Path):
    async with backend(tmp_path, max_open=1) as boxes:
        first = await boxes.open(spec())
        with pytest.raises(SandboxUnavailable, match="MAX_OPEN"):
            await boxes.open(spec())
        await first.aclose()
        await (await boxes.open(spec())).aclose()


async def test_a_hard_disk_limit_is_not_quietly_weakened(image: None, tmp_path: Path):
    """A worker whose mounts the engine can't see: the check from inside finds the larger disk of the host."""
    async with backend(tmp_path) as boxes:
        volumes = boxes._launcher.volumes
        await volumes.level()

        async def not_mounted(*_: object) -> None:
            path = next(iter(volumes._folder.iterdir()))
            path.chmod(0o777)

        volumes._mount = not_mounted  # type: ignore[method-assign]
        with pytest.raises(SandboxUnavailable, match="another host"):
            await boxes.open(spec())


async def test_a_soft_disk_limit_says_so_and_kills(image: None, tmp_path: Path):
    async with backend(tmp_path, workspace_disk="soft") as boxes:
        sandbox = await boxes.open(spec(limits=replace(SMALL, workspace_mib=8)))
        assert sandbox.isolation.disk == "soft"
        assert "after the fact" in sandbox.isolation.notes[0]
        with pytest.raises(WorkspaceLost, match="are allowed"):
            await sandbox.run("head -c 20M /dev/zero > fill; sleep 30", timeout_s=30)
        await sandbox.aclose()


async def test_a_bad_install_id_is_refused(tmp_path: Path):
    with pytest.raises(SettingsError):
        DockerSandboxes(SandboxSettings(state_dir=tmp_path), install_id="../x", clock=SystemClock())


# the warm pool


async def test_a_warm_sandbox_is_used_once_and_replaced(image: None, tmp_path: Path):
    async with backend(tmp_path, warm_pool=1) as boxes:
        boxes.start()
        await boxes.pool.filled()
        warm = boxes.pool._ready[0].launched.sandbox
        sandbox = await boxes.open(spec(env={"FROM": "spec"}))
        assert sandbox is warm
        assert await output_of(sandbox, "echo $FROM") == "spec"
        await sandbox.aclose()
        other = await boxes.open(spec())
        assert other.id != warm.id
        await other.aclose()


async def test_a_warm_sandbox_gets_the_lifetime_of_its_job(image: None, tmp_path: Path):
    async with backend(tmp_path, warm_pool=1) as boxes:
        boxes.start()
        await boxes.pool.filled()
        sandbox = await boxes.open(spec(limits=replace(SMALL, lifetime_s=1)))
        with pytest.raises(WorkspaceLost):
            await sandbox.run("sleep 20", timeout_s=20)
        await sandbox.aclose()


async def test_what_differs_from_the_default_does_not_come_from_the_pool(image: None, tmp_path: Path):
    async with backend(tmp_path, warm_pool=1) as boxes:
        boxes.start()
        await boxes.pool.filled()
        assert await boxes.pool.take(spec(limits=replace(SMALL, memory_mib=256))) is None
        assert await boxes.pool.take(spec(egress=Egress(("example.org:443",)))) is None
        assert await boxes.pool.take(spec(purpose="build")) is None
        assert await boxes.pool.take(spec(debug=True)) is None


async def test_a_dead_warm_sandbox_is_not_handed_out(image: None, tmp_path: Path):
    async with backend(tmp_path, warm_pool=1) as boxes:
        boxes.start()
        await boxes.pool.filled()
        dead = boxes.pool._ready[0].launched.sandbox
        await boxes._launcher.engine.kill(dead.id)
        sandbox = await boxes.open(spec())
        assert sandbox.id != dead.id
        assert await output_of(sandbox, "echo well") == "well"
        await sandbox.aclose()


# the reaper


async def test_the_reaper_leaves_live_jobs_and_other_installs_alone(image: None, tmp_path: Path):
    async with backend(tmp_path) as boxes, backend(tmp_path) as others:
        live, foreign, done = spec(), spec(), spec()
        kept, strange = await boxes.open(live), await others.open(foreign)
        finished = await boxes.open(done)
        assert await boxes.reap(lambda job: job == live.job_id, now=NOW()) == 1
        assert await output_of(kept, "echo here") == await output_of(strange, "echo here") == "here"
        with pytest.raises(WorkspaceLost):
            await finished.run("true", timeout_s=5)


async def test_the_reaper_removes_a_live_job_whose_deadline_passed(image: None, tmp_path: Path):
    async with backend(tmp_path) as boxes:
        await boxes.open(spec())
        assert await boxes.reap(lambda _: True, now=NOW()) == 0
        assert await boxes.reap(lambda _: True, now=NOW() + timedelta(hours=1)) == 1
        assert await leftovers(boxes) == NOTHING


async def test_the_reaper_keeps_the_warm_pool_of_a_living_worker(image: None, tmp_path: Path):
    async with backend(tmp_path, warm_pool=1) as boxes:
        boxes.start()
        await boxes.pool.filled()
        assert await boxes.reap(lambda _: False, now=NOW()) == 0
        assert len(boxes.pool) == 1


async def test_a_container_without_record_and_a_disk_without_container_are_removed(image: None, tmp_path: Path):
    async with backend(tmp_path) as boxes:
        first, second = spec(), spec()
        one, two = await boxes.open(first), await boxes.open(second)
        records = boxes._launcher.records
        for name in list(records.names()):
            records.remove(name)
        await boxes._launcher.engine.remove(two.id)
        assert one.id != two.id
        assert await boxes.reap(lambda _: True, now=NOW()) == 2
        assert await leftovers(boxes) == NOTHING


KILLED_AT = ["create", "attach", "start", "greet", "opened", "removed"]
CHILD = """
    import asyncio, os, signal, sys
    from pathlib import Path
    from shopfloor.base.clock import SystemClock
    from shopfloor.base.ids import new_id
    from shopfloor.engine.sandbox import launch
    from shopfloor.engine.sandbox.docker import DockerSandboxes
    from shopfloor.engine.sandbox.engine import Engine
    from shopfloor.engine.sandbox.channel import Channel
    from shopfloor.engine.sandbox.port import SandboxLimits, SandboxSpec
    from shopfloor.engine.sandbox.settings import SandboxSettings

    state, install, moment = sys.argv[1:]

    def die_after(owner, name):
        real = getattr(owner, name)
        async def wrapped(*args, **more):
            result = await real(*args, **more)
            os.kill(os.getpid(), signal.SIGKILL)
        setattr(owner, name, wrapped)

    places = {"create": (Engine, "create"), "attach": (launch, "attach_container"), "start": (Engine, "start"),
              "greet": (Channel, "greet"), "removed": (Engine, "remove")}
    if moment in places:
        die_after(*places[moment])

    async def main():
        limits = SandboxLimits(memory_mib=256, workspace_mib=16, workspace_inodes=256, tmp_mib=16, lifetime_s=600)
        boxes = DockerSandboxes(SandboxSettings(state_dir=Path(state)), install_id=install, clock=SystemClock())
        sandbox = await boxes.open(SandboxSpec(new_id(), new_id(), limits=limits))
        if moment == "opened":
            os.kill(os.getpid(), signal.SIGKILL)
        await sandbox.aclose()

    asyncio.run(main())
"""


@pytest.mark.parametrize("moment", KILLED_AT)
async def test_what_a_worker_killed_at_this_engine_call_left_is_removed(image: None, tmp_path: Path, moment: str):
    async with backend(tmp_path) as boxes:
        install = boxes._launcher.install_id
        child = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path), install, moment],
            timeout=60,
            check=False,
        )
        assert child.returncode == -signal.SIGKILL
        assert await leftovers(boxes) != NOTHING  # the control: there was something to remove
        assert await boxes.reap(lambda _: True, now=NOW()) == 1
        assert await leftovers(boxes) == NOTHING


async def test_a_sandbox_ends_by_itself_when_its_worker_is_killed(image: None, tmp_path: Path):
    async with backend(tmp_path) as boxes:
        launcher = boxes._launcher
        arguments = [sys.executable, "-c", textwrap.dedent(CHILD), str(tmp_path), launcher.install_id, "opened"]
        await asyncio.to_thread(subprocess.run, arguments, timeout=60, check=False)
        for _ in range(100):
            found = await launcher.engine.labelled(f"shopfloor.install={launcher.install_id}")
            if found[0]["State"] == "exited":
                break
            await asyncio.sleep(0.05)
        assert found[0]["State"] == "exited"


async def test_an_open_that_is_cancelled_leaves_nothing(image: None, tmp_path: Path):
    async with backend(tmp_path) as boxes:
        for delay_s in (0.02, 0.08, 0.15):
            task = asyncio.create_task(boxes.open(spec(run_id=new_id())))
            await asyncio.sleep(delay_s)
            if task.done():  # a machine that slept longer than it was told
                await (await task).aclose()
                continue
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await asyncio.gather(*boxes._launcher._chores)
        assert await leftovers(boxes) == NOTHING
