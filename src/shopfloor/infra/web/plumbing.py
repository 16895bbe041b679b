"""Puts the rings around a FastAPI application: edge outside, body gate inside, problems for every error."""

from __future__ import annotations

from fastapi import Depends, FastAPI

from shopfloor.infra.web.body_limits import BodyGate, BodyLimits
from shopfloor.infra.web.edge import Edge, EdgeSettings
from shopfloor.infra.web.openapi import document_problems
from shopfloor.infra.web.parameters import refuse_odd_parameters
from shopfloor.infra.web.problems import install_problems
from shopfloor.infra.web.rate_limiting import RequestLimits


def install_plumbing(
    app: FastAPI,
    *,
    edge: EdgeSettings | None = None,
    bodies: BodyLimits | None = None,
    limits: RequestLimits | None = None,
) -> None:
    """Call once, before routes are added. No CORS: the web app is served from the same origin."""
    install_problems(app)
    document_problems(app)
    app.router.dependencies.append(Depends(refuse_odd_parameters))
    app.add_middleware(BodyGate, limits=bodies)
    app.add_middleware(Edge, settings=edge, limits=limits)  # added last stands outermost
