"""JSON as PostgreSQL stores it: what models and tools write holds NUL characters and broken surrogates at times."""

from __future__ import annotations

import json
import re
from typing import Any

from psycopg.types.json import Jsonb

# Neither can be stored. Source: PostgreSQL manual, "JSON Types": \u0000 and unpaired surrogates are refused.
_REFUSED = re.compile("[\x00\ud800-\udfff]")
_SUSPECT = re.compile(r"\\u(0000|[dD][89a-fA-F])")


def jsonb(value: Any) -> Jsonb:
    """`value` for a jsonb column; characters that PostgreSQL refuses become U+FFFD."""
    return Jsonb(value, dumps=_dumps)


def jsonb_or_null(value: Any) -> Jsonb | None:
    """The same, None as SQL's null."""
    return None if value is None else jsonb(value)


def storable(text: str) -> str:
    """`text` without the characters that PostgreSQL refuses."""
    return _REFUSED.sub("\N{REPLACEMENT CHARACTER}", text)


def _dumps(value: Any) -> str:
    text = json.dumps(value)
    return json.dumps(_clean(value)) if _SUSPECT.search(text) else text


def _clean(value: Any) -> Any:
    match value:
        case str():
            return storable(value)
        case dict():
            return {_clean(name): _clean(each) for name, each in value.items()}  # pyright: ignore[reportUnknownVariableType] - any JSON
        case list() | tuple():
            return [_clean(each) for each in value]  # pyright: ignore[reportUnknownVariableType] - any JSON
        case _:
            return value
