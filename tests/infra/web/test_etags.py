"""ETags and idempotency keys."""

import pytest
from fastapi import FastAPI, Request, Response

from shopfloor.base.errors import InvalidInput, PreconditionFailed
from shopfloor.infra.web.edge import EdgeSettings
from shopfloor.infra.web.etags import cache_headers, etag_of, not_modified, require_match
from shopfloor.infra.web.idempotency import fingerprint, idempotency_key
from shopfloor.infra.web.plumbing import install_plumbing


@pytest.fixture
def app():
    app = FastAPI()
    state = {"version": 7}

    @app.get("/thing")
    async def get(request: Request, response: Response):
        etag = etag_of(state["version"])
        if unchanged := not_modified(request, etag):
            return unchanged
        response.headers.update(cache_headers(etag))
        return state

    @app.put("/thing")
    async def put(request: Request):
        require_match(request, etag_of(state["version"]))
        state["version"] += 1
        return state

    @app.post("/key")
    async def key(request: Request):
        return {"key": idempotency_key(request)}

    install_plumbing(app, edge=EdgeSettings(allowed_hosts=("*",)))
    return app


async def test_a_reader_who_is_up_to_date_gets_304_and_no_shared_cache_keeps_it(app, client_of):
    async with client_of(app) as client:
        first = await client.get("/thing")
        assert (first.status_code, first.headers["etag"], first.headers["cache-control"]) == (
            200,
            '"7"',
            "private, no-cache",
        )
        for tags in ('"7"', 'W/"7"', '"1", "7"', "*"):
            again = await client.get("/thing", headers={"If-None-Match": tags})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", '"7"')
        for tags in ('"6"', "7", '"77"'):
            assert (await client.get("/thing", headers={"If-None-Match": tags})).status_code == 200


async def test_a_writer_must_name_the_newest_version(app, client_of):
    async with client_of(app) as client:
        assert (await client.put("/thing")).status_code == 428
        stale = await client.put("/thing", headers={"If-Match": '"6"'})
        assert (stale.status_code, stale.json()["facts"]) == (412, {"current_etag": '"7"'})
        assert (await client.put("/thing", headers={"If-Match": 'W/"7"'})).status_code == 412
        assert (await client.put("/thing", headers={"If-Match": '"7"'})).json() == {"version": 8}
        assert (await client.put("/thing", headers={"If-Match": '"7"'})).status_code == 412
        assert (await client.put("/thing", headers={"If-Match": "*"})).json() == {"version": 9}


async def test_a_header_full_of_tags_is_refused(app, client_of):
    async with client_of(app) as client:
        tags = ", ".join(f'"{n}"' for n in range(1000))
        assert (await client.get("/thing", headers={"If-None-Match": tags})).status_code == 422


def test_variants_of_one_version_have_their_own_tags():
    assert etag_of(3, variant="admin") == '"3-admin"'
    assert etag_of(3) != etag_of(3, variant="x")


def test_the_version_alone_names_every_variant_to_a_writer_and_another_variant_none():
    def sent(tag: bytes) -> Request:
        return Request({"type": "http", "headers": [(b"if-match", tag)]})

    require_match(sent(b'"3"'), etag_of(3, variant="acme"))
    require_match(sent(b'"3-acme"'), etag_of(3, variant="acme"))
    for tag in (b'"2"', b'"3-other"', b'"2-acme"'):
        with pytest.raises(PreconditionFailed):
            require_match(sent(tag), etag_of(3, variant="acme"))


@pytest.mark.parametrize(
    ("sent", "status"),
    [("abc", 200), ("x" * 255, 200), ("x" * 256, 422), ("", 422), ("a b", 422), ("ä", 422)],
)
async def test_an_idempotency_key_is_visible_ascii_of_bounded_length(app, client_of, sent, status):
    async with client_of(app) as client:
        answer = await client.post("/key", headers=[(b"Idempotency-Key", sent.encode("latin-1"))])
        assert answer.status_code == status
        assert (await client.post("/key")).json() == {"key": None}
        twice = [(b"Idempotency-Key", b"a"), (b"Idempotency-Key", b"b")]
        assert (await client.post("/key", headers=twice)).status_code == 422


def test_two_requests_are_the_same_whatever_the_order_of_their_names():
    assert fingerprint("post", "/jobs", {"a": 1, "b": [1, 2]}) == fingerprint("POST", "/jobs", {"b": [1, 2], "a": 1})
    different = {
        fingerprint("POST", "/jobs", {"a": 1}),
        fingerprint("POST", "/jobs", {"a": "1"}),
        fingerprint("POST", "/jobs", {"a": True}),
        fingerprint("POST", "/jobs/", {"a": 1}),
        fingerprint("PUT", "/jobs", {"a": 1}),
        fingerprint("POST", "/jobs", None),
    }
    assert len(different) == 6
    assert InvalidInput.status == 422
