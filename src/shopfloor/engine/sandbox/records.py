"""Who owns a sandbox: a small file for each, written before anything of it exists, and a lock held by its worker."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import UUID

from shopfloor.base.ids import NIL, new_id

OWNER_LABEL = "shopfloor.install"
GRACE_S = 60  # a sandbox ends itself at its lifetime; the reaper comes after it


@dataclass(frozen=True, slots=True)
class Record:
    """One sandbox. `job` is all zeros while it waits in the warm pool."""

    name: str
    job: str
    run: str
    purpose: str
    deadline: str  # ISO 8601, aware
    worker: str

    @property
    def job_id(self) -> UUID | None:
        """Its job; None in the warm pool."""
        found = UUID(self.job)
        return None if found == NIL else found

    def passed(self, now: datetime) -> bool:
        """Its deadline is over."""
        return datetime.fromisoformat(self.deadline) <= now


class Records:
    """The records and the worker locks of one install on this machine, and the lock of this process among them."""

    def __init__(self, folder: Path) -> None:
        self._records = folder / "records"
        self._workers = folder / "workers"
        for each in (self._records, self._workers):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.worker = new_id().hex
        self._lock = os.open(self._lock_path(self.worker), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, record: Record) -> None:
        """Create or replace."""
        path = self._records / f"{record.name}.json"
        temporary = path.with_suffix(f".{self.worker}")
        temporary.write_text(json.dumps(asdict(record)))
        temporary.replace(path)

    def claim(self, name: str, *, job: UUID, run: UUID, purpose: str, deadline: datetime) -> None:
        """From now on the sandbox is that run's; labels of a container can't change, so the record decides."""
        record = self.read(name)
        if record is not None:
            changed = replace(record, job=str(job), run=str(run), purpose=purpose, deadline=deadline.isoformat())
            self.write(changed)

    def read(self, name: str) -> Record | None:
        """None: there is none, or it can not be read."""
        try:
            return Record(**json.loads((self._records / f"{name}.json").read_text()))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def remove(self, name: str) -> None:
        """The last thing to go."""
        (self._records / f"{name}.json").unlink(missing_ok=True)

    def names(self) -> set[str]:
        """Of every sandbox that has a record."""
        return {path.stem for path in self._records.glob("*.json")}

    def worker_lives(self, worker: str) -> bool:
        """Its process holds its lock. The kernel drops the lock with the process, also in another pid namespace."""
        if worker == self.worker:
            return True
        try:
            fd = os.open(self._lock_path(worker), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def sweep_workers(self) -> None:
        """Forget the locks of the dead whose sandboxes are all gone."""
        owners = {record.worker for name in self.names() if (record := self.read(name))}
        for path in self._workers.glob("*.lock"):
            if path.stem not in owners and not self.worker_lives(path.stem):
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give up this process's lock."""
        if self._lock >= 0:
            with suppress(OSError):
                self._lock_path(self.worker).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def _lock_path(self, worker: str) -> Path:
        return self._workers / f"{worker}.lock"
