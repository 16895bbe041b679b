"""This room over HTTP: the routes of its three nouns."""

from __future__ import annotations

from shopfloor.domain.delivery.api_environments import router as environments_router
from shopfloor.domain.delivery.api_releases import router as releases_router
from shopfloor.domain.delivery.api_sprints import router as sprints_router

ROUTERS = (environments_router, releases_router, sprints_router)
