"""Redaction: known key formats and every secret in use are struck out of whatever is logged or answered."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import lru_cache
from typing import cast
from urllib.parse import quote

MASK = "[redacted]"
MIN_SECRET_CHARS = 8  # shorter ones would strike out ordinary words
MOST_SECRETS = 10_000  # in use in one process
_MAX_DEPTH = 12

# Each format with its anchor first, so that a text without it costs one scan. Sources: the key formats published by
# OpenAI, Anthropic, GitHub, GitLab, Slack, Google, xAI, Groq, HashiCorp and AWS; JWT: RFC 7519; PEM: RFC 7468.
_TOKENS = re.compile(
    r"\bsk-(?:ant-|proj-|or-|svcacct-)?[A-Za-z0-9_-]{8,512}"
    r"|\bsf_[a-z0-9]{1,16}_[A-Za-z0-9_]{8,256}"
    r"|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{16,255}"
    r"|\bgithub_pat_[A-Za-z0-9_]{16,255}"
    r"|\bglpat-[A-Za-z0-9_-]{16,255}"
    r"|\bxox[abeoprs]-[A-Za-z0-9-]{10,255}"
    r"|\bgsk_[A-Za-z0-9]{16,255}"
    r"|\bxai-[A-Za-z0-9]{16,255}"
    r"|\bAIza[0-9A-Za-z_-]{35}"
    r"|\bhv[sbr]\.[A-Za-z0-9_-]{16,512}"
    r"|\beyJ[A-Za-z0-9_-]{8,8192}\.[A-Za-z0-9_-]{8,8192}\.[A-Za-z0-9_-]{0,8192}"
)
_PEM = re.compile(r"-----BEGIN ([A-Z ]{0,40}PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL)
_CREDENTIALS = re.compile(r"\b(Bearer|Basic|Digest)(\s{1,8})[A-Za-z0-9._~+/=-]{6,8192}", re.IGNORECASE)
_USERINFO = re.compile(r"://[^\s/@\"'<>]{1,1024}@")
_PAIRS = re.compile(
    r"(?i)\b((?:api[_-]?key|x-api-key|access[_-]?key|secret[_-]?key|client[_-]?secret|secret|password|passwd|pwd"
    r"|(?:access|refresh|auth|session|id)[_-]?token)[\"']?\s{0,4}[=:]\s{0,4}[\"']?)([^\s\"'&,;}]{4,1024})"
)

# Names whose value is a secret whatever it looks like. Whole names: `input_tokens` and `max_tokens` are figures.
_SECRET_NAMES = frozenset({
    "password", "passwd", "passphrase", "secret", "secrets", "secret_key", "api_key", "apikey", "x_api_key",
    "access_key", "secret_access_key", "private_key", "client_secret", "authorization", "proxy_authorization",
    "cookie", "set_cookie", "token", "access_token", "refresh_token", "id_token", "session_token", "auth_token",
    "csrf_token", "recovery_code", "recovery_codes", "totp", "pepper", "master_key",
})  # fmt: skip


class Redactor:
    """Strikes secrets out of text and of nested values. Safe to share between threads."""

    def __init__(self, most: int = MOST_SECRETS) -> None:
        """At most so many secrets in use: the one that was not named for longest goes first."""
        self._lock = threading.Lock()
        self._most = most
        self._in_use: OrderedDict[str, int] = OrderedDict()
        self._forms: dict[str, tuple[str, ...]] = {}  # by their first signs

    def text(self, text: str) -> str:
        """`text` with every known or well-formed secret replaced by `MASK`."""
        text = self._without_those_in_use(text)
        if "-----BEGIN" in text:
            text = _PEM.sub(MASK, text)
        if "://" in text:
            text = _USERINFO.sub(f"://{MASK}@", text)
        text = _TOKENS.sub(MASK, text)
        text = _CREDENTIALS.sub(rf"\1\2{MASK}", text)
        return _PAIRS.sub(rf"\1{MASK}", text)

    def value(self, value: object, *, depth: int = 0) -> object:
        """A copy of a JSON-like value, redacted; the value of a name that says secret goes altogether."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, str | bytes | bytearray):
            return self.text(value if isinstance(value, str) else bytes(value).decode("utf-8", "replace"))
        if depth >= _MAX_DEPTH:
            return "[too deep]"
        if isinstance(value, Mapping):
            pairs = cast("Mapping[object, object]", value).items()
            return {self.text(str(name)): self.named(str(name), item, depth=depth + 1) for name, item in pairs}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.value(item, depth=depth + 1) for item in cast("list[object]", value)]
        return self.text(str(value))

    def named(self, name: str, value: object, *, depth: int = 0) -> object:
        """`value` as the value of `name`: gone altogether if the name says secret."""
        return MASK if self.hides(name, value) else self.value(value, depth=depth)

    def hides(self, name: str, value: object) -> bool:
        """Whether `name` says that its value is a secret, whatever it looks like."""
        return _says_secret(name) and value not in (None, "", True, False)

    def remember(self, secret: str) -> None:
        """Strike `secret` out from now on, also percent-encoded, in base64 and inside JSON. Short ones are ignored."""
        self._count(secret, 1)

    def forget(self, secret: str) -> None:
        """The counterpart of `remember`; the last one of equal calls takes effect."""
        self._count(secret, -1)

    def _count(self, secret: str, step: int) -> None:
        if len(secret) < MIN_SECRET_CHARS:
            return
        with self._lock:
            known = self._in_use.get(secret, 0)
            if known + step > 0:
                self._in_use[secret] = known + step
                self._in_use.move_to_end(secret)
                if not known:
                    self._index(secret)
            elif known:
                self._drop(secret)
            if len(self._in_use) > self._most:
                self._drop(next(iter(self._in_use)))

    def _index(self, secret: str) -> None:
        for form in _forms(secret):
            start = form[:MIN_SECRET_CHARS]
            self._forms[start] = (*self._forms.get(start, ()), form)  # once for each secret that has it

    def _drop(self, secret: str) -> None:
        del self._in_use[secret]
        for form in _forms(secret):
            start = form[:MIN_SECRET_CHARS]
            left = list(self._forms[start])
            left.remove(form)
            if left:
                self._forms[start] = tuple(left)
            else:
                del self._forms[start]

    def _without_those_in_use(self, text: str) -> str:
        """One look-up a position, however many secrets there are: an alternation would try each at every one."""
        forms = self._forms
        if not forms or len(text) < MIN_SECRET_CHARS:
            return text
        starts = {text[at : at + MIN_SECRET_CHARS] for at in range(len(text) - MIN_SECRET_CHARS + 1)}
        found = {form for start in starts for form in forms.get(start, ())}
        for form in sorted(found, key=len, reverse=True):
            text = text.replace(form, MASK)
        return text


@lru_cache(maxsize=4_096)
def _says_secret(name: str) -> bool:
    return name.lower().replace("-", "_") in _SECRET_NAMES


def _forms(secret: str) -> set[str]:
    encoded = base64.b64encode(secret.encode("utf-8", "surrogatepass")).decode()
    return {
        secret,
        quote(secret, safe="", errors="replace"),
        json.dumps(secret)[1:-1],
        encoded,
        encoded.rstrip("="),
    }


REDACTOR = Redactor()  # the process's own: secrets in use are registered where they are decrypted or read
