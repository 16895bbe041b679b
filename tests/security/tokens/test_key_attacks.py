"""Broken, borrowed and ended API keys."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shopfloor.base.ids import new_id
from shopfloor.domain.access.keys import mint
from shopfloor.infra.tx import begin
from signed_in import Ground

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def status(here: Ground, key: str, *, address: str = "127.0.0.1") -> int:
    browser = here.browsers.new(address=address)
    return (await browser.get("/api/v1/me", headers={"Authorization": f"Bearer {key}"})).status_code


def _flipped(key: str, at: int) -> str:
    return key[:at] + ("A" if key[at] != "A" else "B") + key[at + 1 :]


BROKEN: dict[str, Callable[[str], str]] = {
    "checksum broken": lambda key: _flipped(key, -1),
    "secret changed": lambda key: _flipped(key, 30),
    "id changed": lambda key: _flipped(key, 10),
    "cut short by one": lambda key: key[:-1],
    "cut in half": lambda key: key[: len(key) // 2],
    "its id alone": lambda key: key[:20],
    "too long": lambda key: key + "A",
    "another environment": lambda key: key.replace("sf_live_", "sf_test_"),
    "no environment": lambda key: key.replace("sf_live_", "sf_"),
    "upper case": lambda key: key.upper(),
    "another prefix": lambda key: "sk" + key[2:],
    "a new key with its id": lambda key: mint(public_id=key.split("_")[2]).text,
    "a well-formed key of nobody": lambda key: mint("live" if key else "").text,
    "its hash": lambda key: "sf_live_" + "0" * 64 + key[:0],
    "SQL behind it": lambda key: key + "' or '1'='1",
}


@pytest.mark.parametrize("name", BROKEN)
async def test_what_is_not_the_key_is_refused(here: Ground, name: str):
    key = await here.people.key(here.people.owner)
    assert await status(here, BROKEN[name](key)) == 401
    assert await status(here, key) == 200


async def test_a_key_of_another_environment_is_another_key(here: Ground):
    """With a checksum of its own, so that the refusal comes from the secret."""
    key = await here.people.key(here.people.owner)
    assert await status(here, mint("test", public_id=key.split("_")[2]).text) == 401
    assert await status(here, key) == 200


ENDED: dict[str, dict[str, Any]] = {
    "revoked": {"revoked_at": datetime.now(UTC)},
    "expired": {"expires_at": datetime.now(UTC) - timedelta(seconds=1)},
    "expired years ago": {"expires_at": datetime.now(UTC) - timedelta(days=900)},
}


@pytest.mark.parametrize("name", ENDED)
async def test_a_key_that_ended_is_refused(here: Ground, name: str):
    assert await status(here, await here.people.key(here.people.owner, **ENDED[name])) == 401
    later = await here.people.key(here.people.owner, expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert await status(here, later) == 200


@pytest.mark.parametrize(
    ("ranges", "address", "expected"),
    [
        (["192.0.2.0/24"], "192.0.2.77", 200),
        (["192.0.2.0/24"], "192.0.3.1", 401),
        (["192.0.2.0/24"], "127.0.0.1", 401),
        (["192.0.2.7/32"], "192.0.2.7", 200),
        (["192.0.2.7/32"], "192.0.2.8", 401),
        (["2001:db8::/32"], "2001:db8::1", 200),
        (["2001:db8::/32"], "2001:db9::1", 401),
        (["192.0.2.0/24"], "::ffff:192.0.2.77", 200),
        (["192.0.2.0/24"], "::ffff:198.51.100.1", 401),
        (["192.0.2.0/24", "198.51.100.0/24"], "198.51.100.4", 200),
        (["192.0.2.0/24"], "", 401),
        (["192.0.2.0/24"], "testclient", 401),
        (["0.0.0.0/0"], "2001:db8::1", 401),
        (None, "203.0.113.9", 200),
    ],
)
async def test_a_key_counts_from_its_addresses_only(
    here: Ground, ranges: list[str] | None, address: str, expected: int
):
    key = await here.people.key(here.people.owner, ip_ranges=ranges)
    assert await status(here, key, address=address) == expected


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "True-Client-IP", "Client-IP"])
async def test_a_header_does_not_move_the_client_into_the_range(here: Ground, header: str):
    key = await here.people.key(here.people.owner, ip_ranges=["192.0.2.0/24"])
    told = {"Authorization": f"Bearer {key}", header: "for=192.0.2.1" if header == "Forwarded" else "192.0.2.1"}
    browser = here.browsers.new(address="203.0.113.9")
    assert (await browser.get("/api/v1/me", headers=told)).status_code == 401
    assert await status(here, key, address="192.0.2.1") == 200


async def rotate(here: Ground, key: str, key_id: str, **body: Any) -> Any:
    headers = {"Authorization": f"Bearer {key}"}
    return await here.browsers.new().http.post(f"/api/v1/api-keys/{key_id}/rotate", json=body, headers=headers)


async def own_key(here: Ground, *permissions: str) -> tuple[str, str]:
    key_id = new_id()
    key = await here.people.key(here.people.owner, id=key_id, permissions=list(permissions))
    return key, str(key_id)


async def test_a_rotated_key_has_two_secrets_for_the_overlap_and_one_afterwards(here: Ground):
    key, key_id = await own_key(here, "key.edit")
    answer = await rotate(here, key, key_id, overlap_s=3_600)
    assert answer.status_code == 200, answer.text
    fresh = answer.json()["key"]
    assert fresh.split("_")[2] == key.split("_")[2]  # the same key, in lists and logs
    assert [await status(here, each) for each in (key, fresh)] == [200, 200]
    async with begin(here.store, here.people.owner) as tx:
        await tx.execute("update api_keys set previous_until = now() where id = %s", (key_id,))
    assert [await status(here, each) for each in (key, fresh)] == [401, 200]


async def test_without_an_overlap_the_old_secret_ends_at_once(here: Ground):
    key, key_id = await own_key(here, "key.edit")
    fresh = (await rotate(here, key, key_id, overlap_s=0)).json()["key"]
    assert [await status(here, each) for each in (key, fresh)] == [401, 200]


async def test_two_rotations_leave_the_last_two_secrets(here: Ground):
    key, key_id = await own_key(here, "key.edit")
    second = (await rotate(here, key, key_id)).json()["key"]
    third = (await rotate(here, second, key_id)).json()["key"]
    assert [await status(here, each) for each in (key, second, third)] == [401, 200, 200]


async def test_a_revoked_key_has_no_secret_that_counts_and_gets_no_new_one(here: Ground):
    key, key_id = await own_key(here, "key.edit")
    other, _ = await own_key(here, "key.edit")
    fresh = (await rotate(here, key, key_id)).json()["key"]
    headers = {"Authorization": f"Bearer {other}"}
    assert (await here.browsers.new().http.delete(f"/api/v1/api-keys/{key_id}", headers=headers)).status_code == 204
    assert [await status(here, each) for each in (key, fresh)] == [401, 401]
    assert (await rotate(here, other, key_id)).json()["code"] == "key-over"


async def test_nobody_rotates_a_key_that_may_more_than_they(here: Ground):
    weak, _ = await own_key(here, "key.edit")
    _, strong_id = await own_key(here, "key.edit", "provider.edit")
    answer = await rotate(here, weak, strong_id)
    assert (answer.status_code, answer.json()["facts"]["lacking"]) == (403, ["provider.edit"])


async def test_nobody_rotates_another_persons_key(here: Ground):
    admin = await here.people.new(role="admin")
    key = await here.people.key(admin, permissions=["key.edit"])
    _, owners_id = await own_key(here, "key.edit")
    answer = await rotate(here, key, owners_id)
    assert answer.status_code == 403
    assert "another person's" in answer.json()["detail"]


async def test_nobody_makes_a_key_for_another_person(here: Ground):
    admin, somebody = await here.people.new(role="admin"), await here.people.new()
    key = await here.people.key(admin, permissions=["key.edit"])
    body = {"name": "theirs", "permissions": ["key.edit"], "user_id": str(somebody.id)}
    answer = await here.browsers.new().http.post(
        "/api/v1/api-keys", json=body, headers={"Authorization": f"Bearer {key}"}
    )
    assert (answer.status_code, answer.json()["facts"]["user_id"]) == (422, str(somebody.id))


@pytest.mark.parametrize("overlap", [-1, 2_592_001, 1e9, "3600", None, True])
async def test_an_overlap_out_of_bounds_is_refused(here: Ground, overlap: Any):
    key, key_id = await own_key(here, "key.edit")
    assert (await rotate(here, key, key_id, overlap_s=overlap)).status_code == 422
    assert await status(here, key) == 200


@pytest.mark.parametrize("text", ["192.0.2.1/24", "192.0.2.0/33", "everywhere", "", "192.0.2", "10.0.0.0-10.0.0.9"])
async def test_a_range_that_is_none_is_refused(here: Ground, text: str):
    key, _ = await own_key(here, "key.edit")
    body = {"name": "x", "permissions": ["key.edit"], "ip_ranges": [text]}
    answer = await here.browsers.new().http.post(
        "/api/v1/api-keys", json=body, headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 422


async def test_its_last_address_and_its_nearing_end_are_shown(here: Ground):
    key_id = new_id()
    soon = datetime.now(UTC) + timedelta(days=3)
    key = await here.people.key(here.people.owner, id=key_id, permissions=["key.edit"], expires_at=soon)
    browser = here.browsers.new(address="192.0.2.44")
    shown = await browser.get(f"/api/v1/api-keys/{key_id}", headers={"Authorization": f"Bearer {key}"})
    assert (shown.json()["last_used_address"], shown.json()["expires_soon"]) == ("192.0.2.44", True)
