"""A master key of one's own: 32 random bytes, written as base64, in a setting or a file closed to others."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Sequence
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from shopfloor.base.errors import SettingsError
from shopfloor.infra.redaction import REDACTOR
from shopfloor.infra.secrets.port import KEY_BYTES

SETTING = "SHOPFLOOR_SECRETS__MASTER_KEY"
MAKE_ONE = "python3 -c 'import secrets,base64; print(base64.b64encode(secrets.token_bytes(32)).decode())'"
_FEWEST_DIFFERENT = 16  # of 32 random bytes; fewer happen once in 10^15 keys
_MOST_LETTERS = 24  # of 32 bytes that can be typed; random bytes have 12
# Visibly fake keys of this project's own tests and documents, by their digest's beginning.
_TEST_KEYS = frozenset({sha256(bytes(range(first, first + KEY_BYTES))).hexdigest()[:16] for first in range(224)})


def read_key(text: str, source: str) -> bytes:
    """The key written in `text`; from here on it is struck out of logs. Raises: SettingsError that names `source`."""
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError as error:
        raise SettingsError(f"{source} is not base64 of 32 bytes.") from error
    refuse_short(key)
    for form in (text.strip(), base64.b64encode(key).decode(), key.hex()):
        REDACTOR.remember(form)
    return key


def refuse_short(key: bytes) -> None:
    """Raises: SettingsError for what can't be a key whatever the mode."""
    if len(key) != KEY_BYTES or len(set(key)) < KEY_BYTES // 4:
        raise SettingsError(f"The master key is not 32 random bytes. Make one: {MAKE_ONE}")


def why_weak(key: bytes) -> str | None:
    """Why somebody could guess it; None: nothing says so."""
    if sha256(key).hexdigest()[:16] in _TEST_KEYS:
        return "it is a test key that everybody can read in this project's repository"
    if len(set(key)) < _FEWEST_DIFFERENT:
        return f"only {len(set(key))} different bytes occur in it: it repeats itself"
    if sum(32 <= byte < 127 for byte in key) > _MOST_LETTERS:  # noqa: PLR2004 - printable ASCII
        return "it is text that somebody typed, not 32 random bytes"
    if len({(after - before) % 256 for before, after in pairwise(key)}) == 1:
        return "its bytes count up"
    return None


def load_master_key(setting: str | None, file: Path) -> bytes:
    """The 32 bytes of the setting (base64) or the file, which is made, closed to others, when it isn't there."""
    if setting is not None:
        return read_key(setting, SETTING)
    return read_keys(file)[0]


def read_keys(file: Path) -> list[bytes]:
    """A key a line, the current one first. The file is made when it isn't there. Raises: SettingsError."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        _make(file)
    lines = file.read_text(encoding="ascii").split("\n")
    keys = [read_key(line, str(file)) for line in lines if line.strip()]
    if not keys:
        raise SettingsError(f"{file} holds no key. Remove it, and a new one is made; secrets need the old one.")
    return keys


def write_keys(file: Path, keys: Sequence[bytes]) -> None:
    """Replace the file's keys: all of these or, after a crash in between, those before."""
    fresh = _written(file, keys)
    fresh.replace(file)
    folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _make(file: Path) -> None:
    fresh = _written(file, [secrets.token_bytes(KEY_BYTES)])
    try:
        os.link(fresh, file)  # fails when another process was faster: then its key counts
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def _written(file: Path, keys: Sequence[bytes]) -> Path:
    fresh = file.with_name(f".{file.name}.{secrets.token_hex(8)}")  # containers share process ids, and folders
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as handle:
        handle.writelines(base64.b64encode(key) + b"\n" for key in keys)
        handle.flush()
        os.fsync(handle.fileno())
    return fresh
