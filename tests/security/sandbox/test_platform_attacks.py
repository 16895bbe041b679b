"""What the platform itself could leak or let slip. # BOX-3, BOX-4, BOX-6, CORE-4"""

from __future__ import annotations

import json
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sandbox_on_docker import SMALL, backend, output_of, spec
from shopfloor.base.clock import SystemClock
from shopfloor.engine.sandbox import launch, profile
from shopfloor.engine.sandbox.docker import DockerSandboxes
from shopfloor.engine.sandbox.port import Sandbox, SandboxUnavailable
from shopfloor.engine.sandbox.profile import Profile
from shopfloor.engine.workspace import WorkspaceError

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

CANARY = "sk-canary-not-a-real-key-0123456789"


async def test_the_engines_socket_is_nowhere(box: Sandbox):
    found = await output_of(
        box, "find / -xdev -name '*docker*.sock' -o -xdev -type s 2>/dev/null; ls /var/run/docker.sock 2>&1"
    )
    assert "No such file" in found
    assert ".sock\n" not in found


async def test_no_secret_of_the_worker_is_in_the_sandbox_or_its_description(
    boxes: DockerSandboxes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    async with aclosing(await boxes.open(spec(env={"SEEN": "yes"}))) as sandbox:
        inside = await output_of(sandbox, "env; cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'")
        described = json.dumps(await boxes._launcher.engine.inspect(sandbox.id))
        assert "SEEN=yes" in inside  # the control: what is given is there
        assert CANARY not in inside
        assert CANARY not in described
        record = boxes._launcher.records.read(sandbox.name)  # type: ignore[attr-defined]
        assert record is not None
        assert CANARY not in repr(record)


async def test_one_sandbox_sees_nothing_of_another(box: Sandbox, boxes: DockerSandboxes):
    mark = "marker-of-the-first"
    plant = (
        f"echo {mark} | tee /workspace/{mark} /tmp/{mark} /dev/shm/{mark} >/dev/null; "
        "ipcmk -M 4096 >/dev/null; (setsid -f sleep 7501)"
    )
    await output_of(box, plant)
    look = "grep -rs marker-of /workspace /tmp /dev/shm; ipcs -m | grep -c 4096; pgrep -f 'sleep 750[0-9]$'; true"
    async with aclosing(await boxes.open(spec())) as other:
        assert await output_of(other, look) == "0"
    own = await output_of(box, look)
    assert mark in own  # the control: the first finds its own
    assert "0" not in own.split("\n")
    await output_of(box, "pkill -f 'sleep 7501$'; rm -f /workspace/marker* /tmp/marker* /dev/shm/marker*")


async def test_nothing_is_left_for_the_next_one(boxes: DockerSandboxes):
    async with aclosing(await boxes.open(spec())) as first:
        await output_of(first, "echo residue > file; sync")
    async with aclosing(await boxes.open(spec())) as second:
        assert await output_of(second, "ls -A /workspace /tmp /dev/shm") == "/dev/shm:\n\n/tmp:\n\n/workspace:"


async def test_the_hosts_folders_of_sandboxes_are_not_inside(box: Sandbox, boxes: DockerSandboxes):
    path = boxes._launcher.settings.state_dir
    assert path.exists()
    assert await output_of(box, f"ls {path} 2>&1 | grep -c 'No such'") == "1"


async def test_there_is_no_interface_but_loopback_and_no_way_out(box: Sandbox):
    assert (
        await output_of(
            box, "cut -d: -f1 /proc/net/dev | tail -n +3 | tr -d ' ' | grep -v -e tunl -e sit0 -e gre -e vti"
        )
        == "lo"
    )
    dial = 'import socket; socket.create_connection(("{}", {}), 2)'
    for host, port in (("1.1.1.1", 53), ("169.254.169.254", 80), ("172.17.0.1", 22), ("::1", 22)):
        result = await box.run(["python3", "-c", dial.format(host, port)], timeout_s=10)
        assert b"OSError" in result.output or b"refused" in result.output.lower()


async def test_the_mounted_files_of_the_platform_can_not_be_changed(box: Sandbox):
    for command in ("touch /run/shopfloor/guest/x", "rm -rf /run/shopfloor/guest", "mv /run/shopfloor /run/gone"):
        result = await box.run(command, timeout_s=5)
        assert not result.ok
    assert await output_of(box, "find /run/shopfloor/guest -name server.py | wc -l") == "1"


async def test_a_missing_profile_refuses_every_sandbox(
    boxes: DockerSandboxes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(profile, "files", lambda _: tmp_path)
    with pytest.raises(SandboxUnavailable, match="profile of this installation is missing"):
        await boxes.open(spec())


OTHER_PROFILES = {
    "one that allows everything": json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []}),
    "none at all": "unconfined",
}


@pytest.mark.parametrize("text", OTHER_PROFILES.values(), ids=OTHER_PROFILES.keys())
async def test_an_engine_that_applies_another_profile_is_found_from_inside(
    boxes: DockerSandboxes, monkeypatch: pytest.MonkeyPatch, text: str
):
    monkeypatch.setattr(launch, "load_profile", lambda **_: Profile("shopfloor-strict@forged", text))
    with pytest.raises(SandboxUnavailable, match="seccomp"):
        await boxes.open(spec())


WEAKENED: dict[str, dict[str, Any]] = {
    "capabilities are left": {"CapDrop": []},
    "no-new-privileges is off": {"SecurityOpt": None},
    "root file system can be written": {"ReadonlyRootfs": False},
    "/tmp is larger": {"Tmpfs": {"/tmp": "rw,size=64m"}},
    "network interfaces": {"NetworkMode": "host"},
}


@pytest.mark.parametrize("reason", WEAKENED)
async def test_a_container_that_came_out_weaker_is_refused(
    boxes: DockerSandboxes, monkeypatch: pytest.MonkeyPatch, reason: str
):
    real = launch.container_config

    def weaker(plan: launch.Plan) -> dict[str, Any]:
        config = real(plan)
        change = dict(WEAKENED[reason])
        if "SecurityOpt" in change:
            change["SecurityOpt"] = [f"seccomp={plan.profile.text}"]
        if "NetworkMode" in change:
            config["NetworkDisabled"] = False
        config["HostConfig"].update(change)
        return config

    monkeypatch.setattr(launch, "container_config", weaker)
    with pytest.raises(SandboxUnavailable, match=reason):
        await boxes.open(spec())


async def test_the_debug_profile_lets_a_child_be_traced_and_nothing_else(boxes: DockerSandboxes, box: Sandbox):
    trace = "import ctypes; print(ctypes.CDLL(None, use_errno=True).ptrace(0, 0, 0, 0))"
    number = "250 if __import__('os').uname().machine == 'x86_64' else 219"
    keys = f"import ctypes; print(ctypes.CDLL(None).syscall({number}, 0, -3, 1))"
    async with aclosing(await boxes.open(spec(debug=True))) as open_one:
        assert await output_of(open_one, f"python3 -c '{trace}'") == "0"
        assert (await open_one.run(["python3", "-c", keys], timeout_s=5)).output == b"-1\n"
        assert open_one.isolation.seccomp.startswith("shopfloor-debug@")
    assert await output_of(box, f"python3 -c '{trace}'") == "-1"


async def test_the_description_of_a_container_names_every_limit(boxes: DockerSandboxes, box: Sandbox):
    state = await boxes._launcher.engine.inspect(box.id)
    assert state is not None
    host, labels = state["HostConfig"], state["Config"]["Labels"]
    told = {
        key: host[key]
        for key in ("Memory", "MemorySwap", "NanoCpus", "PidsLimit", "ReadonlyRootfs", "NetworkMode", "IpcMode")
    }
    assert told == {
        "Memory": SMALL.memory_mib << 20,
        "MemorySwap": SMALL.memory_mib << 20,
        "NanoCpus": 2_000_000_000,
        "PidsLimit": SMALL.pids,
        "ReadonlyRootfs": True,
        "NetworkMode": "none",
        "IpcMode": "private",
    }
    assert host["CapDrop"] == ["ALL"]
    assert host["LogConfig"]["Type"] == "none"
    assert {"shopfloor.install", "shopfloor.job", "shopfloor.run", "shopfloor.deadline"} <= set(labels)


async def test_a_worker_of_another_install_can_not_reap_it(box: Sandbox, tmp_path: Path):
    async with backend(tmp_path) as others:
        assert await others.reap(lambda _: False, now=SystemClock().now()) == 0
    assert await output_of(box, "echo here") == "here"


FILES = {
    "a symlink to a file outside": "ln -sf /etc/passwd trap",
    "a symlink to the root": "ln -sfn / rootlink; ln -sf rootlink/etc/passwd trap",
    "a relative climb": "ln -sf ../../../../etc/passwd trap",
    "a link into proc": "ln -sf /proc/1/environ trap",
    "a magic link": "ln -sf /proc/self/root/etc/passwd trap",
    "a fifo": "mkfifo trap",
    "a socket": "python3 -c 'import socket; socket.socket(1).bind(\"trap\")'",
    "a device": "ln -sf /dev/zero trap",
    "a loop": "ln -sf trap trap",
    "a folder": "mkdir trap",
}


@pytest.mark.parametrize("prepare", FILES.values(), ids=FILES.keys())
async def test_what_a_path_was_prepared_to_be_is_not_followed_outside(box: Sandbox, prepare: str):
    await output_of(box, "rm -rf trap; " + prepare)
    with pytest.raises(WorkspaceError):
        await box.read_file("trap")
    await output_of(box, "rm -rf trap; echo plain > trap")
    assert (await box.read_file("trap")).data == b"plain\n"  # the control: an honest file of that name


async def test_a_link_that_is_swapped_while_it_is_read_never_shows_the_outside(box: Sandbox):
    swap = (
        "while :; do ln -sfn /etc dir2 && mv -T dir2 swapped; "
        "mkdir -p real && echo inside > real/passwd && ln -sfn real dir3 && mv -T dir3 swapped; done"
    )
    await box.run(f"(timeout 4 bash -c '{swap}' >/dev/null 2>&1 &)", timeout_s=5)
    seen: set[bytes] = set()
    refused = 0
    for _ in range(400):
        try:
            seen.add((await box.read_file("swapped/passwd")).data)
        except WorkspaceError:
            refused += 1
    assert seen <= {b"inside\n", b""}
    assert refused > 0  # the control: the race did take place


async def test_a_cold_start_takes_no_more_than_its_limits_allow(boxes: DockerSandboxes):
    async with aclosing(await boxes.open(spec(limits=replace(SMALL, tmp_mib=8, workspace_mib=16)))) as tiny:
        assert await output_of(tiny, "df -m --output=size /tmp | tail -1") == "8"
        assert int(await output_of(tiny, "df -m --output=size /workspace | tail -1")) <= 16
