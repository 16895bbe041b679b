"""What this machine needs for Shopfloor, looked at one by one; each finding says what to type."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import psycopg

from shopfloor.apps.only_one import running
from shopfloor.apps.settings import Settings
from shopfloor.base.errors import ShopfloorError
from shopfloor.engine.providers.catalogue import environment_variables
from shopfloor.engine.sandbox.engine import engine_at
from shopfloor.engine.sandbox.image import check_image, image_name
from shopfloor.infra import revision
from shopfloor.infra.embedded import EmbeddedPostgres

Verdict = Literal["ok", "warn", "bad"]

_GIT = (2, 37)
_GIT_S = 10.0
_CONNECT_S = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    name: str
    verdict: Verdict
    detail: str
    todo: str = ""  # what to type


async def examine(settings: Settings, environ: Mapping[str, str]) -> list[Finding]:
    """Everything, in the order a person would put it right. Nothing is changed."""
    looks: list[Callable[[], Awaitable[Finding]]] = [
        _python,
        lambda: _home(settings),
        _git,
        lambda: _database(settings),
        lambda: _engine(settings),
        lambda: _image(settings),
        lambda: _keys(environ),
        lambda: _up(settings),
    ]
    return [await look() for look in looks]


async def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "ok", version)


async def _home(settings: Settings) -> Finding:
    home = settings.home
    try:
        home.mkdir(mode=0o711, parents=True, exist_ok=True)
        probe = home / ".doctor"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        return Finding("home", "bad", f"{home}: {error.strerror}", "export SHOPFLOOR_HOME=<a folder you may write>")
    return Finding("home", "ok", str(home))


async def _git() -> Finding:
    todo = "apt-get install git"
    try:
        process = await asyncio.create_subprocess_exec("git", "--version", stdout=asyncio.subprocess.PIPE)
    except OSError:
        return Finding("git", "bad", "there is no `git`", todo)
    try:
        async with asyncio.timeout(_GIT_S):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        return Finding("git", "bad", f"`git --version` gave no answer within {_GIT_S:g} s", todo)
    found = re.search(rb"(\d+)\.(\d+)[\d.]*", output)
    if found is None or (int(found[1]), int(found[2])) < _GIT:
        return Finding("git", "bad", f"{output.decode().strip()}: 2.37 or newer is needed", todo)
    return Finding("git", "ok", found[0].decode())


async def _database(settings: Settings) -> Finding:
    url = settings.database.url
    if url is None and not settings.database.app_url:
        return await asyncio.to_thread(_embedded, settings)
    try:
        found = await asyncio.to_thread(_revision, url or settings.database.app_url or "")
        revision.refuse_other(found)
    except ShopfloorError as error:
        return Finding("database", "bad", error.detail, "shopfloor migrate")
    except psycopg.Error as error:
        said = str(error).strip().partition("\n")[0]
        return Finding("database", "bad", said, "start PostgreSQL, or check SHOPFLOOR_DATABASE__URL")
    return Finding("database", "ok", f"external, schema {found}")


def _embedded(settings: Settings) -> Finding:
    server = EmbeddedPostgres(settings.home / "postgres")
    try:
        server.start()
    except (ShopfloorError, OSError) as error:
        return Finding("database", "bad", str(error), "read the reason above; make setup installs what is missing")
    server.stop()
    return Finding("database", "ok", "embedded, starts")


def _revision(url: str) -> str | None:
    with psycopg.connect(url, connect_timeout=_CONNECT_S) as connection:
        if connection.execute("select to_regclass('alembic_version')").fetchone() == (None,):
            return None
        row = connection.execute("select version_num from alembic_version").fetchone()
        return str(row[0]) if row else None


async def _engine(settings: Settings) -> Finding:
    url = settings.sandbox.engine_url
    try:
        async with engine_at(url, timeout_s=settings.sandbox.api_timeout_s) as engine:
            info = await engine.info()
    except ShopfloorError as error:
        return Finding("engine", "bad", error.detail, 'eval "$(scripts/engine start)"')
    return Finding("engine", "ok", f"{url}, version {info.get('ServerVersion')}")


async def _image(settings: Settings) -> Finding:
    try:
        async with engine_at(settings.sandbox.engine_url, timeout_s=settings.sandbox.api_timeout_s) as engine:
            await check_image(engine, settings.sandbox.image)
    except ShopfloorError as error:
        return Finding("image", "bad", error.detail, "shopfloor image build")
    return Finding("image", "ok", settings.sandbox.image or image_name())


async def _keys(environ: Mapping[str, str]) -> Finding:
    names = [name for name, variables in environment_variables().items() if any(map(environ.get, variables))]
    if not names:
        todo = "export ANTHROPIC_API_KEY=... (or another's), or: shopfloor provider add"
        return Finding("model keys", "warn", "none in the environment", todo)
    return Finding("model keys", "ok", f"in the environment: {', '.join(names)}")


async def _up(settings: Settings) -> Finding:
    other = running(settings.home)
    if other is None:
        return Finding("server", "ok", "none is up on this data folder: commands ask its database themselves")
    return Finding("server", "ok", f"{other.url} (process {other.process})")
