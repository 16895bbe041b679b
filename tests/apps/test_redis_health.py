"""An installation whose Redis is away starts, answers, and says so."""

from __future__ import annotations

import socket
from pathlib import Path

import httpx2

from shopfloor.apps.api import create_app
from shopfloor.apps.settings import load
from shopfloor.apps.wiring import open_parts


async def test_without_its_redis_the_api_answers_and_health_says_degraded(home: Path, database_url: str):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"redis://127.0.0.1:{free.getsockname()[1]}/0"
    environment = {"SHOPFLOOR_HOME": str(home), "SHOPFLOOR_REDIS__URL": nobody, "SHOPFLOOR_LIMITS__KEY_PER_MINUTE": "2"}
    async with open_parts(load(environment, database={"url": database_url})) as parts:
        transport = httpx2.ASGITransport(app=create_app(parts))
        headers = {"Authorization": f"Bearer {parts.new_key}"}
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client:
            answers = [await client.get(path) for path in ("/healthz", "/api/v1/me", "/api/v1/me")]
            ready = await client.get("/readyz")
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    report = answers[0].json()
    assert (report["status"], report["components"]["redis"]["status"]) == ("degraded", "degraded")
    assert "each process counts" in report["components"]["redis"]["detail"]
    assert ready.status_code == 200
