"""A store whose transactions are recorded, and the sequencer that signs."""

from __future__ import annotations

import pytest

from shopfloor.domain.audit import recorder
from shopfloor.domain.audit.note import Checkpoint
from shopfloor.domain.audit.sequence import Sequencer
from shopfloor.infra.secrets import MasterKeySealer
from shopfloor.infra.tx import Services, Store


@pytest.fixture
def recording(store: Store) -> Store:
    return Store(store.database, Services(recorder=recorder.keep))


@pytest.fixture
def kept() -> list[tuple[Checkpoint, str]]:
    """Checkpoints as they went outside."""
    return []


@pytest.fixture
def sequencer(recording: Store, sealer: MasterKeySealer, kept: list[tuple[Checkpoint, str]]) -> Sequencer:
    return Sequencer(recording, sealer, keep_outside=lambda checkpoint, note: kept.append((checkpoint, note)))
