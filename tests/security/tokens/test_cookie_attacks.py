"""Another site's page, a sibling domain, a planted cookie: what each can do with somebody's session."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from shopfloor.domain.access.cookies import cookie_name
from shopfloor.infra.web.edge import EdgeSettings
from signed_in import BASE, Browser, Browsers, Ground, make_app

pytestmark = pytest.mark.asyncio(loop_scope="module")

FORGED = {
    "another site's form": {"Sec-Fetch-Site": "cross-site", "Origin": "https://attacker.example"},
    "a sibling domain's page": {"Sec-Fetch-Site": "same-site", "Origin": "http://evil.127.0.0.1:8321"},
    "a bookmark": {"Sec-Fetch-Site": "none"},
    "another port": {"Origin": "http://127.0.0.1:9999", "Sec-Fetch-Site": "same-site"},
    "another site, in an old browser": {"Sec-Fetch-Site": "", "Origin": "https://attacker.example"},
    "a sandboxed frame": {"Sec-Fetch-Site": "", "Origin": "null"},
    "our name as a part of theirs": {"Sec-Fetch-Site": "", "Origin": "http://127.0.0.1:8321.attacker.example"},
    "our name as their user": {"Sec-Fetch-Site": "", "Origin": "http://127.0.0.1:8321@attacker.example"},
    "neither origin nor site": {"Sec-Fetch-Site": "", "Origin": ""},
    "no token": {"X-CSRF-Token": ""},
    "a wrong token": {"X-CSRF-Token": "0" * 64},
    "half a token": {"X-CSRF-Token": "HALF"},
    "foreign origin, right token": {"Origin": "https://attacker.example"},
    "foreign site, right token": {"Sec-Fetch-Site": "cross-site"},
    "a made-up site": {"Sec-Fetch-Site": "same-origin-really"},
}


async def signed_in(here: Ground) -> Browser:
    browser = here.browsers.new()
    assert (await browser.sign_in(await here.people.email(await here.people.new()))).status_code == 200
    return browser


@pytest.mark.parametrize("name", FORGED)
async def test_a_change_that_another_page_makes_is_refused_and_the_page_itself_may(here: Ground, name: str):
    browser = await signed_in(here)
    headers = dict(FORGED[name])
    if headers.get("X-CSRF-Token") == "HALF":
        headers["X-CSRF-Token"] = browser.csrf[:32]
    forged = await browser.send("PATCH", "/api/v1/me", json={"name": "Robbed"}, headers=headers)
    assert (forged.status_code, forged.json()["code"]) == (403, "request-forged")
    assert (await browser.get("/api/v1/me/profile")).json()["name"] == "Somebody"
    own = await browser.send("PATCH", "/api/v1/me", json={"name": "Me"})  # the positive control
    assert own.json()["name"] == "Me"


@pytest.mark.parametrize("path", ["sign-out", "sign-out-everywhere", "password", "ws-ticket", "email/verification"])
async def test_no_change_of_a_session_goes_without_its_token(here: Ground, path: str):
    browser = await signed_in(here)
    body = {"json": {"new": "another fake sentence"}} if path == "password" else {}
    forged = await browser.post(f"/api/v1/auth/{path}", headers={"X-CSRF-Token": ""}, **body)
    assert forged.status_code == 403
    assert (await browser.get("/api/v1/me")).status_code == 200


async def test_another_sessions_token_does_not_count(here: Ground):
    mine, attackers = await signed_in(here), await signed_in(here)
    headers = {"X-CSRF-Token": attackers.csrf}
    assert (await mine.send("PATCH", "/api/v1/me", json={"name": "x"}, headers=headers)).status_code == 403


async def test_the_token_sent_twice_does_not_count(here: Ground):
    browser = await signed_in(here)
    headers = [("Origin", BASE), ("X-CSRF-Token", browser.csrf), ("X-CSRF-Token", browser.csrf)]
    assert (await browser.http.patch("/api/v1/me", json={"name": "x"}, headers=headers)).status_code == 403


@pytest.mark.parametrize("name", ["another site's form", "a sibling domain's page", "a sandboxed frame"])
async def test_another_sites_page_signs_nobody_in(here: Ground, name: str):
    """Login CSRF: the victim would work in the attacker's account."""
    browser, email = here.browsers.new(), await here.people.email(await here.people.new())
    body = {"email": email, "password": "a fake sentence for tests only"}
    answer = await browser.post("/api/v1/auth/sign-in", json=body, headers=FORGED[name])
    assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
    assert (await browser.post("/api/v1/auth/sign-in", json=body)).status_code == 200


async def test_the_csrf_token_is_told_to_who_holds_the_cookie(here: Ground):
    browser = await signed_in(here)
    answer = await browser.get("/api/v1/auth/csrf")
    assert (answer.json(), answer.headers["cache-control"]) == ({"csrf_token": browser.csrf}, "no-store")
    assert "access-control-allow-origin" not in answer.headers
    assert (await here.browsers.new().get("/api/v1/auth/csrf")).status_code == 401


async def test_a_get_changes_nothing_of_a_session(here: Ground):
    browser = await signed_in(here)
    for path in ("auth/sign-out", "auth/sign-out-everywhere", "auth/ws-ticket", "auth/password"):
        assert (await browser.get(f"/api/v1/{path}")).status_code == 405
    assert (await browser.get("/api/v1/me")).status_code == 200


async def test_a_planted_session_does_not_become_the_victims(here: Ground):
    """Session fixation: what the browser had before it signed in is worth nothing afterwards."""
    attacker = await signed_in(here)
    planted = attacker.http.cookies["shopfloor"]
    victim = here.browsers.new()
    victim.http.cookies.set("shopfloor", planted, domain="127.0.0.1", path="/")
    somebody = await here.people.new()
    answer = await victim.sign_in(await here.people.email(somebody))
    assert answer.status_code == 200
    fresh = answer.headers["set-cookie"].split("=", 1)[1].partition(";")[0]
    assert fresh != planted
    assert (await attacker.get("/api/v1/me")).json()["id"] != str(somebody.id)


async def test_signing_in_twice_gives_two_secrets_and_two_ids(here: Ground):
    email = await here.people.email(await here.people.new())
    first, second = here.browsers.new(), here.browsers.new()
    one, two = (await first.sign_in(email)).json()["session"], (await second.sign_in(email)).json()["session"]
    assert one["id"] != two["id"]
    assert first.http.cookies["shopfloor"] != second.http.cookies["shopfloor"]


TOSSED = {
    "theirs first": "shopfloor={theirs}; shopfloor={mine}",
    "theirs last": "shopfloor={mine}; shopfloor={theirs}",
    "the same twice": "shopfloor={mine}; shopfloor={mine}",
    "with spaces": "shopfloor={mine};  shopfloor ={theirs}",
    "an empty one": "shopfloor={mine}; shopfloor=",
}


@pytest.mark.parametrize("name", TOSSED)
async def test_a_second_cookie_of_our_name_is_refused(here: Ground, name: str):
    mine, theirs = await signed_in(here), await signed_in(here)
    line = TOSSED[name].format(mine=mine.http.cookies["shopfloor"], theirs=theirs.http.cookies["shopfloor"])
    stranger = here.browsers.new()
    answer = await stranger.get("/api/v1/me", headers={"Cookie": line})
    assert answer.status_code == 401
    alone = f"other=1; shopfloor={mine.http.cookies['shopfloor']}; last=2"
    assert (await stranger.get("/api/v1/me", headers={"Cookie": alone})).status_code == 200


async def test_two_cookie_headers_count_as_one(here: Ground):
    mine, theirs = await signed_in(here), await signed_in(here)
    pairs = [("Cookie", f"shopfloor={each.http.cookies['shopfloor']}") for each in (mine, theirs)]
    assert (await here.browsers.new().http.get("/api/v1/me", headers=pairs)).status_code == 401


WORTHLESS = {
    "empty": "shopfloor=",
    "made up": "shopfloor=" + "A" * 43,
    "too short": "shopfloor=AAAA",
    "SQL": "shopfloor=' or 1=1 --",
    "a key": "shopfloor=sf_live_AAAAAAAAAAAA_" + "A" * 38,
    "the secure name over plain HTTP": "__Host-shopfloor={mine}",
    "another name": "Shopfloor={mine}",
    "quoted": 'shopfloor="{mine}"',
    "percent-encoded": "shopfloor=%41{mine}",
    "its hash": "shopfloor=" + "0" * 64,
}


@pytest.mark.parametrize("name", WORTHLESS)
async def test_a_cookie_that_is_not_a_session_opens_nothing(here: Ground, name: str):
    mine = await signed_in(here)
    line = WORTHLESS[name].format(mine=mine.http.cookies["shopfloor"])
    assert (await here.browsers.new().get("/api/v1/me", headers={"Cookie": line})).status_code == 401


async def test_over_https_the_cookie_is_bound_to_this_host(here: Ground):
    app = make_app(here.store, here.desk, EdgeSettings(https=True))
    browsers = Browsers(app)
    browser = browsers.new()
    answer = await browser.sign_in(await here.people.email(await here.people.new()))
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("__Host-shopfloor=")
    assert {"Secure", "HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert "omain" not in cookie
    secret = cookie.split("=", 1)[1].partition(";")[0]
    weak = await browser.get("/api/v1/me", headers={"Cookie": f"shopfloor={secret}"})
    good = await browser.get("/api/v1/me", headers={"Cookie": f"__Host-shopfloor={secret}"})
    assert (weak.status_code, good.status_code) == (401, 200)
    await browser.http.aclose()


@pytest.mark.parametrize(
    ("host", "https", "name"),
    [
        ("127.0.0.1:8321", False, "shopfloor"),
        ("localhost", False, "shopfloor"),
        ("[::1]:8321", False, "shopfloor"),
        ("localhost", True, "__Host-shopfloor"),
        ("shop.example.org", False, "__Host-shopfloor"),
        ("localhost.example.org", False, "__Host-shopfloor"),
        ("127.0.0.1.example.org", False, "__Host-shopfloor"),
        ("", False, "__Host-shopfloor"),
    ],
)
async def test_only_this_machine_over_plain_http_keeps_a_cookie_without_secure(host: str, https: bool, name: str):
    assert cookie_name(Headers({"host": host}), https=https) == name


async def test_a_key_needs_no_token_because_no_browser_sends_it_by_itself(here: Ground):
    key = await here.people.key(here.people.owner, permissions=["key.edit"])
    headers = {"Authorization": f"Bearer {key}", "Sec-Fetch-Site": "cross-site", "Origin": "https://other.example"}
    body = {"name": "more", "permissions": ["key.edit"]}
    made = await here.browsers.new().http.post("/api/v1/api-keys", json=body, headers=headers)
    assert made.status_code == 201


async def test_a_wrong_header_is_not_saved_by_a_good_cookie(here: Ground):
    browser = await signed_in(here)
    answer = await browser.get("/api/v1/me", headers={"Authorization": "Bearer wrong"})
    assert answer.status_code == 401
