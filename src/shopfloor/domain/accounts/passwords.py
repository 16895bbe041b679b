"""Passwords: which are taken, and how they are kept and checked.

Sources: OWASP Password Storage Cheat Sheet (Argon2id, 19 MiB, t=2, p=1); OWASP ASVS 5.0, 6.2; NIST SP 800-63B, 5.1.1.2.
"""

from __future__ import annotations

import asyncio
import secrets
import unicodedata
from collections.abc import Iterable
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError
from argon2.low_level import Type

from shopfloor.domain.accounts.common_passwords import is_common
from shopfloor.domain.accounts.errors import PasswordTooWeak

FEWEST_CHARS: Final = 8
MOST_CHARS: Final = 128
_SHORTEST_OWN: Final = 4  # parts of a name or address that short are in every other word


class Passwords:
    """Hashes in threads, a few at once: each takes 19 MiB and some 50 ms of a core."""

    def __init__(self, at_once: int = 2) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1, hash_len=32, type=Type.ID)
        self._slots = asyncio.Semaphore(at_once)
        self._dummy = self._hasher.hash(secrets.token_urlsafe())

    async def hash(self, password: str) -> str:
        """What is stored."""
        async with self._slots:
            return await asyncio.to_thread(self._hasher.hash, normal(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether it is this password. Without one the same work is done, for the answer no."""
        async with self._slots:
            right = await asyncio.to_thread(self._right, stored or self._dummy, normal(password))
        return right and stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether it was made with other parameters than today's: hash the password anew while it is known."""
        return self._hasher.check_needs_rehash(stored)

    def _right(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (Argon2Error, InvalidHashError):
            return False


def normal(password: str) -> str:
    """The same characters, however a keyboard composed them. Source: RFC 8265, section 4.2."""
    return unicodedata.normalize("NFKC", password)


def refuse_weak(password: str, *, own: Iterable[str] = ()) -> None:
    """No rules of composition: length, and not one that is guessed first. `own`: the person's address and name.

    Raises: PasswordTooWeak.
    """
    text = normal(password)
    if not FEWEST_CHARS <= len(text) <= MOST_CHARS:
        raise PasswordTooWeak(
            f"A password has {FEWEST_CHARS} to {MOST_CHARS} characters. A sentence is easy to keep in mind.",
            fewest=FEWEST_CHARS, most=MOST_CHARS,
        )  # fmt: skip
    if is_common(text) or _is_own(text, own):
        raise PasswordTooWeak(
            "This password is among those that are guessed first: a well-known one, a row of keys, or made of your own "
            "name or address. Choose another; a sentence of some words is easy to keep in mind."
        )


def _is_own(password: str, own: Iterable[str]) -> bool:
    """Whether little is left of it without the person's own words."""
    rest = password.casefold()
    words = {word for text in own for word in _words(text)}
    for word in sorted(words, key=len, reverse=True):
        rest = rest.replace(word, "")
    left = [character for character in rest if character.isalpha()]
    return len(rest) < len(password) and len(set(left)) < _SHORTEST_OWN


def _words(text: str) -> list[str]:
    spaced = "".join(character if character.isalnum() else " " for character in text.casefold())
    whole = spaced.replace(" ", "")
    return [word for word in (*spaced.split(), whole) if len(word) >= _SHORTEST_OWN]
