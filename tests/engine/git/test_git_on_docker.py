import pytest

from engine.git.git_fixtures import Round
from sandbox_on_docker import backend, require_image, spec
from shopfloor.engine.git.bundles import create, open_results
from shopfloor.engine.git.checkout import apply_increment, load, restore, snapshot
from shopfloor.engine.git.diff import diff
from shopfloor.engine.git.errors import SnapshotFailed

pytestmark = pytest.mark.docker


@pytest.fixture(scope="session")
def image() -> None:
    require_image()


async def stream(data: bytes):
    yield data


async def test_a_real_sandbox_gives_back_what_was_changed_and_another_goes_on(image, round_trip, git, tmp_path):
    base = round_trip.base
    async with backend(tmp_path / "state") as boxes:
        sandbox = await boxes.open(spec())
        await load(sandbox, create(git, base), base.sha)
        results = await open_results(git, base, tmp_path / "boxed")
        spool = tmp_path / "boxed-spool"
        spool.mkdir()
        boxed = Round(git, base, sandbox, results, spool)
        assert await snapshot(sandbox, base.sha) is None
        script = "set -e; head -c 3000000 /dev/urandom > big; rm dir/b.txt; printf 'x\\n' >> a.txt"
        assert (await sandbox.run(script, timeout_s=30)).ok
        head = await boxed.bring_back()
        await sandbox.aclose()

        found = await diff(git, results, base.sha, head)
        assert [(file.path, file.status) for file in found.files] == [
            ("a.txt", "modified"),
            ("big", "added"),
            ("dir/b.txt", "deleted"),
        ]
        second = await boxes.open(spec())
        await load(second, create(git, base), base.sha)
        await apply_increment(second, stream((spool / f"{head}.bundle").read_bytes()), head)
        await restore(second, head)
        assert await snapshot(second, head) is None
        listing = (await second.run("ls; wc -c < big; git branch --show-current", timeout_s=30)).output
        assert listing == b"a.txt\nbig\n3000000\nshopfloor\n"
        await second.aclose()


async def test_a_full_workspace_is_told_and_saved_once_there_is_room(image, round_trip, git, tmp_path):
    base = round_trip.base
    async with backend(tmp_path / "state") as boxes:
        sandbox = await boxes.open(spec())  # 64 MiB
        await load(sandbox, create(git, base), base.sha)
        assert (await sandbox.run("head -c 40000000 /dev/urandom > big", timeout_s=30)).ok
        with pytest.raises(SnapshotFailed, match="disk is full"):
            await snapshot(sandbox, base.sha)
        assert (await sandbox.run("rm big; echo small > small", timeout_s=30)).ok
        taken = await snapshot(sandbox, base.sha)
        assert taken is not None
        assert taken.size_bytes < 5_000
        await sandbox.aclose()
