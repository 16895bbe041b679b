"""A full disk of the platform's own is no fault of the job: what could not be written is tried again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shopfloor.engine.git.command import Git
from shopfloor.engine.git.errors import BundleRefused, GitDiskFull, GitFailed, bundle_refused, local_failure


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of one MiB."""
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("mounting needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


async def test_git_without_room_is_retryable_and_goes_on_once_there_is(small: Path):
    git, repository = Git(), small / "results.git"
    filler = small / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as out:
        while True:
            out.write(bytes(4_096))
    with pytest.raises(GitDiskFull) as caught:
        await git.check(["init", "--bare", "--quiet", str(repository)])
    assert caught.value.retryable
    filler.unlink()
    await git.check(["init", "--bare", "--quiet", str(repository)])


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"fatal: update_ref failed for ref 'a': cannot update ref 'a': couldn't write '/w/a.lock'", GitDiskFull),
        (b"fatal: unable to create '/w/index.lock': Disk quota exceeded", GitDiskFull),
        (b"fatal: bad object HEAD", GitFailed),
        (b"error: patch does not apply", GitFailed),
    ],
)
def test_only_what_could_not_be_written_is_retryable(said: bytes, error: type[GitFailed]):
    assert type(local_failure("update-ref", said)) is error


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"fatal: sha1 file '/w/objects/pack/tmp_idx_b' write error. Out of diskspace", GitDiskFull),
        (b"fatal: write error: No space left on device", GitDiskFull),
        (b"fatal: write error: File too large", BundleRefused),  # over our own limit: what it holds is refused
        (b"error: object 1234: nullSha1: contains entries pointing to null sha1", BundleRefused),
    ],
)
def test_a_bundle_is_refused_for_what_it_holds_and_not_for_our_full_disk(said: bytes, error: type[GitFailed]):
    assert type(bundle_refused(said)) is error
