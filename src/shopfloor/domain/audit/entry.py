"""From what a room says of its change to the leaf of the tree: redacted, bounded, canonical. Pure."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, cast
from uuid import UUID

import orjson

from shopfloor.base.principal import Principal
from shopfloor.domain.audit.canonical import canonical, is_plain
from shopfloor.infra.json_column import storable
from shopfloor.infra.origin import Origin
from shopfloor.infra.record import Entry
from shopfloor.infra.redaction import MIN_SECRET_CHARS, REDACTOR

SALT_BYTES = 32
_MOST_BYTES = 6_000  # of before and after each
_MOST_CHARS = 500  # of one text
_MOST_ITEMS = 50  # of one list or object
_DEEPEST = 5
_LARGEST_EXACT = 2**53 - 1

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What the recorder adds to an entry: who, for whom, when, from where."""

    id: UUID
    organization_id: UUID
    at: datetime
    principal: Principal
    origin: Origin
    salt: bytes  # random; blinds the commitment to the origin, and goes with it when that is erased


def leaf_of(entry: Entry, around: Circumstances) -> bytes:
    """The entry's canonical text. Raises: NotCanonical.

    On the way of every change: what is known to be plain goes to orjson as it is, which writes ids by itself.
    """
    principal, origin = around.principal, around.origin
    before, after = _changed(entry.before, entry.after)
    told: Json = {
        "v": 1,
        "id": around.id,
        "organization": around.organization_id,
        "at": moment(around.at),
        "actor": {
            "kind": principal.kind,
            "id": principal.id,
            "user": principal.user_id,
            "session": principal.session_id,
        },
        "action": entry.action,
        "target": {"kind": entry.target_kind, "id": storable(entry.target_id[:_MOST_CHARS])},
        "project": entry.project_id,
        "before": before,
        "after": after,
        "origin": {"request": origin.request_id, "commitment": _committed(around)},
        "result": entry.result,
    }
    if is_plain(before) and is_plain(after):
        leaf = orjson.dumps(told, option=orjson.OPT_SORT_KEYS)
        if len(leaf) <= _MOST_BYTES:
            return leaf
    plain = orjson.loads(orjson.dumps({**told, "before": None, "after": None}))
    return canonical({**plain, "before": _shortened(before), "after": _shortened(after)})


@lru_cache(maxsize=1_024)
def _message(address: str, agent: str) -> bytes:
    return canonical([address, agent])


def commitment(salt: bytes, address: str, agent: str) -> str:
    """What stands in the leaf for an address and a program: it binds them, and tells nothing without the salt."""
    return hmac.digest(salt, _message(address, agent), "sha256").hex()


def moment(at: datetime) -> str:
    """UTC to the microsecond, always as long: texts that sort as times do."""
    return at.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def _committed(around: Circumstances) -> str | None:
    origin = around.origin
    if not origin.address and not origin.agent:
        return None
    return commitment(around.salt, origin.address, origin.agent)


def _changed(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> tuple[Any, Any]:
    """Both without what stayed as it was."""
    if before is not None and after is not None:
        same = {name for name in before.keys() & after.keys() if before[name] == after[name]}
        before = {name: value for name, value in before.items() if name not in same}
        after = {name: value for name, value in after.items() if name not in same}
    return _kept(before), _kept(after)


def _kept(values: Mapping[str, Any] | None) -> Json | None:
    """Redacted and of bounded size."""
    if values is None:
        return None
    return {_field(name): _named(name, value, 1) for name, value in list(values.items())[:_MOST_ITEMS]}


def _shortened(values: Json | None) -> Json | None:
    """What is too large as a whole is named, not told."""
    if values is None or len(canonical(values)) <= _MOST_BYTES:
        return values
    return dict.fromkeys(values, "[too large]")


@lru_cache(maxsize=1_024)
def _field(name: str) -> str:
    """Names of fields stand in our code: a few, again and again."""
    return _text(name)


def _named(name: str, value: Any, depth: int) -> Any:
    if REDACTOR.hides(name, value):
        return REDACTOR.named(name, value)
    return _value(value, depth)


def _value(value: Any, depth: int) -> Any:  # noqa: PLR0911 - one a kind of value
    if type(value) is str:
        return _text(value)
    match value:
        case None | bool():
            return value
        case str():
            return _text(str(value))
        case int():
            return value if abs(value) <= _LARGEST_EXACT else str(value)
        case float():
            return value if abs(value) <= _LARGEST_EXACT else str(value)  # also NaN
        case _ if depth >= _DEEPEST:
            return "[too deep]"
        case Mapping():
            pairs = list(cast("Mapping[Any, Any]", value).items())[:_MOST_ITEMS]
            return {_text(str(name)): _named(str(name), each, depth + 1) for name, each in pairs}
        case list() | tuple() | set() | frozenset():
            items = list(cast("list[Any]", value))
            more = [f"[{len(items) - _MOST_ITEMS} more]"] if len(items) > _MOST_ITEMS else []
            return [_value(each, depth + 1) for each in items[:_MOST_ITEMS]] + more
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    if len(text) < MIN_SECRET_CHARS and text.isidentifier():
        return text  # most are such: too short and plain to hide anything
    text = storable(REDACTOR.text(text))
    return text if len(text) <= _MOST_CHARS else f"{text[: _MOST_CHARS - 1]}…"
