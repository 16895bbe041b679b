"""API keys: how one looks, and how it is made and checked. `sf_<environment>_<id>_<secret><checksum>`."""

from __future__ import annotations

import re
import secrets
import zlib
from dataclasses import dataclass

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZabcdefghjkmnpqrstvwxyz"
_SECRET_LENGTH = 32  # of 54 signs: 184 bits
_ID_LENGTH = 12
_CHECK_LENGTH = 6
_SHAPE = re.compile(
    rf"sf_(?P<environment>[a-z]{{2,12}})_(?P<id>[0-9A-Za-z]{{{_ID_LENGTH}}})"
    rf"_(?P<secret>[0-9A-Za-z]{{{_SECRET_LENGTH}}})(?P<check>[0-9A-Za-z]{{{_CHECK_LENGTH}}})"
)


@dataclass(frozen=True, slots=True)
class KeyText:
    """A key as its holder has it. Only `public_id` may be shown or logged."""

    public_id: str
    text: str

    def __repr__(self) -> str:
        return f"KeyText({self.public_id})"


def mint(environment: str = "live", *, public_id: str | None = None) -> KeyText:
    """A new key, or with `public_id` another secret for a key that there is."""
    public_id = public_id or _random(_ID_LENGTH)
    body = f"sf_{environment}_{public_id}_{_random(_SECRET_LENGTH)}"
    return KeyText(public_id, body + _checksum(body))


def parse(text: str) -> KeyText | None:
    """The key written in `text`, or None: wrong shape or checksum, so no query is worth asking."""
    match = _SHAPE.fullmatch(text)
    if match is None or _checksum(text[:-_CHECK_LENGTH]) != match["check"]:
        return None
    return KeyText(match["id"], text)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def _checksum(body: str) -> str:
    """CRC-32 in base 54: finds a typing error before the database is asked; it is no security."""
    number, signs = zlib.crc32(body.encode()), ""
    for _ in range(_CHECK_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        signs = _ALPHABET[digit] + signs
    return signs
