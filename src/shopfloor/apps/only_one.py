"""One `up` a data folder: a lock that dies with its process, and in it where that process is reached."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shopfloor.base.errors import Conflict

_FILE = "up.lock"


@dataclass(frozen=True, slots=True)
class Running:
    """The `up` of a data folder."""

    process: int
    url: str


class AlreadyUp(Conflict):
    """Another `shopfloor up` works on this data folder."""

    title = "Shopfloor is up already"


@contextmanager
def only_one(home: Path, url: str) -> Generator[None]:
    """Hold the folder's lock while the block runs. Raises: AlreadyUp, with where the other one is."""
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    with (home / _FILE).open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyUp(_told(home)) from None
        file.truncate(0)
        file.write(json.dumps({"process": os.getpid(), "url": url}))
        file.flush()
        yield
        file.truncate(0)


def refuse_second(home: Path) -> None:
    """Raises: AlreadyUp."""
    if running(home) is not None:
        raise AlreadyUp(_told(home))


def running(home: Path) -> Running | None:
    """Who holds the folder's lock, or None."""
    try:
        with (home / _FILE).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _read(file.read())
    except OSError:
        return None  # no such file, or not ours to read
    return None


def _read(text: str) -> Running | None:
    try:
        said = json.loads(text)
        return Running(int(said["process"]), str(said["url"]))
    except (ValueError, KeyError, TypeError):
        return None  # it has the lock and is about to write


def _told(home: Path) -> str:
    other = running(home)
    where = f" at {other.url} (process {other.process})" if other else ""
    return (
        f"Shopfloor is up already on {home}{where}. Use that one (`shopfloor job list`), stop it with Ctrl-C in its "
        "terminal, or name another data folder in SHOPFLOOR_HOME and another --port."
    )
