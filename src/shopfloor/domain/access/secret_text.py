"""Secrets that we make and hand out once: random text, of which only a hash is stored."""

from __future__ import annotations

import hashlib
import re
import secrets

_BYTES = 32  # 256 bits. Source: OWASP ASVS 5.0, 7.2.3 asks for 128
_SHAPE = re.compile(r"[A-Za-z0-9_-]{43}")


def new_secret() -> str:
    """43 characters that fit into a cookie, a URL and a header."""
    return secrets.token_urlsafe(_BYTES)


def looks_like_one(text: str) -> bool:
    """Whether it is worth asking the database."""
    return _SHAPE.fullmatch(text) is not None


def hash_of(text: str) -> bytes:
    """What is stored. Plain SHA-256: nobody can go through 2^256 texts, so it needs no salt and no slowness."""
    return hashlib.sha256(text.encode()).digest()
