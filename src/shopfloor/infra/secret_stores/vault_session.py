"""A signed-in client of HashiCorp Vault or OpenBao: signs in, renews its token in time, signs in again if it must."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

from shopfloor.base.errors import SettingsError
from shopfloor.infra.redaction import REDACTOR
from shopfloor.infra.secret_stores.threads import Threads
from shopfloor.infra.secrets.port import MasterKeysAway
from shopfloor.infra.secrets.settings import VaultSettings

T = TypeVar("T")
_PREFIX: Final = "SHOPFLOOR_SECRETS__VAULT__"
_RENEW_AT: Final = 2 / 3  # of a token's life


class VaultSession:
    """What both engines talk through. Blocking inside, in threads of its own; no proxy and no redirect is followed."""

    def __init__(self, settings: VaultSettings, timeout_s: float, now: Callable[[], float] = time.monotonic) -> None:
        """Raises: SettingsError that names what is missing."""
        import hvac  # 0.2 s to import: only where it is used
        import requests

        self._settings = settings
        self._address = required(settings.address, "ADDRESS", "the server's address, https://vault.example.com:8200")
        _check_credentials(settings)
        self._threads = Threads(f"Vault at {self._address}", timeout_s)
        web = requests.Session()
        web.trust_env = False
        web.verify = str(settings.ca_file) if settings.ca_file else True
        make: Any = hvac.Client  # says that whole seconds are needed; requests takes fractions
        self._client: Any = make(
            url=self._address,
            token="",  # else it takes whichever token of whoever started us lies in the environment or home
            namespace=settings.namespace,
            verify=web.verify,
            timeout=timeout_s,
            allow_redirects=False,
            session=web,
        )
        self._lock = threading.Lock()
        self._now = now
        self._renew_at: float | None = None  # None: not signed in
        self._renewable = False

    async def do(self, work: Callable[[Any], T]) -> T:
        """`work(client)`, signed in; once more after a new sign-in where the token was refused.

        Raises: MasterKeysAway; hvac's InvalidPath and InvalidRequest, which only the engine can explain.
        """
        return await self._threads.do(lambda: self._work(work))

    def close(self) -> None:
        """Close the connections; a token ends by itself."""
        self._threads.close()
        self._client.adapter.close()

    def _work(self, work: Callable[[Any], T]) -> T:
        from hvac import exceptions as vault
        from requests import exceptions as web

        try:
            self._be_signed_in()
            try:
                return work(self._client)
            except vault.Forbidden:
                if self._settings.auth == "token":
                    raise
                self._sign_in_again()  # the token was revoked, or its time ended while we weren't looking
                return work(self._client)
        except (vault.InvalidPath, vault.InvalidRequest):
            raise
        except (vault.Forbidden, vault.Unauthorized) as error:
            raise self._refused(error) from error
        except (vault.VaultError, web.RequestException) as error:
            raise MasterKeysAway(
                f"Vault at {self._address} does not answer as it should: {_said(error)}. Opened keys go on working "
                "until their time ends. Look whether it is up, unsealed and reachable."
            ) from error

    def _be_signed_in(self) -> None:
        with self._lock:
            if self._renew_at is None:
                self._sign_in_anew()
            elif self._now() >= self._renew_at:
                self._renew()

    def _sign_in_again(self) -> None:
        with self._lock:
            self._sign_in_anew()

    def _sign_in_anew(self) -> None:
        from hvac import exceptions as vault

        try:
            self._sign_in()
        except (vault.InvalidRequest, vault.InvalidPath) as error:  # a wrong secret id; no such auth method
            raise self._refused(error) from error

    def _sign_in(self) -> None:
        settings, auth = self._settings, self._client.auth
        match settings.auth:
            case "token":
                assert settings.token is not None
                self._client.token = settings.token.get_secret_value()
                found = auth.token.lookup_self()["data"]
                self._note(found.get("ttl", 0), renewable=bool(found.get("renewable")))
            case "approle":
                mount = settings.auth_mount or "approle"
                self._signed_in(auth.approle.login(settings.role_id, secret_id=_secret_id(settings), mount_point=mount))
            case "kubernetes":
                mount = settings.auth_mount or "kubernetes"
                jwt = _read(settings.jwt_file, "JWT_FILE")
                self._signed_in(auth.kubernetes.login(settings.role, jwt, mount_point=mount))

    def _signed_in(self, answer: Any) -> None:
        REDACTOR.remember(self._client.token)
        self._note(answer["auth"]["lease_duration"], renewable=bool(answer["auth"]["renewable"]))

    def _renew(self) -> None:
        from hvac import exceptions as vault

        if self._renewable:
            try:
                renewed = self._client.auth.token.renew_self()["auth"]
            except (vault.Forbidden, vault.InvalidRequest):
                pass  # its longest life is reached, or it was revoked
            else:
                self._note(renewed["lease_duration"], renewable=bool(renewed["renewable"]))
                return
        self._sign_in_anew()

    def _refused(self, error: Exception) -> MasterKeysAway:
        return MasterKeysAway(
            f"Vault at {self._address} refuses us: {_said(error)}. Check the credentials in {_PREFIX}... and that "
            "their policy allows what docs/how-to/secrets.md lists."
        )

    def _note(self, lifetime_s: float, *, renewable: bool) -> None:
        """A life of 0 never ends: a root token's."""
        self._renew_at = self._now() + lifetime_s * _RENEW_AT if lifetime_s else float("inf")
        self._renewable = renewable


def required(value: str | None, name: str, what: str) -> str:
    """`value`. Raises: SettingsError that names the setting."""
    if not value:
        raise SettingsError(f"{_PREFIX}{name} is not set: {what}. docs/how-to/secrets.md shows a whole set-up.")
    return value


def _check_credentials(settings: VaultSettings) -> None:
    match settings.auth:
        case "token":
            required(
                settings.token.get_secret_value() if settings.token else None, "TOKEN", "the token to sign in with"
            )
        case "approle":
            required(settings.role_id, "ROLE_ID", "the AppRole's id")
            if settings.secret_id is None and settings.secret_id_file is None:
                required(None, "SECRET_ID", "the AppRole's secret id, or the file that holds it in SECRET_ID_FILE")
        case "kubernetes":
            required(settings.role, "ROLE", "the role that Vault's Kubernetes auth knows this service account by")


def _secret_id(settings: VaultSettings) -> str:
    if settings.secret_id is not None:
        return settings.secret_id.get_secret_value()
    assert settings.secret_id_file is not None
    return _read(settings.secret_id_file, "SECRET_ID_FILE")


def _read(file: Path, name: str) -> str:
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        _unreadable(file, name, error)
    REDACTOR.remember(text)
    return text


def _unreadable(file: Path, name: str, error: Exception) -> NoReturn:
    raise MasterKeysAway(f"{file}, which {_PREFIX}{name} names, can't be read: {error}. Mount or write it.") from error


def _said(error: Exception) -> str:
    """Its kind and first line: never the request, which holds a token."""
    return f"{type(error).__name__}: {REDACTOR.text(str(error).partition(chr(10))[0])[:200]}"
