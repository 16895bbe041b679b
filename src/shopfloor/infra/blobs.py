"""Content-addressed blobs behind a port that a folder implements, and S3 can."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar, Protocol
from uuid import uuid4

from shopfloor.base.errors import InvalidInput, NotFound, ShopfloorError, TooLarge

CHUNK_BYTES = 1_048_576
_DIGEST = re.compile(r"[0-9a-f]{64}")


class BlobMissing(NotFound):
    """No blob has this digest."""

    title: ClassVar[str] = "There is no such blob"


class BlobCorrupt(ShopfloorError):
    """What is stored no longer has the digest it is stored under; restore it from a backup."""

    title: ClassVar[str] = "A stored blob is damaged"


class BlobStoreFull(ShopfloorError):
    """The disk or quota below the store has no room; nothing of the blob was kept."""

    status: ClassVar[int] = 507
    title: ClassVar[str] = "The blob store is full"
    retryable: ClassVar[bool] = True


class BlobTooLarge(TooLarge):
    """The stream passed the limit that its caller set; nothing of it was kept."""


@dataclass(frozen=True, slots=True)
class BlobRef:
    """Where a blob is found again."""

    digest: str  # SHA-256 of the content, hex
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A part of a blob: `length` bytes from `start`, or up to its end."""

    start: int
    length: int | None = None


class BlobStore(Protocol):
    """Keeps byte strings by their SHA-256. Putting the same content twice stores it once."""

    async def put(self, chunks: AsyncIterator[bytes], *, max_bytes: int | None = None) -> BlobRef:
        """Store a stream; it is durable when this returns. Raises: BlobStoreFull, BlobTooLarge."""
        ...

    def open(self, digest: str, part: ByteRange | None = None) -> AsyncIterator[bytes]:
        """Its bytes in pieces of up to 1 MiB.

        The digest is checked while a whole blob is read, before its last piece is given; a part can't be checked
        alone. Raises: BlobMissing, BlobCorrupt.
        """
        ...

    async def exists(self, digest: str) -> bool:
        """Whether it is stored."""
        ...

    async def stat(self, digest: str) -> BlobRef:
        """Its size. Raises: BlobMissing."""
        ...

    async def delete(self, digest: str) -> bool:
        """Remove it; False if it was not there."""
        ...


class FolderBlobs:
    """A BlobStore in a folder: `ab/cd/<digest>`, files 0600 in folders 0700.

    A blob is written beside its place, flushed, then renamed, so that a crash leaves none half written.
    """

    def __init__(self, path: Path) -> None:
        self._root = path
        self._incoming = path / "incoming"

    async def put(self, chunks: AsyncIterator[bytes], *, max_bytes: int | None = None) -> BlobRef:
        """See BlobStore.put."""
        partial = self._incoming / uuid4().hex
        try:
            ref = await self._receive(partial, chunks, max_bytes)
            await asyncio.to_thread(self._settle, partial, ref.digest)
            return ref
        except OSError as error:
            raise _explained(error, self._root) from error
        finally:
            await asyncio.shield(asyncio.to_thread(partial.unlink, missing_ok=True))

    async def open(self, digest: str, part: ByteRange | None = None) -> AsyncIterator[bytes]:
        """See BlobStore.open."""
        file = await asyncio.to_thread(self._open, digest)
        try:
            if part is None:
                async for piece in _verified(file, digest):
                    yield piece
            else:
                async for piece in _ranged(file, part):
                    yield piece
        finally:
            file.close()

    async def exists(self, digest: str) -> bool:
        """See BlobStore.exists."""
        return await asyncio.to_thread(self._place(digest).is_file)

    async def stat(self, digest: str) -> BlobRef:
        """See BlobStore.stat."""
        try:
            status = await asyncio.to_thread(self._place(digest).stat)
        except FileNotFoundError as error:
            raise _missing(digest) from error
        return BlobRef(digest, status.st_size)

    async def delete(self, digest: str) -> bool:
        """See BlobStore.delete."""
        try:
            await asyncio.to_thread(self._place(digest).unlink)
        except FileNotFoundError:
            return False
        return True

    async def sweep(self, *, older_than_s: float = 86_400.0) -> int:
        """Remove what crashed writers left behind; how many files. Call it at start-up and once a day."""
        return await asyncio.to_thread(self._sweep, time.time() - older_than_s)

    async def _receive(self, partial: Path, chunks: AsyncIterator[bytes], max_bytes: int | None) -> BlobRef:
        digest = hashlib.sha256()
        size_bytes = 0
        file = await asyncio.to_thread(self._create, partial)
        try:
            async for chunk in chunks:
                size_bytes += len(chunk)
                if max_bytes is not None and size_bytes > max_bytes:
                    raise BlobTooLarge(f"The content is larger than {max_bytes} bytes.", limit_bytes=max_bytes)
                await asyncio.to_thread(_append, file, digest, chunk)
            await asyncio.to_thread(os.fsync, file.fileno())
        finally:
            file.close()
        return BlobRef(digest.hexdigest(), size_bytes)

    def _create(self, partial: Path) -> IO[bytes]:
        for folder in (self._root, self._incoming):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        return os.fdopen(os.open(partial, flags, 0o600), "wb", buffering=0)

    def _settle(self, partial: Path, digest: str) -> None:
        """Rename into place. A copy that is there already is replaced: if it was damaged, this repairs it."""
        place = self._place(digest)
        made: list[Path] = []
        for folder in (place.parent.parent, place.parent):
            if not folder.is_dir():
                folder.mkdir(mode=0o700, exist_ok=True)
                made.append(folder)
        partial.replace(place)
        for folder in (place.parent, *(new.parent for new in made)):
            _flush_folder(folder)

    def _open(self, digest: str) -> IO[bytes]:
        try:
            return self._place(digest).open("rb", buffering=0)
        except FileNotFoundError as error:
            raise _missing(digest) from error

    def _place(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise InvalidInput("A digest is the SHA-256 of the content: 64 lower-case hex digits.")
        return self._root / digest[:2] / digest[2:4] / digest

    def _sweep(self, before: float) -> int:
        removed = 0
        for item in self._incoming.glob("*"):
            try:
                if item.stat().st_mtime < before:
                    item.unlink()
                    removed += 1
            except FileNotFoundError:
                continue  # its writer finished between the listing and now
        return removed


async def _verified(file: IO[bytes], digest: str) -> AsyncIterator[bytes]:
    """All of a file, one piece behind what was read: the last piece is given only if the digest is right."""
    actual = hashlib.sha256()
    held = b""
    while piece := await asyncio.to_thread(_read, file, actual):
        if held:
            yield held
        held = piece
    if actual.hexdigest() != digest:
        raise BlobCorrupt(f"The blob {digest} is damaged on disk. Restore it from a backup.", digest=digest)
    if held:
        yield held


async def _ranged(file: IO[bytes], part: ByteRange) -> AsyncIterator[bytes]:
    file.seek(part.start)
    left = part.length
    while left is None or left > 0:
        piece = await asyncio.to_thread(file.read, CHUNK_BYTES if left is None else min(left, CHUNK_BYTES))
        if not piece:
            return
        left = None if left is None else left - len(piece)
        yield piece


def _read(file: IO[bytes], digest: hashlib._Hash) -> bytes:  # pyright: ignore[reportPrivateUsage] - the type has no public name
    piece = file.read(CHUNK_BYTES)
    digest.update(piece)
    return piece


def _append(file: IO[bytes], digest: hashlib._Hash, chunk: bytes) -> None:  # pyright: ignore[reportPrivateUsage] - as above
    digest.update(chunk)
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]  # unbuffered: a full disk shows as a short write, then ENOSPC


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explained(error: OSError, root: Path) -> ShopfloorError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return BlobStoreFull(f"There is no room left in {root}. Free space or move the store.", folder=str(root))
    return ShopfloorError(f"The blob store in {root} can't be written: {error.strerror}.", folder=str(root))


def _missing(digest: str) -> BlobMissing:
    return BlobMissing(f"There is no blob {digest}. It may have been deleted by a retention rule.", digest=digest)
