"""Who watches a job sees what its sandbox reached, and what it was refused."""

import asyncio

import pytest

from lifecycle.shop import Shop, shell

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("life-ends")]


async def test_what_a_job_reaches_and_is_refused_stands_in_its_stream(shop: Shop) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.2", 0)  # 127.0.0.1 goes past a proxy
    port = server.sockets[0].getsockname()[1]
    get = "python3 -c \"import urllib.request as u; u.urlopen('http://%s').read()\""
    task = shop.script("network", shell(get % f"127.0.0.2:{port}"), shell(get % "elsewhere.example:80"))
    project = await shop.project({"network": [f"127.0.0.2:{port}"]})

    async with server:
        job = await shop.run(task, project=project)

    assert job.state == "succeeded", await shop.story(job.id)
    assert [event.data for event in await shop.events(job.id, "network.allowed")] == [{"place": f"127.0.0.2:{port}"}]
    (refused,) = await shop.events(job.id, "network.refused")
    assert refused.data["reason"] == "not-allowed"
    assert "elsewhere.example" in refused.data["place"]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    await writer.drain()
    writer.close()
