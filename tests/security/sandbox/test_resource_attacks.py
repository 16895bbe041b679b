"""No limit can be passed; in a plain container each attack goes further. # BOX-1, BOX-2, BOX-5, BOX-7"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandbox_on_docker import SMALL, output_of, spec
from shopfloor.engine.sandbox.port import Sandbox

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

PROGRAM = Path(__file__).with_name("resource_attacks.py").read_bytes()
BOUNDS = {  # attack: the most it may reach in a sandbox of the size below
    "fork_bomb": SMALL.pids,
    "memory_bomb": SMALL.memory_mib,
    "disk_fill": SMALL.workspace_mib,
    "tmpfs_fill": SMALL.tmp_mib,
    "inode_fill": SMALL.workspace_inodes,
    "tmpfs_inode_fill": 65_536,
    "big_file": SMALL.file_mib,
    "sparse_file": 0,
    "descriptors": SMALL.nofile,
    "core_file": 0,
    "locked_memory": 0,
    "zombies": 0,
}

SPIN = """python3 -c '
import resource, subprocess
loop = "while :; do :; done"
for each in [subprocess.Popen(["timeout", "2", "sh", "-c", loop]) for _ in range(4)]:
    each.wait()
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime)'"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reached(boxes: Any, unprotected: Any, told: Any) -> Any:
    sandbox = await boxes.open(spec(limits=replace(SMALL, cpus=0.5)))
    yield await told(sandbox, PROGRAM), await told(unprotected, PROGRAM)
    await sandbox.aclose()


@pytest.mark.parametrize("name", BOUNDS)
async def test_an_attack_on_resources_ends_at_its_limit(name: str, reached: Any):
    inside, control = reached[0][name], reached[1][name]
    assert inside <= BOUNDS[name]
    assert control > BOUNDS[name]


async def test_the_processor_is_shared_as_told(boxes: Any, unprotected: Any):
    """Seconds of processor that four spinning processes get in two; what else runs here can only make it less."""
    async with aclosing(await boxes.open(spec(limits=replace(SMALL, cpus=0.1)))) as sandbox:
        inside = float(await output_of(sandbox, SPIN, 60))
    control = float((await unprotected.run(SPIN, timeout_s=60)).output)
    assert inside < 0.5 < control


async def test_a_fork_bomb_that_outlives_its_shell_dies_at_the_time_limit(box: Sandbox):
    bomb = (
        "bomb() { bomb | bomb & }; bomb; "
        "for i in 1 2 3; do (setsid bash -c 'while :; do sleep 30 & done' &) ; done; sleep 60"
    )
    result = await box.run(bomb, timeout_s=1)
    assert result.timed_out
    assert int(await output_of(box, "ps -e --no-headers | wc -l")) < 10


async def test_memory_that_runs_out_kills_the_command_and_not_the_sandbox(box: Sandbox):
    result = await box.run("head -c 2G /dev/zero | tail", timeout_s=30)
    assert not result.ok
    assert await output_of(box, "echo well") == "well"


async def test_a_flood_of_output_does_not_fill_the_host(box: Sandbox):
    result = await box.run("timeout 1 yes", timeout_s=20, max_output_bytes=1000)
    assert result.total_bytes > 1_000_000
    assert len(result.output) == 1000


SIGNALS = ["STOP", "KILL", "TERM", "INT", "HUP", "SEGV", "USR1", "ALRM", "CHLD"]


@pytest.mark.parametrize("name", SIGNALS)
async def test_the_exec_server_can_not_be_stopped_or_killed(box: Sandbox, name: str):
    deaf = f"kill -{name} 1; sleep 0.1; echo sent"
    assert (await output_of(box, deaf)).endswith("sent")
    assert await output_of(box, "echo alive") == "alive"


@pytest.mark.parametrize("name", ["STOP", "KILL"])
async def test_any_other_process_of_the_same_user_can_be(box: Sandbox, name: str):
    """The control of the test above."""
    state = await output_of(
        box, f"sleep 50 & kill -{name} $!; sleep 0.1; grep State /proc/$!/status || echo gone; kill -9 $!"
    )
    assert "gone" in state or "stopped" in state or "zombie" in state


async def test_killing_everything_leaves_the_server(box: Sandbox):
    await output_of(box, "(setsid sleep 500 &); sleep 0.1")
    await box.run("kill -9 -1", timeout_s=10)
    assert await output_of(box, "pgrep sleep || echo none") == "none"


async def test_a_supervisor_killed_from_inside_takes_its_command_along(box: Sandbox):
    result = await box.run("(setsid sleep 7301 &); kill -9 $PPID; sleep 7302", timeout_s=20)
    assert (result.exit_code, result.timed_out) == (None, False)
    await asyncio.sleep(0.2)
    assert await output_of(box, "pgrep -f 'sleep 730[0-9]$' || echo none") == "none"


SECRETS = ["environ", "mem", "maps", "fd", "cwd", "root", "stack"]


@pytest.mark.parametrize("name", SECRETS)
async def test_the_memory_and_descriptors_of_the_exec_server_are_out_of_reach(box: Sandbox, name: str):
    read = {"mem": "head -c 1", "fd": "ls", "cwd": "ls", "root": "ls", "stack": "cat"}.get(name, "cat")
    result = await box.run(f"{read} /proc/1/{name}", timeout_s=10)
    assert not result.ok
    assert b"ermission denied" in result.output or b"not permitted" in result.output
    if name not in {
        "mem",
        "stack",
    }:  # the control: the same on a process of its own; memory needs an address, a stack a privilege
        assert (await box.run(f"{read} /proc/$$/{name}", timeout_s=10)).ok


async def test_frames_can_not_be_written_into_the_servers_output(box: Sandbox):
    forged = await box.run("printf '\\0\\0\\0\\4\\0\\0\\0\\4nope' > /proc/1/fd/1", timeout_s=10)
    own = await box.run("echo through > /proc/$$/fd/1", timeout_s=10)
    assert not forged.ok
    assert own.output == b"through\n"
    assert await output_of(box, "echo alive") == "alive"


async def test_a_command_that_only_ignores_signals_outlives_a_plain_kill_of_its_group(unprotected: Any):
    """The control of the time limit: killing the process group, as others do, leaves a session of its own alive."""
    script = (
        "setsid bash -c 'setsid sleep 7402 & sleep 7403' & sleep 0.2; kill -9 -$! ; sleep 0.1; pgrep -f 'sleep 7402$'"
    )
    assert (await unprotected.run(script, timeout_s=20)).ok
