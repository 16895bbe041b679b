"""Removes what no living job owns: containers, disks, mounts, sockets, records of this install, never another's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from shopfloor.base.errors import ShopfloorError
from shopfloor.base.ids import NIL, parse_id
from shopfloor.engine.sandbox.launch import Launcher
from shopfloor.engine.sandbox.records import OWNER_LABEL, Record

_LONG_AGO = "1970-01-01T00:00:00+00:00"


async def reap(launcher: Launcher, is_live: Callable[[UUID], bool], *, now: datetime) -> int:
    """How many sandboxes were removed; one that can't be removed now is left for the next time.

    A sandbox is known by its record, its container's label or its disk: whatever was made before a crash is found.
    """
    listed = await launcher.engine.labelled(f"{OWNER_LABEL}={launcher.install_id}")
    containers = {_name(container): container for container in listed}
    names = set(containers) | launcher.records.names() | launcher.volumes.names()
    removed = 0
    for name in sorted(names):
        record = launcher.records.read(name) or _from_labels(name, containers.get(name))
        if _is_owned(launcher, name, record, is_live, now):
            continue
        try:
            await launcher.remove(name)
            removed += 1
        except ShopfloorError:  # the engine is busy with it: next time
            continue
    launcher.records.sweep_workers()
    return removed


def _is_owned(
    launcher: Launcher, name: str, record: Record | None, is_live: Callable[[UUID], bool], now: datetime
) -> bool:
    if record is None:
        return name.startswith("probe-")  # the disk probe of a worker that starts: it removes it by itself
    if record.passed(now) or not launcher.records.worker_lives(record.worker):
        return False  # with its worker goes its stdin, and with that the sandbox has ended by itself
    job = record.job_id
    return job is None or is_live(job)


def _name(container: Mapping[str, Any]) -> str:
    names = container.get("Names") or [""]
    return str(names[0]).lstrip("/")


def _from_labels(name: str, container: Mapping[str, Any] | None) -> Record | None:
    """Its record is gone, so nobody in this install holds it any more: the labels only tell whose it was."""
    if container is None:
        return None
    labels: dict[str, str] = container.get("Labels") or {}
    job = parse_id(str(labels.get("shopfloor.job", ""))) or NIL
    deadline = labels.get("shopfloor.deadline", _LONG_AGO)
    return Record(name, str(job), str(labels.get("shopfloor.run", NIL)), "agent", deadline, worker="")
