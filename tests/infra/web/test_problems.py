"""Every error is one problem+json, tells nothing of the inside, and is documented."""

from enum import Enum
from typing import Annotated, Literal
from uuid import UUID

import pytest
import structlog
from fastapi import FastAPI, Query
from pydantic import Field, StringConstraints
from starlette.exceptions import HTTPException

from shopfloor.base.errors import Conflict, NotFound, NotSignedIn, Unavailable
from shopfloor.infra.web.edge import EdgeSettings
from shopfloor.infra.web.json_body import Body
from shopfloor.infra.web.openapi import problems
from shopfloor.infra.web.plumbing import install_plumbing
from shopfloor.infra.web.problems import bounded_facts
from shopfloor.infra.web.wording import worded


class Cat(Body):
    kind: Literal["cat"]


class Dog(Body):
    kind: Literal["dog"]


class Colour(Enum):
    RED = "red"


class Thing(Body):
    name: Annotated[str, Field(max_length=10)]
    count: int = 0
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    colour: Colour | None = None
    id: UUID | None = None


class Budget(Conflict):
    """A conflict of this test."""

    title = "No budget left"


@pytest.fixture
def app():
    app = FastAPI()

    @app.post("/things/{thing_id}", responses=problems(Budget, Conflict))
    async def post_thing(thing_id: int, body: Thing) -> dict[str, int]:
        return {"id": thing_id}

    @app.get("/things", responses=problems(Unavailable))
    async def list_things(limit: Annotated[int, Query(ge=1, le=5)] = 1) -> list[int]:
        return [limit]

    @app.put("/things")
    async def put_things() -> None: ...

    @app.get("/raise/{what}")
    async def fail(what: str):
        raise {
            "conflict": Conflict("it runs already", job_id="j-1", odd=float("nan"), big=2**80),
            "unavailable": Unavailable("the database rests", retry_after_s=1.2),
            "not-signed-in": NotSignedIn("send a key"),
            "teapot": HTTPException(418, "short and stout"),
            "crash": RuntimeError("fake-secret-inside at /srv/private.py"),
        }[what]

    install_plumbing(app, edge=EdgeSettings(allowed_hosts=("localhost",)))
    return app


async def test_a_known_error_becomes_a_problem_with_its_facts(app, client_of):
    async with client_of(app) as client:
        answer = await client.get("/raise/conflict", headers={"X-Request-Id": "req-00001"})
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json() == {
        "type": "/errors/conflict",
        "title": "Conflicts with the present state",
        "status": 409,
        "detail": "it runs already",
        "code": "conflict",
        "retryable": False,
        "instance": "urn:shopfloor:request:req-00001",
        "facts": {"job_id": "j-1", "odd": "nan", "big": str(2**80)},
    }


async def test_a_text_of_the_wrong_form_is_told_what_form_it_has(app, client_of):
    class Named(Body):
        slug: Annotated[str, StringConstraints(pattern=worded(r"^[a-z]{1,9}$", "Write 1 to 9 small letters."))]
        other: Annotated[str, StringConstraints(pattern=r"^[0-9]+$")] = "1"

    @app.post("/named")
    async def named(body: Named) -> None: ...

    answer = await client_of(app).post("/named", json={"slug": "A", "other": "x"})
    details = [each["detail"] for each in answer.json()["errors"]]
    assert details == ["Write 1 to 9 small letters.", "String should match pattern '^[0-9]+$'"]


async def test_the_time_to_wait_and_the_way_to_sign_in_are_headers_too(app, client_of):
    async with client_of(app) as client:
        assert (await client.get("/raise/unavailable")).headers["retry-after"] == "2"
        assert (await client.get("/raise/not-signed-in")).headers["www-authenticate"] == "Bearer"


async def test_a_defect_tells_an_error_id_and_nothing_else_and_the_log_has_the_rest(app, client_of):
    with structlog.testing.capture_logs() as logs:
        async with client_of(app) as client:
            answer = await client.get("/raise/crash")
    assert answer.status_code == 500
    assert "fake-secret-inside" not in answer.text
    assert "RuntimeError" not in answer.text
    crashed = [line for line in logs if line["event"] == "request.crashed"]
    assert [line["error_id"] for line in crashed] == [answer.json()["facts"]["error_id"]]
    assert str(crashed[0]["exc_info"]) == "fake-secret-inside at /srv/private.py"
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_defect_behind_a_real_server_is_answered_and_not_logged_a_second_time(app, serve, caplog):
    import httpx2

    async with serve(app) as (url, _), httpx2.AsyncClient() as client:
        answer = await client.get(f"{url}/raise/crash", headers={"Host": "localhost"})
    assert answer.json()["code"] == "unexpected-error"
    assert [record for record in caplog.records if record.name == "uvicorn.error" and record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not-found"),
        ("DELETE", "/things", 405, "method-not-allowed"),
        ("GET", "/raise/teapot", 418, "request-refused"),
        ("GET", "/things?limit=6", 422, "invalid-input"),
    ],
)
async def test_the_frameworks_own_refusals_have_the_same_shape(app, client_of, method, path, status, code):
    async with client_of(app) as client:
        answer = await client.request(method, path)
    assert (answer.status_code, answer.json()["code"], answer.json()["status"]) == (status, code, status)
    assert answer.headers["content-type"] == "application/problem+json"
    if status == 405:
        assert answer.headers["allow"] == "GET, PUT"


async def test_a_field_that_does_not_fit_is_named_and_its_value_never_told_back(app, client_of):
    sent = {
        "name": "fake-password-longer-than-ten",
        "count": "canary-1",
        "pet": {"kind": "canary-2"},
        "colour": "canary-3",
        "id": "canary-4",
        "ex/tra": "canary-5",
    }
    async with client_of(app) as client:
        answer = await client.post("/things/canary-6", json=sent)
    assert answer.status_code == 422
    assert "canary" not in answer.text
    assert "fake-password" not in answer.text
    found = {(error["in"], error["pointer"], error["code"]) for error in answer.json()["errors"]}
    assert found == {
        ("path", "/thing_id", "int_parsing"),
        ("body", "/name", "string_too_long"),
        ("body", "/count", "int_type"),
        ("body", "/pet", "union_tag_invalid"),
        ("body", "/colour", "enum"),
        ("body", "/id", "uuid_parsing"),
        ("body", "/ex~1tra", "extra_forbidden"),
    }


async def test_a_thousand_wrong_fields_are_counted_but_twenty_are_told(app, client_of):
    async with client_of(app) as client:
        answer = await client.post("/things/1", json={f"unknown{n}": n for n in range(1000)})
    assert answer.json()["detail"].startswith("1001 fields")
    assert len(answer.json()["errors"]) == 20
    assert len(answer.content) < 10_000


def test_facts_are_bounded_in_every_direction():
    deep: object = "end"
    for _ in range(50):
        deep = {"in": deep}
    facts = bounded_facts(
        {
            "long": "x" * 10_000,
            "deep": deep,
            "many": list(range(1000)),
            "secret": "fake",
            "key": "sk-ant-FAKEfakeFAKE",
            "half": "\ud800",
            **{f"n{n}": n for n in range(100)},
        }
    )
    assert len(facts) == 20
    assert len(str(facts["long"])) == 503
    assert len(facts["many"]) == 20
    assert facts["secret"] == facts["key"] == "[redacted]"
    assert facts["half"] == "?"
    assert len(str(facts)) < 5_000


def test_problems_groups_errors_of_one_status_with_an_example_each():
    responses = problems(Conflict, Budget, NotFound)
    assert set(responses) == {404, 409}
    examples = responses[409]["content"]["application/problem+json"]["examples"]
    assert set(examples) == {"conflict", "budget"}
    assert examples["budget"]["value"]["title"] == "No budget left"


def test_the_openapi_document_has_one_problem_schema_and_every_routes_errors(app):
    document = app.openapi()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    assert document["components"]["schemas"]["Problem"]["required"][0] == "type"
    post = document["paths"]["/things/{thing_id}"]["post"]["responses"]
    assert {"200", "400", "401", "403", "404", "408", "409", "413", "415", "422", "429", "431", "500"} == set(post)
    assert set(post["409"]["content"]["application/problem+json"]["examples"]) == {"budget", "conflict"}
    listed = document["paths"]["/things"]["get"]["responses"]
    assert {"200", "400", "401", "403", "408", "413", "415", "422", "429", "431", "500", "503"} == set(listed)
    assert list(post["422"]["content"]) == ["application/problem+json"]
