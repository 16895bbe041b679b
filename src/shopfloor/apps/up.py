"""`shopfloor up`: the API, a worker and the embedded database on this machine, in one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shopfloor.apps.api import create_app
from shopfloor.apps.only_one import only_one, refuse_second
from shopfloor.apps.production import refuse_open_door
from shopfloor.apps.serving import listen_on, serving, stop_signals, url_of
from shopfloor.apps.settings import Settings
from shopfloor.apps.wiring import Parts, open_parts
from shopfloor.apps.worker import working
from shopfloor.domain.accounts.set_up import first_setup_token

Tell = Callable[[str], None]


async def run_up(settings: Settings, *, host: str, port: int, tell: Tell) -> None:
    """Until SIGTERM or SIGINT; running jobs are given back. Raises: AlreadyUp, SettingsError, what a part needs."""
    stop = asyncio.Event()
    refuse_second(settings.home)  # before the port: of two reasons it is the one that helps
    refuse_open_door(settings, host)
    with listen_on(host, port) as listener, only_one(settings.home, url_of(listener)), stop_signals(stop):
        url = url_of(listener)
        async with (
            open_parts(settings) as parts,
            serving(create_app(parts), listener, on_stop=[parts.live.close]),
            working(parts) as worker,
        ):
            tell(_greeting(parts, url, await first_setup_token(parts.store)))
            await stop.wait()
            parts.health.stop()
            given_back = f" {worker.running} running job(s) will go on at the next start." if worker.running else ""
            tell(f"Stopping.{given_back}")


def _greeting(parts: Parts, url: str, setup_token: str | None) -> str:
    settings = parts.settings
    key = parts.new_key or f"in {settings.admin_key_file}"
    once = f"\n            shown this once; commands find it in {settings.admin_key_file}" if parts.new_key else ""
    return (
        f"Shopfloor is up at {url}\n"
        f"  data      {settings.home}\n"
        f"  key       {key}{once}\n"
        f"{_setup(parts, url, setup_token)}"
        "  next      shopfloor provider add anthropic --key-from ANTHROPIC_API_KEY\n"
        '            shopfloor job submit --repo https://... --model anthropic/claude-sonnet-5 "what is to be done"\n'
        "  stop      Ctrl-C"
    )


def _setup(parts: Parts, url: str, token: str | None) -> str:
    """How the first person gets in by a password; said at the first start alone."""
    if token is None:
        return ""
    return (
        f"  set up    {parts.settings.accounts.public_url or url}/setup#{token}\n"
        "            once, within 72 hours: open it, or paste it into `shopfloor accept`,\n"
        f"            or POST {url}/api/v1/auth/setup; lost it? shopfloor setup-link\n"
    )
