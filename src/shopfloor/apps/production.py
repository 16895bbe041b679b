"""What production mode refuses to start with: default and weak secrets, open doors. Each refusal says the remedy."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from shopfloor.apps.settings import Settings
from shopfloor.base.errors import SettingsError
from shopfloor.infra.secret_stores.choose import key_file
from shopfloor.infra.secrets.master_key import MAKE_ONE, SETTING, why_weak

_SHORTEST_PASSWORD: Final = 12
_COMMON: Final = frozenset({
    "postgres", "postgresql", "password", "passw0rd", "shopfloor", "changeme", "secret", "admin", "root", "test",
    "example", "default", "letmein", "12345678", "123456789012", "passwordpassword", "postgrespostgres",
})  # fmt: skip


def refuse_weak(settings: Settings) -> None:
    """In production mode, before anything is opened. Raises: SettingsError that names each setting and its remedy."""
    if settings.mode == "production":
        _raise([*_key_beside_data(settings), *_database(settings), *_doors(settings)])


def refuse_weak_keys(settings: Settings, keys: Sequence[bytes]) -> None:
    """In production mode, the master keys that this process itself holds. Raises: SettingsError."""
    if settings.mode != "production":
        return
    reasons = dict.fromkeys(why for key in keys if (why := why_weak(key)) is not None)
    _raise([f"{SETTING}: a master key is weak: {why}. Make one: {MAKE_ONE}" for why in reasons])


def refuse_open_door(settings: Settings, host: str) -> None:
    """In production mode, an address that others reach without TLS. Raises: SettingsError."""
    if settings.mode == "production" and not settings.web.https and not _is_loopback(host):
        _raise([(
            f"--host {host} can be reached by others, and keys would cross the network in the clear. Let a proxy end "
            "TLS in front and set SHOPFLOOR_WEB__HTTPS=true, or listen on 127.0.0.1"
        )])  # fmt: skip


def _key_beside_data(settings: Settings) -> list[str]:
    own = settings.secrets
    if own.keeper != "local" or own.master_key is not None or own.allow_key_beside_data:
        return []
    file = key_file(own, settings.home).resolve()
    if not file.is_relative_to(settings.home.resolve()):
        return []
    refusal = (
        f"SHOPFLOOR_SECRETS__KEEPER: the master key lies in {file}, in the folder of the data it protects: one backup "
        "or one stolen disk holds both. Name another keeper, set SHOPFLOOR_SECRETS__MASTER_KEY, move the file and name "
        "it in SHOPFLOOR_SECRETS__MASTER_KEY_FILE, or accept it with SHOPFLOOR_SECRETS__ALLOW_KEY_BESIDE_DATA=true"
    )
    return [refusal]


def _database(settings: Settings) -> list[str]:
    urls = {
        "URL": settings.database.url,
        "APP_URL": settings.database.app_url,
        "SYSTEM_URL": settings.database.system_url,
        "LISTEN_URL": settings.database.listen_url,
    }
    return [
        f"SHOPFLOOR_DATABASE__{name}: {why}. Give the role a random password of {_SHORTEST_PASSWORD} signs or more"
        for name, url in urls.items()
        if url is not None and (why := _why_guessable(url)) is not None
    ]


def _why_guessable(url: str) -> str | None:
    parts = urlsplit(url)
    over_socket = not parts.hostname and (
        not parts.query or "host" not in parse_qs(parts.query) or _socket(parts.query)
    )
    if over_socket:
        return None  # the server knows who we are by our user on this machine
    password = unquote(parts.password or "")
    if not password:
        return "it has no password"
    if password.lower() in _COMMON or password == unquote(parts.username or ""):
        return "its password is a default that everybody tries first"
    if len(password) < _SHORTEST_PASSWORD or len(set(password)) < _SHORTEST_PASSWORD // 2:
        return "its password is short, or repeats itself"
    return None


def _socket(query: str) -> bool:
    return parse_qs(query)["host"][0].startswith("/")


def _doors(settings: Settings) -> list[str]:
    found: list[str] = []
    if "*" in settings.web.allowed_hosts:
        found.append(
            'SHOPFLOOR_WEB__ALLOWED_HOSTS: "*" answers to every name, so a forged Host header passes. List the names '
            "this installation is called by"
        )
    if settings.log.level == "debug":
        found.append("SHOPFLOOR_LOG__LEVEL: debug logs hold tracebacks and statements. Set it to info")
    if settings.sandbox.debug:
        found.append("SHOPFLOOR_SANDBOX__DEBUG: every sandbox would get the weaker profile. Set it to false")
    return found


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _raise(refusals: Sequence[str]) -> None:
    if refusals:
        raise SettingsError(
            f"{'; '.join(refusals)}. Nothing was started: SHOPFLOOR_MODE=production refuses what is weak.",
            refusals=list(refusals),
        )
