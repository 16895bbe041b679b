import asyncio
import os
import time
from pathlib import Path

import pytest

from shopfloor.base.errors import TooLarge
from shopfloor.engine.workspace import DiskFull, FileMissing, PathRefused, Workspace, WorkspaceLost
from shopfloor.testing.folder_workspace import FolderWorkspace


@pytest.fixture
def workspace(tmp_path: Path) -> FolderWorkspace:
    return FolderWorkspace(tmp_path / "workspace")


async def chunks(*parts: bytes):
    for part in parts:
        yield part


def gone(pid: int) -> bool:
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


def test_it_is_a_workspace(workspace):
    port: Workspace = workspace
    assert Path(port.root).is_absolute()


async def test_a_command_gives_its_status_and_both_outputs_in_order(workspace):
    result = await workspace.run("echo out; echo err >&2; cat; exit 3", timeout_s=10, stdin=b"in")
    assert (result.exit_code, result.output, result.ok) == (3, b"out\nerr\nin", False)


async def test_a_list_runs_without_a_shell(workspace):
    result = await workspace.run(["printf", "%s", "$HOME;"], timeout_s=10)
    assert result.output == b"$HOME;"


async def test_commands_get_a_clean_environment_and_the_named_folder(workspace):
    os.environ["SF_TEST_LEAK"] = "leaked"
    await workspace.write_file("sub/a", b"")
    result = await workspace.run('pwd; echo "$A$SF_TEST_LEAK"', timeout_s=10, cwd="sub", env={"A": "b"})
    del os.environ["SF_TEST_LEAK"]
    assert result.output.decode() == f"{workspace.root}/sub\nb\n"


async def test_long_output_keeps_its_head_and_tail_while_the_sink_sees_all(workspace):
    seen = bytearray()

    async def sink(chunk: bytes) -> None:
        seen.extend(chunk)

    result = await workspace.run("seq 1 20000", timeout_s=10, max_output_bytes=101, on_output=sink)
    whole = "".join(f"{n}\n" for n in range(1, 20001)).encode()
    assert bytes(seen) == whole
    assert result.output == whole[:51] + whole[-50:]
    assert (result.head_bytes, result.elided_bytes, result.total_bytes) == (51, len(whole) - 101, len(whole))


@pytest.mark.parametrize("detach", ["", "setsid "])
async def test_a_time_limit_kills_the_children_too(workspace, detach):
    script = f"{detach}sleep 60 & echo $! > pid; wait"
    started = time.monotonic()
    result = await workspace.run(script, timeout_s=0.5)
    pid = int((await workspace.read_file("pid")).data)
    assert (result.exit_code, result.timed_out) == (None, True)
    assert time.monotonic() - started < 30
    assert gone(pid)


async def test_cancelling_kills_the_command(workspace):
    started = asyncio.Event()

    async def sink(chunk: bytes) -> None:
        started.set()

    running = asyncio.create_task(workspace.run("echo $$ > pid; echo up; exec sleep 60", timeout_s=60, on_output=sink))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert gone(int((await workspace.read_file("pid")).data))


async def test_a_background_child_does_not_hold_the_command_open(workspace):
    result = await workspace.run("sleep 60 & echo $!", timeout_s=20)
    os.kill(int(result.output), 9)
    assert result.ok


async def test_an_unknown_program_is_status_127_as_in_a_shell(workspace):
    assert (await workspace.run(["no-such-program"], timeout_s=10)).exit_code == 127


async def test_a_signal_is_told_apart_from_a_status(workspace):
    result = await workspace.run("kill -TERM $$", timeout_s=10)
    assert (result.exit_code, result.signal, result.timed_out) == (None, 15, False)


async def test_files_are_written_whole_and_read_in_parts(workspace):
    await workspace.write_file("a/b.txt", b"hello world", executable=True)
    content = await workspace.read_file("a/b.txt", offset=6, limit_bytes=3)
    assert (content.data, content.size_bytes) == (b"wor", 11)
    await workspace.write_file("a/b.txt", b"again")
    assert os.access(Path(workspace.root) / "a/b.txt", os.X_OK)
    await workspace.delete_file("a/b.txt")
    with pytest.raises(FileMissing):
        await workspace.read_file("a/b.txt")


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "out/x", "file", "nul\0"])
async def test_paths_that_lead_outside_are_refused(workspace, path):
    (Path(workspace.root) / "out").symlink_to("/var")
    (Path(workspace.root) / "file").symlink_to("/etc/passwd")
    with pytest.raises(PathRefused):
        await workspace.read_file(path)
    with pytest.raises(PathRefused):
        await workspace.write_file(path, b"")


async def test_a_link_is_deleted_not_what_it_names(workspace):
    await workspace.write_file("kept", b"1")
    (Path(workspace.root) / "link").symlink_to("kept")
    await workspace.delete_file("link")
    assert (await workspace.read_file("kept")).data == b"1"


async def test_a_fifo_is_no_file(workspace):
    os.mkfifo(Path(workspace.root) / "fifo")
    with pytest.raises(FileMissing):
        await workspace.read_file("fifo")


async def test_listings_are_sorted_bounded_and_leave_git_out(workspace):
    for path in ["b/c/d", "a", ".git/config"]:
        await workspace.write_file(path, b"12")
    assert [(e.path, e.kind) for e in (await workspace.list_files(depth=2)).entries] == [
        ("a", "file"),
        ("b", "directory"),
        ("b/c", "directory"),
    ]
    cut = await workspace.list_files(depth=9, limit=1)
    assert (len(cut.entries), cut.truncated) == (1, True)


async def test_streams_go_in_and_out_within_their_limit(workspace, tmp_path):
    assert await workspace.put("in", chunks(b"ab", b"cd")) == 4
    assert b"".join([chunk async for chunk in workspace.get("in", max_bytes=4)]) == b"abcd"
    with pytest.raises(TooLarge):
        _ = [chunk async for chunk in workspace.get("in", max_bytes=3)]


async def test_tmp_is_open_to_streams_only(workspace):
    name = f"/tmp/shopfloor-test-{os.getpid()}"
    await workspace.put(name, chunks(b"x"))
    assert (await workspace.run(["cat", name], timeout_s=10)).output == b"x"
    with pytest.raises(PathRefused):
        await workspace.read_file(name)
    (await workspace.run(["rm", name], timeout_s=10))


async def test_a_full_disk_and_a_lost_sandbox_say_so(tmp_path):
    workspace = FolderWorkspace(tmp_path / "w", disk_limit_bytes=10)
    with pytest.raises(DiskFull):
        await workspace.write_file("a", b"x" * 11)
    workspace.lose()
    with pytest.raises(WorkspaceLost):
        await workspace.run("true", timeout_s=1)
