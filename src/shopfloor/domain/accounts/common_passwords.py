"""Passwords that are guessed first, told by rules instead of a copied list: known words with known decorations.

What published rankings of leaked passwords have in common is described here: a row of keys, a repeated piece, a date,
or one well-known word with capitals, look-alike signs and a few digits or marks around it.
"""

from __future__ import annotations

import re
from typing import Final

# Words that people take again and again: what the field asks for, names of seasons and days, animals, sports, idols.
_TEXT: Final = """
    password passwort passwd passw pass passcode passphrase kennwort contrasena motdepasse parola senha wachtwoord
    admin administrator root user username guest test testing tester demo default login logon signin welcome willkommen
    bienvenue hello secret geheim master letmein access changeme changeit temp temporary newpassword mypassword
    trustno superuser system server database oracle mysql postgres cisco internet computer windows microsoft google
    facebook linkedin amazon samsung nokia iphone android shopfloor company office support service manager
    qwerty qwertz azerty dvorak keyboard asdf zxcv
    monkey dragon tiger lion eagle falcon shadow panther wolf bear horse dolphin butterfly spider snake kitty
    football baseball basketball soccer hockey tennis golf cricket rugby racing arsenal chelsea liverpool barcelona
    juventus yankees lakers cowboys steelers ferrari porsche mercedes corvette mustang harley
    superman batman spiderman starwars pokemon naruto minecraft fortnite matrix gandalf hobbit pirate ninja samurai
    princess sunshine flower rainbow summer winter spring autumn january february march april june july august
    september october november december monday tuesday wednesday thursday friday saturday sunday
    iloveyou loveyou love lovely lover babygirl angel sweetheart darling honey sugar cookie cheese chocolate banana
    orange apple cherry pepper ginger coffee whiskey
    michael jordan daniel jessica ashley michelle nicole charlie thomas robert george andrew joshua matthew jennifer
    hunter buster killer freedom whatever nothing jesus heaven destiny diamond silver golden phoenix thunder
    hannah alexander patrick martin anthony william samantha amanda maggie
    abc abcd abcdef qaz wsx edc
"""
_WORDS: Final = frozenset(_TEXT.split())
_LOOKALIKES: Final = str.maketrans({
    "0": "o", "1": "l", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "@": "a", "$": "s", "!": "i", "|": "l",
    "+": "t", "(": "c",
})  # fmt: skip
_ROWS: Final = (
    "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm", "azertyuiop", "qsdfghjklm", "wxcvbn",
    "1234567890", "0123456789", "abcdefghijklmnopqrstuvwxyz", "!@#$%^&*()", '!"§$%&/()=',
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p", "1q2w3e4r5t6y7u8i9o0p", "q1w2e3r4t5y6u7i8o9p0",
    "qazwsxedcrfvtgbyhnujmikolp",
    "zaqxswcdevfrbgtnhymjukilop", "zaq12wsxcde34rfv", "741852963", "147258369", "159357", "789456123",
)  # fmt: skip
_DATE: Final = re.compile(r"(?:\d{1,2}[./-]?\d{1,2}[./-]?(?:19|20)?\d\d|(?:19|20)\d\d[./-]?\d{1,2}[./-]?\d{1,2})")
_DECORATION: Final = re.compile(r"^[\W\d_]+|[\W\d_]+$")
_MOST_REPEATED: Final = 12  # characters of a piece that a password is made of
_SHORTEST_RUN: Final = 4


def is_common(password: str) -> bool:
    """Whether somebody who guesses by habit would come to it soon."""
    text = password.casefold()
    return (
        _is_repeated(text)
        or _DATE.fullmatch(text) is not None
        or _is_row(text)
        or any(_is_known(form) for form in _spelled_out(text))
    )


def _spelled_out(text: str) -> set[str]:
    """As it is, and with letters for the signs that look like them, the ends left out or not."""
    core = _DECORATION.sub("", text)
    return {text, text.translate(_LOOKALIKES), core.translate(_LOOKALIKES)}


def _is_known(text: str) -> bool:
    """One or two known words, or a row of keys, with digits and marks around them."""
    forms = {text, _DECORATION.sub("", text), re.sub(r"[\W\d_]+", "", text)}
    return any(_is_words(form) or _is_row(form) for form in forms if form)


def _is_words(text: str) -> bool:
    if text in _WORDS or text.removesuffix("s") in _WORDS:
        return True
    return any(text[:at] in _WORDS and text[at:] in _WORDS for at in range(3, len(text) - 2))


def _is_repeated(text: str) -> bool:
    """`aaaaaaaa`, `abcabcabc`, and a known piece said twice."""
    if len(set(text)) <= 3:  # noqa: PLR2004 - so few signs are no choice
        return True
    return any(
        len(text) // size >= (2 if size < len(text) // 2 + 1 else 3) and (text[:size] * len(text))[: len(text)] == text
        for size in range(1, min(_MOST_REPEATED, len(text) // 2) + 1)
    )


def _is_row(text: str) -> bool:
    """Whether it is made of runs along rows of keys only, in either direction, of four keys and more."""
    rows = [*_ROWS, *(row[::-1] for row in _ROWS)]
    at = 0
    while at < len(text):
        length = max(_run(text, at, row) for row in rows)
        if length < min(_SHORTEST_RUN, len(text) - at if at else _SHORTEST_RUN):
            return False
        at += length
    return True


def _run(text: str, at: int, row: str) -> int:
    """How far `text` from `at` on follows `row`."""
    start = row.find(text[at])
    length = 0
    while start >= 0 and at + length < len(text) and start + length < len(row):
        if text[at + length] != row[start + length]:
            break
        length += 1
    return length
