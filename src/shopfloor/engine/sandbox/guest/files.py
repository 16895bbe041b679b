"""Files below the workspace (and /tmp): read, write in one rename, list, delete. The kernel refuses any way out."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
from collections.abc import Callable, Iterator
from typing import Any

from shopfloor.engine.sandbox.guest.kernel import Refused, open_beneath

Header = dict[str, Any]
Send = Callable[[Header, bytes], None]

PIECE = 1 << 18  # bytes of a file in one frame
SCAN_MAX = 100_000  # names read from one folder
TMP = "/tmp"  # noqa: S108 - the sandbox's own, sized tmpfs


class Tree:
    """The two places that files are served from."""

    def __init__(self, root: str) -> None:
        self.root = root
        self.folders = {root: _folder(root), TMP: _folder(TMP)}

    def open(self, path: str, flags: int) -> int:
        """A descriptor of what `path` names. Raises: Refused, OSError."""
        root, name = self.place(path)
        return open_beneath(self.folders[root], name, flags)

    def place(self, path: str) -> tuple[str, str]:
        """The root that a path belongs to, and its name below it."""
        if "\0" in path:
            raise Refused("path", "a path can not hold a NUL byte")
        for root in (TMP, self.root):
            if path == root or path.startswith(root + "/"):
                return root, path[len(root) + 1 :].lstrip("/") or "."
        if path.startswith("/"):
            raise Refused("path", path + " is outside the workspace: name it relative to its root")
        return self.root, path or "."

    def regular(self, path: str) -> int:
        """A descriptor to read a regular file from; fifos and devices are refused without waiting on them."""
        fd = self.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise Refused("missing", path + " is not a regular file")
        return fd

    def read(self, header: Header, send: Send) -> Iterator[None]:
        """A part of a file in `data` frames, then `end` with the size and digest of the whole."""
        ident, offset, limit = header["id"], header["offset"], header["limit"]
        fd = self.regular(header["path"])
        try:
            digest, at, held = hashlib.sha256(), 0, b""
            while True:
                piece = os.read(fd, PIECE)
                if not piece:
                    break
                if held:
                    send({"id": ident, "ev": "data"}, held)
                held = piece[max(0, offset - at) : max(0, offset + limit - at)]
                digest.update(piece)
                at += len(piece)
                if len(piece) == PIECE:
                    yield
            send({"id": ident, "ev": "end", "size": at, "digest": digest.hexdigest()}, held)
        finally:
            os.close(fd)

    def get(self, header: Header, send: Send) -> Iterator[None]:
        """A whole file in `data` frames; Refused as `large` once it passes the limit."""
        fd = self.regular(header["path"])
        try:
            sent = 0
            while True:
                piece = os.read(fd, PIECE)
                if not piece:
                    send({"id": header["id"], "ev": "end", "size": sent}, b"")
                    return
                sent += len(piece)
                if sent > header["limit"]:
                    raise Refused("large", "{} is larger than {} bytes".format(header["path"], header["limit"]))
                send({"id": header["id"], "ev": "data"}, piece)
                yield
        finally:
            os.close(fd)

    def delete(self, path: str) -> None:
        """Remove a file or link, never a folder."""
        parent, name = os.path.split(path)
        if name in ("", ".", ".."):
            raise Refused("path", path + " does not name a file")
        fd = self.open(parent or ".", os.O_PATH | os.O_DIRECTORY)
        try:
            os.unlink(name, dir_fd=fd)
        finally:
            os.close(fd)

    def list(self, header: Header, send: Send) -> Iterator[None]:
        """Depth first in the order of names, as JSON rows [path, kind, size] in `data` frames."""
        limit: int = header["limit"]
        path = os.path.normpath(self.place(header["path"])[1])
        top = self.open(header["path"], os.O_RDONLY | os.O_DIRECTORY)
        pending = [(top, "" if path == "." else path + "/", _names(top))]
        rows: list[tuple[str, str, int]] = []
        try:
            while pending and len(rows) <= limit:
                fd, prefix, names = pending[-1]
                if not names:
                    os.close(pending.pop()[0])
                    continue
                name = names.pop()
                kind, size = _kind(fd, name)
                rows.append((_printable(prefix + name), kind, size))
                if kind == "directory" and len(pending) < header["depth"]:
                    _descend(pending, name)
                if len(rows) % 256 == 0:
                    yield
        finally:
            for fd, _, _ in pending:
                os.close(fd)
        for start in range(0, min(limit, len(rows)), 512):
            send({"id": header["id"], "ev": "data"}, json.dumps(rows[start : min(limit, start + 512)]).encode())
            yield
        send({"id": header["id"], "ev": "end", "truncated": len(rows) > limit}, b"")


class Upload:
    """A file on its way in: written beside its place, moved there when it is whole."""

    def __init__(self, tree: Tree, path: str, *, executable: bool | None) -> None:
        folder, self.name = os.path.split(_target(tree, path))
        if self.name in ("", ".", ".."):
            raise Refused("path", path + " does not name a file")
        self.size = 0
        self.folder = _make_folders(tree, folder or ".")
        try:
            self.mode = self._mode(executable)
            self.temporary = ".shopfloor-" + os.urandom(8).hex()
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            self.fd = os.open(self.temporary, flags, 0o600, dir_fd=self.folder)
        except BaseException:
            os.close(self.folder)
            raise

    def _mode(self, executable: bool | None) -> int:  # noqa: FBT001 - None is a third answer: leave it as it is
        """That of what is replaced, unless told otherwise."""
        try:
            info = os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)
        except FileNotFoundError:
            return 0o755 if executable else 0o644
        if stat.S_ISDIR(info.st_mode):
            raise Refused("missing", self.name + " is a folder")
        if executable is None and stat.S_ISREG(info.st_mode):
            return stat.S_IMODE(info.st_mode) & 0o777
        return 0o755 if executable else 0o644

    def add(self, data: bytes) -> None:
        """Write the next part."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]
        self.size += len(data)

    def commit(self) -> int:
        """Put it in its place; its size in bytes."""
        os.fchmod(self.fd, self.mode)
        os.rename(self.temporary, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        os.close(self.fd)
        os.close(self.folder)
        return self.size

    def abort(self) -> None:
        """Leave nothing of it."""
        with contextlib.suppress(OSError):
            os.unlink(self.temporary, dir_fd=self.folder)
        os.close(self.fd)
        os.close(self.folder)


def _target(tree: Tree, path: str) -> str:
    """`path`, or what it links to below the same root: a link is written through, not replaced."""
    try:
        fd = tree.open(path, os.O_PATH)
    except (FileNotFoundError, NotADirectoryError):
        return path
    try:
        return os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115 - pathlib would double the start-up time
    finally:
        os.close(fd)


def _make_folders(tree: Tree, path: str) -> int:
    """A descriptor of the folder, made with its parents where they are missing."""
    root, name = tree.place(path)
    at, done = os.dup(tree.folders[root]), "."
    for part in name.split("/"):
        done = done + "/" + part
        try:
            below = open_beneath(tree.folders[root], done, os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            os.mkdir(part, 0o755, dir_fd=at)
            below = open_beneath(tree.folders[root], done, os.O_PATH | os.O_DIRECTORY)
        finally:
            os.close(at)
        at = below
    return at


def _folder(path: str) -> int:
    return os.open(path, os.O_PATH | os.O_DIRECTORY)


def _descend(pending: list[tuple[int, str, list[str]]], name: str) -> None:
    fd, prefix, _ = pending[-1]
    try:
        below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
    except OSError:  # not ours to read: it is listed, what is in it is not
        return
    pending.append((below, prefix + name + "/", _names(below)))


def _names(fd: int) -> list[str]:
    """What is in a folder, last name first, `.git` left out."""
    names: list[str] = []
    with os.scandir(fd) as entries:
        for entry in entries:
            if entry.name != ".git":
                names.append(entry.name)
            if len(names) >= SCAN_MAX:
                break
    names.sort(reverse=True)
    return names


def _kind(fd: int, name: str) -> tuple[str, int]:
    try:
        info = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return "other", 0
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
    kind = kinds.get(stat.S_IFMT(info.st_mode), "other")
    return kind, info.st_size if kind == "file" else 0


def _printable(path: str) -> str:
    return os.fsencode(path).decode("utf-8", "backslashreplace")
