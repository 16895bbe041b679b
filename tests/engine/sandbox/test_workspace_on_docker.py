"""Every method of Workspace on a real sandbox."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator

import pytest

from sandbox_on_docker import output_of
from shopfloor.base.errors import TooLarge
from shopfloor.engine.sandbox.port import Sandbox
from shopfloor.engine.workspace import DiskFull, FileMissing, PathRefused

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

ODD_NAMES = [
    "new\nline",
    "-rf",
    "日本語.txt",
    "naïve café",
    "quote'\"`$(id)",
    "tab\there",
    "🦊",
    "a" * 255,
    ".hidden",
    "...",
]


async def chunks_of(data: bytes, size: int = 100_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def test_text_runs_in_bash(box: Sandbox):
    result = await box.run("echo ${BASH_VERSION:+bash} && exit 3", timeout_s=10)
    assert (result.exit_code, result.output, result.ok) == (3, b"bash\n", False)


async def test_a_list_runs_as_it_is(box: Sandbox):
    result = await box.run(["printf", "%s|", "$HOME", "a b"], timeout_s=10)
    assert result.output == b"$HOME|a b|"


async def test_stdout_and_stderr_come_in_order(box: Sandbox):
    assert await output_of(box, "echo 1; echo 2 >&2; echo 3") == "1\n2\n3"


async def test_an_unknown_program_ends_with_127(box: Sandbox):
    result = await box.run(["no-such-program"], timeout_s=10)
    assert (result.exit_code, result.output) == (127, b"No such file or directory\n")


async def test_a_command_gets_its_folder_environment_and_stdin(box: Sandbox):
    await box.write_file("deep/er/file", b"x")
    result = await box.run("pwd; echo $WHO; cat", timeout_s=10, cwd="deep/er", env={"WHO": "me"}, stdin=b"input")
    assert result.output == b"/workspace/deep/er\nme\ninput"


async def test_a_large_stdin_arrives_whole(box: Sandbox):
    data = os.urandom(3_000_000)
    result = await box.run("sha256sum", timeout_s=20, stdin=data)
    assert result.output.split()[0].decode() == hashlib.sha256(data).hexdigest()


async def test_stdin_is_empty_unless_given(box: Sandbox):
    assert (await box.run("cat", timeout_s=5)).exit_code == 0


async def test_a_folder_outside_is_refused_for_a_command(box: Sandbox):
    with pytest.raises(PathRefused):
        await box.run("true", timeout_s=5, cwd="../etc")


async def test_a_killed_command_tells_its_signal(box: Sandbox):
    result = await box.run("kill -TERM $$", timeout_s=5)
    assert (result.exit_code, result.signal, result.timed_out) == (None, 15, False)


async def test_a_command_is_killed_at_its_time_limit_with_what_it_had_written(box: Sandbox):
    result = await box.run("echo before; sleep 1000", timeout_s=0.5)
    assert (result.exit_code, result.timed_out, result.output) == (None, True, b"before\n")


async def test_a_time_limit_kills_sessions_of_their_own_and_double_forks(box: Sandbox):
    escape = "setsid sleep 7001 & (setsid setsid sleep 7002 &) ; nohup sleep 7003 & trap '' TERM INT HUP; sleep 7004"
    await box.run(escape, timeout_s=0.7)
    assert await output_of(box, "pgrep -f 'sleep 700[0-9]$' || echo none") == "none"


async def test_cancelling_kills_the_whole_group(box: Sandbox):
    started = asyncio.Event()

    async def seen(_: bytes) -> None:
        started.set()

    task = asyncio.create_task(box.run("echo go; setsid sleep 7101 & sleep 7102", timeout_s=60, on_output=seen))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await output_of(box, "pgrep -f 'sleep 710[0-9]$' || echo none") == "none"


async def test_a_time_limit_leaves_other_commands_alone(box: Sandbox):
    other = asyncio.create_task(box.run("sleep 1.5; echo fine", timeout_s=20))
    await box.run("sleep 1000", timeout_s=0.3)
    assert (await other).output == b"fine\n"


async def test_commands_run_at_the_same_time(box: Sandbox):
    """Each waits for the file the next one writes: in sequence none would ever end."""
    commands = [f"touch meet-{n}; until [ -e meet-{(n + 1) % 8} ]; do sleep 0.05; done; echo {n}" for n in range(8)]
    results = await asyncio.gather(*(box.run(command, timeout_s=30) for command in commands))
    assert [result.output for result in results] == [f"{n}\n".encode() for n in range(8)]


async def test_a_server_left_behind_goes_on_and_does_not_hold_its_command(box: Sandbox):
    result = await box.run("(while :; do echo noise; sleep 0.1; done) & echo $!", timeout_s=20)
    assert result.ok
    pid = next(int(word) for word in result.output.split() if word.isdigit())
    assert await output_of(box, f"sleep 0.5; kill -0 {pid} && kill {pid} && echo alive") == "alive"


async def test_100_mb_of_output_are_bounded_to_head_and_tail(box: Sandbox):
    seen = 0

    async def count(chunk: bytes) -> None:
        nonlocal seen
        seen += len(chunk)

    command = "echo first; head -c 104857600 /dev/zero; echo; echo last"
    result = await box.run(command, timeout_s=60, max_output_bytes=10_000, on_output=count)
    assert (len(result.output), result.total_bytes, seen) == (10_000, 104857600 + 12, 104857600 + 12)
    assert result.elided_bytes == result.total_bytes - 10_000
    assert result.output.startswith(b"first\n")
    assert result.output.endswith(b"\nlast\n")
    assert result.head_bytes == 5_000


async def test_a_slow_reader_holds_up_its_own_command_only(box: Sandbox):
    gate, begun = asyncio.Event(), asyncio.Event()

    async def slow(_: bytes) -> None:
        begun.set()
        await gate.wait()

    flood = asyncio.create_task(box.run("head -c 20000000 /dev/zero", timeout_s=60, on_output=slow))
    await begun.wait()
    assert await output_of(box, "echo quick") == "quick"
    gate.set()
    assert (await flood).total_bytes == 20_000_000


async def test_binary_output_comes_unchanged(box: Sandbox):
    await box.write_file("bytes", bytes(range(256)))
    assert (await box.run("cat bytes", timeout_s=10)).output == bytes(range(256))


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_odd_names_are_only_names(box: Sandbox, name: str):
    path = f"odd/{name}"
    await box.write_file(path, name.encode())
    assert (await box.read_file(path)).data == name.encode()
    assert path in [entry.path for entry in (await box.list_files("odd")).entries]
    await box.delete_file(path)
    with pytest.raises(FileMissing):
        await box.read_file(path)


async def test_a_part_of_a_file_comes_with_the_size_and_digest_of_the_whole(box: Sandbox):
    data = os.urandom(2_500_000)
    await box.write_file("large.bin", data)
    content = await box.read_file("large.bin", offset=1_000_000, limit_bytes=700_000)
    assert content.data == data[1_000_000:1_700_000]
    assert (content.size_bytes, content.digest) == (len(data), hashlib.sha256(data).hexdigest())
    whole = await box.read_file("large.bin", limit_bytes=10_000_000)
    assert whole.data == data


@pytest.mark.parametrize("size", [0, 1, 262_143, 262_144, 262_145, 524_288])
async def test_files_of_every_size_come_back(box: Sandbox, size: int):
    data = os.urandom(size)
    await box.write_file("sized", data)
    content = await box.read_file("sized", limit_bytes=1 << 20)
    assert (content.data, content.digest) == (data, hashlib.sha256(data).hexdigest())


async def test_writing_replaces_in_one_rename_and_keeps_the_mode(box: Sandbox):
    await box.write_file("script.sh", b"#!/bin/sh\necho 1\n", executable=True)
    await box.run("ln script.sh old-link", timeout_s=5)
    await box.write_file("script.sh", b"#!/bin/sh\necho 2\n")
    assert (
        await output_of(box, "./script.sh; cat old-link; ls -A | grep -c shopfloor- || true")
        == "2\n#!/bin/sh\necho 1\n0"
    )


async def test_writing_through_a_link_changes_what_it_leads_to(box: Sandbox):
    await box.write_file("real.txt", b"old")
    await box.run("ln -s real.txt alias.txt", timeout_s=5)
    await box.write_file("alias.txt", b"new")
    assert await output_of(box, "cat real.txt; test -L alias.txt && echo ' link'") == "new link"


async def test_a_listing_goes_as_deep_as_asked_without_git_and_links(box: Sandbox):
    await box.run("mkdir -p tree/a/b/c tree/.git; touch tree/f tree/a/g tree/.git/h; ln -s / tree/out", timeout_s=5)
    one = [(entry.path, entry.kind) for entry in (await box.list_files("tree")).entries]
    two = [entry.path for entry in (await box.list_files("./tree", depth=2)).entries]
    assert one == [("tree/a", "directory"), ("tree/f", "file"), ("tree/out", "symlink")]
    assert two == ["tree/a", "tree/a/b", "tree/a/g", "tree/f", "tree/out"]


async def test_a_listing_says_when_its_limit_cut_it(box: Sandbox):
    await box.run("mkdir many && cd many && touch $(seq 1000 1700)", timeout_s=10)
    cut, whole = await box.list_files("many", limit=600), await box.list_files("many", limit=701)
    assert (len(cut.entries), cut.truncated, cut.entries[0].path) == (600, True, "many/1000")
    assert (len(whole.entries), whole.truncated) == (701, False)
    await box.run("rm -r many", timeout_s=10)


@pytest.mark.parametrize("path", ["no/such/file", "tree-less"])
async def test_what_is_not_there_is_missing(box: Sandbox, path: str):
    with pytest.raises(FileMissing):
        await box.read_file(path)
    with pytest.raises(FileMissing):
        await box.delete_file(path)
    with pytest.raises(FileMissing):
        await box.list_files(path)


@pytest.mark.parametrize(
    "path", ["../etc/passwd", "/etc/passwd", "a/../../etc/passwd", "nul\0byte", "/workspace/../etc/passwd"]
)
async def test_paths_that_lead_outside_are_refused(box: Sandbox, path: str):
    await box.run("mkdir -p a", timeout_s=5)
    with pytest.raises(PathRefused):
        await box.read_file(path)
    with pytest.raises(PathRefused):
        await box.write_file(path, b"x")
    with pytest.raises(PathRefused):
        await box.delete_file(path)


async def test_a_folder_is_no_file(box: Sandbox):
    await box.run("mkdir -p folder", timeout_s=5)
    with pytest.raises(FileMissing):
        await box.read_file("folder")
    with pytest.raises(FileMissing):
        await box.write_file("folder", b"x")
    with pytest.raises(FileMissing):
        await box.delete_file("folder")


async def test_a_file_streams_in_and_out(box: Sandbox):
    data = os.urandom(6_000_000)
    assert await box.put("in.bin", chunks_of(data)) == len(data)
    assert b"".join([piece async for piece in box.get("in.bin", max_bytes=len(data))]) == data
    with pytest.raises(TooLarge):
        [piece async for piece in box.get("in.bin", max_bytes=len(data) - 1)]
    await box.delete_file("in.bin")


async def test_tmp_serves_streams_only(box: Sandbox):
    assert await box.put("/tmp/x/y", chunks_of(b"bundle")) == 6
    assert b"".join([piece async for piece in box.get("/tmp/x/y", max_bytes=100)]) == b"bundle"
    with pytest.raises(PathRefused):
        await box.read_file("/tmp/x/y")


async def test_leaving_a_stream_early_leaves_the_sandbox_usable(box: Sandbox):
    await box.run("truncate -s 40M sparse", timeout_s=5)
    async for _ in box.get("sparse", max_bytes=50_000_000):
        break
    assert await output_of(box, "echo here; rm sparse") == "here"


async def test_a_broken_upload_leaves_nothing(box: Sandbox):
    async def breaks() -> AsyncIterator[bytes]:
        yield b"part"
        raise RuntimeError("the sender broke")

    with pytest.raises(RuntimeError):
        await box.put("half", breaks())
    assert await output_of(box, "sleep 0.2; ls -A | grep -c -e half -e shopfloor- || true") == "0"


async def test_a_full_disk_is_told_and_the_file_stays_as_it_was(box: Sandbox):
    await box.write_file("precious", b"kept")
    await box.run("head -c 100M /dev/zero > filler", timeout_s=20)
    await box.run("head -c 100M /dev/zero > filler2", timeout_s=20)
    with pytest.raises(DiskFull):
        await box.write_file("precious", os.urandom(2_000_000))
    assert (await box.read_file("precious")).data == b"kept"
    await box.run("rm -f filler filler2", timeout_s=10)
    await box.write_file("precious", b"again")
