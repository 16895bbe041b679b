"""The API process: every room's routes behind one application. `create_app` is all that tests need."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from fastapi import FastAPI, Request, Response

from shopfloor import __version__
from shopfloor.apps import system_api
from shopfloor.apps.production import refuse_open_door
from shopfloor.apps.serving import listen_on, serving, stop_signals, url_of
from shopfloor.apps.settings import Settings
from shopfloor.apps.webui.files import built_files
from shopfloor.apps.webui.serve import WebUi
from shopfloor.apps.wiring import Parts, open_parts
from shopfloor.base.errors import PermissionDenied
from shopfloor.domain.access import api as access_api
from shopfloor.domain.access.http import Require
from shopfloor.domain.access.why_not import explained_refusal
from shopfloor.domain.accounts import api as accounts_api
from shopfloor.domain.accounts.set_up import first_setup_token
from shopfloor.domain.approvals import api as approvals_api
from shopfloor.domain.artifacts import api as artifacts_api
from shopfloor.domain.audit import api as audit_api
from shopfloor.domain.audit.refusals import Refusals
from shopfloor.domain.budgets import api as budgets_api
from shopfloor.domain.budgets import api_ledger
from shopfloor.domain.dead_letters import api as dead_letters_api
from shopfloor.domain.delivery import api as delivery_api
from shopfloor.domain.jobs import api as jobs_api
from shopfloor.domain.models import api as models_api
from shopfloor.domain.notifications import api as notifications_api
from shopfloor.domain.secrets import api as secrets_api
from shopfloor.infra.web.health import health_router
from shopfloor.infra.web.plumbing import install_plumbing
from shopfloor.infra.web.rate_limiting import RequestLimits
from shopfloor.infra.web.shortcut import install_shortcut

_DESCRIPTION = """
Shopfloor runs AI software-development agents as production jobs: submit a task on a Git repository, watch it live,
get a diff that the platform has checked itself, with its cost and its evidence.

* **Keys and sessions.** A program sends `Authorization: Bearer sf_...`, or the access token that a person's sign-in
  gave it; a browser carries the session's cookie, and `X-CSRF-Token` with each change. Each route names the permission
  it needs.
* **Errors** are `application/problem+json` (RFC 9457): decide on `code`, show `detail`.
* **Lists** take `limit` and `cursor` and answer `{items, next_cursor}`.
* **Repeating a POST** is safe with an `Idempotency-Key`; a change is safe with `If-Match`.
* **Live.** `GET /api/v1/jobs/{job_id}/events` with `Accept: text/event-stream`, or the WebSocket
  `/api/v1/jobs/{job_id}/stream`; both go on after the last event you have.
"""

_TAGS: list[dict[str, Any]] = [
    {"name": "jobs", "description": "Tasks for agents: submit, watch, cancel, retry, fork, diff, usage."},
    {"name": "approvals", "description": "What jobs may only do once somebody has said yes."},
    {"name": "dead-letters", "description": "Jobs and tasks that were given up: look, try again, discard."},
    {"name": "artifacts", "description": "What jobs left behind: whole outputs, patches."},
    {"name": "agents", "description": "Who can be given a task."},
    {"name": "projects", "description": "Where jobs belong: defaults and bounds."},
    {"name": "members", "description": "People and service accounts."},
    {"name": "roles", "description": "What may be allowed, and the roles that hold it."},
    {"name": "teams", "description": "People who get the same rights in projects together."},
    {"name": "delivery", "description": "Where work goes: environments, releases and sprints of projects."},
    {"name": "providers", "description": "Model providers and their keys."},
    {"name": "models", "description": "The models that a job can name."},
    {"name": "prices", "description": "What a model costs, dated, append-only."},
    {"name": "budgets", "description": "What may be spent: limits, raises, alerts, forecasts."},
    {"name": "notifications", "description": "What the platform tells, and the channels it goes over."},
    {"name": "secrets", "description": "Values handed in once: for Git servers, and by name."},
    {"name": "api-keys", "description": "Keys for programs."},
    {"name": "organizations", "description": "The tenant that everything belongs to."},
    {"name": "auth", "description": "Signing in and out, tokens, passwords, set-up. Open where it says so."},
    {"name": "members", "description": "Who is invited, and ending other people's sessions."},
    {"name": "identity-providers", "description": "Who else vouches for people, and the domains that are yours."},
    {"name": "me", "description": "Who a key speaks for, and what it may do."},
    {"name": "audit", "description": "Who did what, when, from where; tamper-evident."},
    {"name": "system", "description": "This installation, and how it does."},
]


def create_app(parts: Parts) -> FastAPI:
    """The whole HTTP surface on parts that are open."""
    app = FastAPI(
        title="Shopfloor",
        version=__version__,
        summary="AI software-development agents as durable production jobs.",
        description=_DESCRIPTION.strip(),
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        openapi_tags=_TAGS,
        openapi_url=None,  # served behind a key by health_router, like everything else
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(WebUi, files=built_files())  # inside the plumbing: its headers and host check hold here too
    limits = RequestLimits(parts.settings.limits, parts.limiter)
    install_plumbing(app, edge=parts.settings.web, limits=limits)
    for router in (jobs_api.router, artifacts_api.router, *access_api.ROUTERS, *models_api.ROUTERS, system_api.router):
        app.include_router(router)
    for router in delivery_api.ROUTERS:
        app.include_router(router)
    for router in (accounts_api.router, accounts_api.people, accounts_api.well_known):
        app.include_router(router)
    for router in (accounts_api.factors, accounts_api.identity):
        app.include_router(router)
    app.include_router(approvals_api.router)
    app.include_router(audit_api.router)
    app.include_router(secrets_api.router)
    app.include_router(budgets_api.router)
    app.include_router(api_ledger.router)
    app.include_router(notifications_api.router)
    app.include_router(dead_letters_api.router)
    app.include_router(health_router(parts.health, app, authorize=Require("system.read")))
    install_shortcut(app, "/api/v1/jobs/{job_id}", jobs_api.asked_all_the_time)
    app.state.shopfloor = parts
    _record_refusals(app, parts)
    return app


def _record_refusals(app: FastAPI, parts: Parts) -> None:
    """Who is refused a change is on record, though the change's transaction is undone."""
    refusals = Refusals(parts.store)

    async def refused(request: Request, error: Exception) -> Response:
        await refusals.record(request, cast("PermissionDenied", error))
        return await explained_refusal(request, error)

    app.add_exception_handler(PermissionDenied, refused)


async def serve_api(settings: Settings, *, host: str, port: int) -> None:
    """The API alone, until SIGTERM or SIGINT. Raises: what a part can't start for."""
    stop = asyncio.Event()
    refuse_open_door(settings, host)
    listener = listen_on(host, port)
    with stop_signals(stop), listener:
        async with open_parts(settings) as parts, serving(create_app(parts), listener, on_stop=[parts.live.close]):
            print(f"Shopfloor's API is up at {url_of(listener)}", flush=True)  # noqa: T201 - who starts it waits for it
            if parts.new_key:
                print(f"First key, shown this once: {parts.new_key}  (kept in {settings.admin_key_file})", flush=True)  # noqa: T201 - as above
            if (token := await first_setup_token(parts.store)) is not None:
                base = settings.accounts.public_url or url_of(listener)
                print(f"Set up the first owner, once, within 72 hours: {base}/setup#{token}", flush=True)  # noqa: T201 - as above
            await stop.wait()
            parts.health.stop()
