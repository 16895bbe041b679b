"""Where the commands ask: a server and a key, from the environment, a login, or the `up` of this data folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs

from shopfloor.apps.cli.kept_login import write
from shopfloor.apps.only_one import running
from shopfloor.apps.settings import default_home
from shopfloor.base.errors import NotSignedIn, SettingsError

DEFAULT_URL = "http://127.0.0.1:8321"
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True, slots=True)
class Place:
    """A server and the key for it."""

    url: str
    key: str = field(repr=False)  # empty: a person signed in, see kept_login.py


def find_place(environ: Mapping[str, str]) -> Place | None:
    """The server to ask; None: none is named and none is up here, so this machine's own database answers.

    Raises: NotSignedIn where a server is named and no key is known for it; SettingsError for a URL that isn't one.
    """
    url, key = environ.get("SHOPFLOOR_URL"), environ.get("SHOPFLOOR_API_KEY")
    login = read_login()
    if url is None and key is None and login is not None:
        return login
    home = default_home(environ)
    up = running(home)
    if url is None and key is None and up is None:
        return None
    url = checked(url or (up.url if up else DEFAULT_URL))
    if key is None and login is not None and login.url == url:
        key = login.key
    return Place(url, key if key is not None else _own_key(url, home))


def still_used(url: str, environ: Mapping[str, str]) -> str | None:
    """In words: by what commands ask `url` while nobody signs in anew; None: by nothing."""
    if environ.get("SHOPFLOOR_API_KEY"):
        return "the key in SHOPFLOOR_API_KEY"
    login = read_login()
    if login is not None and login.url == url:
        return f"the login that is kept in {login_file()}"
    try:
        _own_key(url, default_home(environ))
    except NotSignedIn:
        return None
    return f"the first owner's key in {default_home(environ) / 'admin.key'}"


def usual_url(environ: Mapping[str, str]) -> str:
    """The server that is meant when none is named."""
    up = running(default_home(environ))
    return environ.get("SHOPFLOOR_URL") or (up.url if up else DEFAULT_URL)


def checked(url: str) -> str:
    """The URL without a slash at its end. Raises: SettingsError."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
        raise SettingsError(f"{url!r} is no address of a server: write it like https://shopfloor.example.com.")
    return url.rstrip("/")


def login_file() -> Path:
    """Where `shopfloor login` keeps what it was told."""
    return Path(platformdirs.user_config_dir("shopfloor")) / "login.json"


def read_login() -> Place | None:
    """What `shopfloor login` kept. Raises: SettingsError for a damaged file."""
    file = login_file()
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
        return Place(str(said["url"]), "" if "refresh_token" in said else str(said["key"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SettingsError(f"{file} can't be read: {error}. Run `shopfloor login` again.") from error


def write_login(place: Place) -> Path:
    """Keep it, for its owner's eyes only."""
    file = login_file()
    write(file, {"url": place.url, "key": place.key})
    return file


def _own_key(url: str, home: Path) -> str:
    """The first key of this data folder; it is only ever sent to this machine."""
    file = home / "admin.key"
    if (urlsplit(url).hostname or "") in _LOOPBACK:
        try:
            return file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            pass  # said below
    raise NotSignedIn(f"No key is known for {url}. Set SHOPFLOOR_API_KEY, or run `shopfloor login --url {url}`.")
