import asyncio
import errno
import hashlib
import os
from pathlib import Path

import pytest

from shopfloor.base.errors import InvalidInput
from shopfloor.infra.blobs import (
    BlobCorrupt,
    BlobMissing,
    BlobRef,
    BlobStore,
    BlobStoreFull,
    BlobTooLarge,
    ByteRange,
    FolderBlobs,
)


@pytest.fixture
def blobs(tmp_path: Path) -> FolderBlobs:
    return FolderBlobs(tmp_path / "blobs")


async def stream(*parts: bytes):
    for part in parts:
        yield part


async def whole(blobs: BlobStore, digest: str, part: ByteRange | None = None) -> bytes:
    return b"".join([piece async for piece in blobs.open(digest, part)])


def stored_files(blobs: FolderBlobs) -> list[Path]:
    return [path for path in blobs._root.rglob("*") if path.is_file()]


async def test_what_was_put_comes_back_under_its_digest(blobs):
    ref = await blobs.put(stream(b"hello ", b"world"))
    assert ref == BlobRef(hashlib.sha256(b"hello world").hexdigest(), 11)
    assert await whole(blobs, ref.digest) == b"hello world"
    assert await blobs.stat(ref.digest) == ref
    assert [path.relative_to(blobs._root).as_posix() for path in stored_files(blobs)] == [
        f"{ref.digest[:2]}/{ref.digest[2:4]}/{ref.digest}"
    ]


async def test_an_empty_blob_is_a_blob(blobs):
    ref = await blobs.put(stream())
    assert ref.size_bytes == 0
    assert await whole(blobs, ref.digest) == b""


async def test_a_hundred_megabytes_stream_through(blobs):
    block = os.urandom(1_000_003)
    ref = await blobs.put(stream(*[block] * 100))
    digest, size, largest = hashlib.sha256(), 0, 0
    async for piece in blobs.open(ref.digest):
        digest.update(piece)
        size += len(piece)
        largest = max(largest, len(piece))
    assert (digest.hexdigest(), size, largest) == (ref.digest, 100_000_300, 1_048_576)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (ByteRange(0), b"0123456789"),
        (ByteRange(4), b"456789"),
        (ByteRange(2, 3), b"234"),
        (ByteRange(8, 99), b"89"),
        (ByteRange(99), b""),
        (ByteRange(3, 0), b""),
    ],
)
async def test_a_part_is_read_alone(blobs, part, expected):
    ref = await blobs.put(stream(b"0123456789"))
    assert await whole(blobs, ref.digest, part) == expected


async def test_a_damaged_blob_never_comes_back_whole(blobs):
    ref = await blobs.put(stream(b"x" * 3_000_000))
    stored_files(blobs)[0].write_bytes(b"x" * 2_999_999 + b"y")
    given = bytearray()

    async def read() -> None:
        async for piece in blobs.open(ref.digest):
            given.extend(piece)

    with pytest.raises(BlobCorrupt):
        await read()
    assert len(given) < 3_000_000
    assert b"y" not in given


async def test_putting_again_repairs_a_damaged_blob(blobs):
    ref = await blobs.put(stream(b"good"))
    stored_files(blobs)[0].write_bytes(b"evil")
    await blobs.put(stream(b"good"))
    assert await whole(blobs, ref.digest) == b"good"


async def test_the_same_content_put_at_once_is_stored_once(blobs):
    refs = await asyncio.gather(*(blobs.put(stream(b"a" * 100_000, b"b")) for _ in range(20)))
    assert len(set(refs)) == 1
    assert len(stored_files(blobs)) == 1
    assert await whole(blobs, refs[0].digest) == b"a" * 100_000 + b"b"


async def test_what_is_not_there_is_named(blobs):
    digest = "0" * 64
    assert not await blobs.exists(digest)
    assert not await blobs.delete(digest)
    with pytest.raises(BlobMissing, match=digest):
        await whole(blobs, digest)
    with pytest.raises(BlobMissing):
        await blobs.stat(digest)


async def test_deleting_removes_it(blobs):
    ref = await blobs.put(stream(b"x"))
    assert await blobs.exists(ref.digest)
    assert await blobs.delete(ref.digest)
    assert not await blobs.exists(ref.digest)


@pytest.mark.parametrize("digest", ["", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 64 + "\n", "0" * 63 + "/"])
async def test_a_digest_is_never_a_path(blobs, digest):
    with pytest.raises(InvalidInput):
        await whole(blobs, digest)


async def test_files_and_folders_are_the_owners_alone(blobs):
    await blobs.put(stream(b"x"))
    folders = {path.stat().st_mode & 0o777 for path in [blobs._root, *blobs._root.rglob("*")] if path.is_dir()}
    assert folders == {0o700}
    assert {path.stat().st_mode & 0o777 for path in stored_files(blobs)} == {0o600}


async def test_a_stream_over_its_limit_leaves_nothing(blobs):
    with pytest.raises(BlobTooLarge):
        await blobs.put(stream(b"123", b"456"), max_bytes=5)
    assert stored_files(blobs) == []


async def test_a_stream_that_fails_or_is_cancelled_leaves_nothing(blobs):
    entered = asyncio.Event()

    async def stuck():
        yield b"begin"
        entered.set()
        await asyncio.Event().wait()

    putting = asyncio.create_task(blobs.put(stuck()))
    await entered.wait()
    assert len(stored_files(blobs)) == 1  # the control: there was something to leave behind
    putting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await putting
    assert stored_files(blobs) == []


async def test_a_full_disk_says_so_and_leaves_nothing(tmp_path):
    class FullDisk(FolderBlobs):
        def _create(self, partial):
            super()._create(partial).close()
            return Path("/dev/full").open("wb", buffering=0)

    blobs = FullDisk(tmp_path / "blobs")
    with pytest.raises(BlobStoreFull, match="no room left") as caught:
        await blobs.put(stream(b"x"))
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert stored_files(blobs) == []


async def test_only_old_leftovers_are_swept(blobs):
    ref = await blobs.put(stream(b"x"))
    for name, age_s in [("old", 7200), ("young", 0)]:
        path = blobs._incoming / name
        path.write_bytes(b"partial")
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - age_s))
    assert await blobs.sweep(older_than_s=3600) == 1
    assert [path.name for path in blobs._incoming.iterdir()] == ["young"]
    assert await blobs.exists(ref.digest)
