"""A person's sign-in as commands keep it: an access token, and the refresh token that gets the next one."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import httpx2

from shopfloor.base.errors import NotSignedIn

_EARLY_S = 30.0  # a token that ends on its way is of no use
_TIMEOUT = httpx2.Timeout(30.0, connect=5.0)
_OK = 200
_REFUSED = {401, 403}


class KeptLogin(httpx2.Auth):
    """Puts the access token on each request, and gets a new one when it is about to end.

    Commands of one user share the file: under its lock one of them refreshes, the others read what it got.
    """

    def __init__(self, file: Path, url: str) -> None:
        self._file = file
        self._url = url

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """See httpx2.Auth. Raises: NotSignedIn when the session is over."""
        request.headers["Authorization"] = f"Bearer {await asyncio.to_thread(self.token)}"
        yield request

    def token(self) -> str:
        """One that is good for a while. Raises: NotSignedIn."""
        with _locked(self._file):
            kept = read(self._file)
            if kept["access_until"] - _EARLY_S > time.time():
                return str(kept["access_token"])
            answer = httpx2.post(
                f"{self._url}/api/v1/auth/token/refresh",
                json={"refresh_token": kept["refresh_token"]}, timeout=_TIMEOUT, trust_env=False,
            )  # fmt: skip
            if answer.status_code in _REFUSED:
                raise NotSignedIn(
                    f"Your session at {self._url} is over. Run `shopfloor login --url {self._url}` again."
                )
            answer.raise_for_status()
            keep(self._file, self._url, cast("dict[str, Any]", answer.json()))
            return str(answer.json()["access_token"])


def read(file: Path) -> dict[str, Any]:
    """What `keep` wrote."""
    return cast("dict[str, Any]", json.loads(file.read_text(encoding="utf-8")))


def keep(file: Path, url: str, session: dict[str, Any]) -> None:
    """The tokens of a session as the API answered it, for its owner's eyes only; the whole of it or nothing."""
    write(file, {
        "url": url,
        "access_token": session["access_token"],
        "access_until": time.time() + session["expires_in_s"],
        "refresh_token": session["refresh_token"],
    })  # fmt: skip


def write(file: Path, content: dict[str, Any]) -> None:
    """Mode 0600."""
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = file.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        json.dump(content, out)
    fresh.replace(file)


@contextmanager
def _locked(file: Path) -> Generator[None]:
    descriptor = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
