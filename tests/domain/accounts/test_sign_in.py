"""The way in and out: passwords, cookies, tokens, and what ends them."""

from __future__ import annotations

PASSWORD = "a fake sentence for tests only"
REFUSED = {401: "sign-in-refused"}


async def test_a_browser_gets_a_cookie_that_scripts_cannot_read(browsers, people):
    somebody = await people.new()
    browser = browsers.new()
    answer = await browser.sign_in(await people.email(somebody))
    assert answer.status_code == 200, answer.text
    session = answer.json()["session"]
    assert (session["user_id"], session["access_token"], session["refresh_token"]) == (str(somebody.id), None, None)
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith("shopfloor=")
    assert {"HttpOnly", "SameSite=lax", "Path=/"} <= set(cookie.split("; "))
    assert "Domain" not in cookie
    assert answer.headers["cache-control"] == "no-store"
    me = (await browser.get("/api/v1/me")).json()
    assert (me["kind"], me["id"]) == ("user", str(somebody.id))


async def test_a_program_gets_tokens_and_no_cookie(browsers, people):
    email = await people.email(await people.new())
    browser = browsers.new()
    body = {"email": email, "password": PASSWORD, "kind": "token"}
    answer = await browser.post("/api/v1/auth/sign-in", json=body)
    session = answer.json()["session"]
    assert "set-cookie" not in answer.headers
    assert session["expires_in_s"] == 600
    bearer = {"Authorization": f"Bearer {session['access_token']}"}
    assert (await browsers.new().get("/api/v1/me", headers=bearer)).status_code == 200
    keys = (await browser.get("/.well-known/jwks.json")).json()["keys"]
    assert [(key["kty"], key["crv"], key["alg"], "d" in key) for key in keys] == [
        ("OKP", "Ed25519", "EdDSA", False)
    ] * 2
