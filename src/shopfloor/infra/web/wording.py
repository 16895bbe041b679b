"""Patterns that refuse in words: whoever sent something else reads what is allowed, not a regular expression."""

from __future__ import annotations

_WORDS: dict[str, str] = {}


def worded(pattern: str, allowed: str) -> str:
    """`pattern`, for a `StringConstraints`; a text that doesn't fit is answered with `allowed`, one sentence."""
    _WORDS[pattern] = allowed
    return pattern


def allowed_by(pattern: str) -> str | None:
    """The sentence of a pattern; None for one without."""
    return _WORDS.get(pattern)
