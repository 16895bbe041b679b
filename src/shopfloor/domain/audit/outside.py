"""Checkpoints outside the database: one file an organization, a line each, only ever added to."""

from __future__ import annotations

import os
from pathlib import Path

import structlog

from shopfloor.domain.audit.lines import checkpoint_line
from shopfloor.domain.audit.note import Checkpoint

log = structlog.get_logger(__name__)


def keep_outside(folder: Path, checkpoint: Checkpoint, note: str) -> None:
    """Add the checkpoint to its file, durably, and to the log: what is in neither's reach can be compared later.

    A folder that can't be written stops nothing, since the database has the checkpoint; the log says so.
    """
    log.info("audit.checkpoint", origin=checkpoint.origin, size=checkpoint.size, note=note)
    file = folder / f"{checkpoint.origin.rpartition('/')[2]}.jsonl"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, checkpoint_line(note))  # one write: processes don't mix their lines
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        log.error("audit.checkpoint-not-kept", file=str(file), size=checkpoint.size, why=str(error))  # noqa: TRY400 - the sentence says it
