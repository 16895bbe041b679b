"""Wake-ups about data keys: who erases an organization's tells every process to forget what it has opened."""

from __future__ import annotations

from uuid import UUID

from shopfloor.base.ids import parse_id
from shopfloor.infra.secrets.envelope import EnvelopeSealer

_KIND = "data-keys"


def data_keys_changed(organization_id: UUID) -> str:
    """The wake-up's key."""
    return f"{_KIND}:{organization_id}"


def forget_keys(sealer: EnvelopeSealer, key: str) -> None:
    """What a process does when it is woken; after a gap, in which some wake-ups may have been lost, all go."""
    kind, _, name = key.partition(":")
    if key == "*":
        sealer.open_keys.forget()
    elif kind == _KIND and (organization_id := parse_id(name)) is not None:
        sealer.open_keys.forget(organization_id)
