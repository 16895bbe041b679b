from __future__ import annotations

import json
from decimal import Decimal

import httpx2
import pytest

from shopfloor.base.errors import InvalidInput, SettingsError
from shopfloor.testing.mock_provider import Scenario, serve
from shopfloor.testing.mock_provider.answer import Usage
from shopfloor.testing.mock_provider.bill import cost_nanos
from shopfloor.testing.mock_provider.scenario import Price

SMALL = {"prices": {"mock": {"input": 1, "output": 2}}, "replies": [{"text": "x"}]}


@pytest.mark.parametrize(
    ("usage", "nanos"),
    [
        (Usage(input=1), 3_000),
        (Usage(cache_read=1), 300),
        (Usage(cache_write_5m=1), 3_750),
        (Usage(cache_write_1h=1), 6_000),
        (Usage(output=1), 15_000),
        (Usage(reasoning=1), 15_000),
        (Usage(input=1_000_000, output=1_000_000), 18_000_000_000),
    ],
)
def test_each_class_of_tokens_has_its_price(usage, nanos):
    price = Price(
        input=Decimal(3),
        cache_read=Decimal("0.30"),
        cache_write_5m=Decimal("3.75"),
        cache_write_1h=Decimal(6),
        output=Decimal(15),
    )
    assert cost_nanos(usage, price) == nanos


def test_a_fraction_of_a_nano_dollar_counts_as_a_whole_one():
    assert cost_nanos(Usage(input=1), Price(input=Decimal("0.0001"), output=Decimal(0))) == 1


async def test_the_bill_adds_up_by_model_and_in_all(serving, ask_openai, ask_anthropic):
    usage = {"input": 100, "output": 10}
    async with serving(replies=[{"text": "x", "usage": usage}]) as served, httpx2.AsyncClient() as client:
        await ask_openai(served)
        await ask_anthropic(served)
        bill = (await client.get(f"{served.server.url}/_mock/bill")).json()
        rows = (await client.get(f"{served.server.url}/_mock/requests?dialect=openai")).json()["requests"]
        await client.post(f"{served.server.url}/_mock/reset")
        assert served.server.bill().requests == 0
    assert bill["total"]["cost_nanos"] == bill["models"]["mock"]["cost_nanos"] == 2 * (100 * 3_000 + 10 * 15_000)
    assert (bill["total"]["requests"], bill["total"]["billed"], bill["total"]["tokens"]["input"]) == (2, 2, 200)
    assert [row["dialect"] for row in rows] == ["openai"]


async def test_an_entry_names_the_reply_it_paid_for(serving, ask_openai, ask_anthropic):
    async with serving(replies=[{"text": "x"}]) as served:
        ids = [(await ask_openai(served)).id, (await ask_anthropic(served)).id]
        entries = served.server.bill().entries
    assert [entry.id for entry in entries] == ids
    assert all(entry.started_at <= entry.finished_at for entry in entries)


async def test_what_was_paid_again_is_found_and_nothing_else(serving, ask_openai):
    async with serving(replies=[{"text": "x"}]) as served:
        await ask_openai(served, "one")
        await ask_openai(served, "two")
        assert served.server.bill().paid_again() == []
        await ask_openai(served, "one")
        groups = served.server.bill().paid_again()
        assert [[entry.turn for entry in group] for group in groups] == [[0, 0]]
        assert served.server.bill().of(groups[0][0].conversation).requests == 2


async def test_the_bill_file_gets_one_line_for_each_request(tmp_path, serving):
    path = tmp_path / "bill.jsonl"
    async with serve(Scenario.model_validate(SMALL), bill_path=path) as server, httpx2.AsyncClient() as client:
        for text in ("one", "two"):
            await client.post(
                f"{server.openai_url}/chat/completions",
                json={"model": "mock", "messages": [{"role": "user", "content": text}]},
                headers={"authorization": "Bearer sk-mock-x"},
            )
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        assert lines == [entry.as_json() for entry in server.bill().entries]
        assert [line["billed"] for line in lines] == [True, True]


async def test_a_bill_file_that_cannot_be_written_stops_the_start(tmp_path):
    with pytest.raises(InvalidInput, match="can't be written"):
        async with serve(bill_path=tmp_path / "missing" / "bill.jsonl"):
            pass


async def test_a_taken_port_is_named(serving):
    async with serving(replies=[{"text": "x"}]) as served:
        port = int(served.server.url.rsplit(":", 1)[1])
        with pytest.raises(SettingsError, match=f"127.0.0.1:{port}"):
            async with serve(port=port):
                pass


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"model": 3}', b'{"model": "m", "messages": []}', b"\xff"])
async def test_a_body_that_is_no_request_is_a_400(serving, body):
    async with serving(replies=[{"text": "x"}]) as served, httpx2.AsyncClient() as client:
        for path in ("chat/completions", "messages"):
            answer = await client.post(
                f"{served.server.url}/v1/{path}",
                content=body,
                headers={"x-api-key": "sk-mock-x", "anthropic-version": "2023-06-01"},
            )
            assert (answer.status_code, "error" in answer.json()) == (400, True)
