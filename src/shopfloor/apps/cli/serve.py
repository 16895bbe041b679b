"""`shopfloor up`, `api`, `worker`, `migrate`: the processes of an installation."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Annotated, Any

import typer

from shopfloor.apps.cli.loading import loading
from shopfloor.base.errors import SettingsError

Host = Annotated[str, typer.Option(help="Address to listen on.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]

_LOOPBACK = "127.0.0.1"
_PORT = 8321


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("up", help="API, worker and embedded database on this machine, in one process.")(_up)
    app.command("api", help="The API alone.")(_api)
    app.command("worker", help="A worker alone.")(_worker)
    app.command("migrate", help="Bring the database's schema to this version.")(_migrate)


def _up(host: Host = _LOOPBACK, port: Port = _PORT) -> None:
    with loading():
        from shopfloor.apps.cli.settings import settings_for
        from shopfloor.apps.up import run_up

    settings = settings_for(quiet=False)
    _serve(run_up(settings, host=host, port=port, tell=lambda text: print(text, flush=True)))


def _api(host: Host = _LOOPBACK, port: Port = _PORT) -> None:
    with loading():
        from shopfloor.apps.api import serve_api
        from shopfloor.apps.cli.settings import settings_for

    _serve(serve_api(settings_for(quiet=False), host=host, port=port))


def _worker(
    health_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve /livez /readyz /healthz /metrics there.")
    ] = None,
    health_host: Host = _LOOPBACK,
    slots: Annotated[int | None, typer.Option(min=1, max=256, help="Jobs at a time.")] = None,
) -> None:
    with loading():
        from shopfloor.apps.cli.settings import settings_for
        from shopfloor.apps.worker import run_worker

    overrides = {"jobs": {"slots": slots}} if slots else {}
    settings = settings_for(quiet=False, **overrides)
    _serve(run_worker(settings, health_host=health_host, health_port=health_port))


def _migrate(as_json: AsJson = False) -> None:
    from shopfloor.apps.cli.settings import settings_for
    from shopfloor.infra import schema

    settings = settings_for(quiet=True)
    if settings.database.url is None:
        raise SettingsError(
            "Set SHOPFLOOR_DATABASE__URL to the database's owner, e.g. postgresql://owner:...@host:5432/shopfloor. "
            "The embedded database needs no migration by hand: `shopfloor up` brings it up to date."
        )
    before, after = schema.migrate(settings.database.url)
    if as_json:
        print(json.dumps({"before": before, "after": after}))
    else:
        print(
            f"The schema is at {after}."
            if before == after
            else f"The schema went from {before or 'nothing'} to {after}."
        )


def _serve(work: Coroutine[Any, Any, None]) -> None:
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work)
