"""How a ring of master keys is written where only text can be stored: as a secret's fields."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any, cast

from shopfloor.base.errors import SettingsError
from shopfloor.infra.secrets.master_key import read_key

_CURRENT = "master_key"
_OTHERS = "other_master_keys"


def read_ring(fields: Mapping[str, Any], name: str) -> list[bytes]:
    """The keys, the current one first; others as a list, or with spaces between. Raises: SettingsError."""
    current: Any = fields.get(_CURRENT)
    others: Any = fields.get(_OTHERS) or []
    if not isinstance(current, str):
        raise SettingsError(f"{name} has no field {_CURRENT!r}: store base64 of 32 random bytes in it.")
    texts = others.split() if isinstance(others, str) else [str(each) for each in cast("list[Any]", others)]
    return [read_key(current, f"{_CURRENT} in {name}"), *(read_key(each, f"{_OTHERS} in {name}") for each in texts)]


def written_ring(keys: Sequence[bytes]) -> dict[str, Any]:
    """What `read_ring` reads."""
    current, *others = [base64.b64encode(key).decode() for key in keys]
    return {_CURRENT: current, _OTHERS: others}
