"""Schemathesis over the application's own document: no error 500, no answer that the document doesn't promise."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.web.conftest import served
from security.api.routes import DOCUMENT, OPERATIONS, Operation
from security.api.tenants import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")

LONG_S = int(os.environ.get("FUZZ_S", "0"))  # a run of each kind
CONFIG = Path(__file__).parent / "schemathesis.toml"
# They ask the example's identity provider, where nothing answers: a 503 as documented, but a server error all the same.
ASKS_A_PROVIDER = {"GET /api/v1/auth/oidc/{provider_id}/start", "POST /api/v1/identity-providers/{provider_id}/test"}


async def fuzz(
    shop: Shop, folder: Path, *options: str, examples: bool = False, document: dict[str, Any] = DOCUMENT
) -> tuple[int, str]:
    """Exit code and report of a run against the real server; with `examples` at addresses that exist."""
    source, config = folder / "openapi.json", folder / "schemathesis.toml"
    source.write_text(json.dumps(document), encoding="utf-8")
    known = [each for each in OPERATIONS if each.path_parameters and str(each) not in ASKS_A_PROVIDER]
    more = [await _at_an_example(shop, each) for each in known] if examples else []
    config.write_text("\n".join([CONFIG.read_text(encoding="utf-8"), *more]), encoding="utf-8")
    async with served(shop.app) as (url, _):
        fuzzing = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", str(source),
            "--url", url, "--header", f"Authorization: Bearer {shop.acme.key}", "--checks", "all",
            "--continue-on-failure", "--request-timeout", "60", *options,
            cwd=folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        report, _ = await fuzzing.communicate()
    return fuzzing.returncode or 0, report.decode("utf-8", "replace")


async def _at_an_example(shop: Shop, asked: Operation) -> str:
    """Parts of a schemathesis.toml: the path's parameters are those of something that acme has."""
    path = await shop.acme.path_of(asked.path)
    steps = zip(asked.path.split("/"), path.split("/"), strict=True)
    values = ", ".join(f'"path.{step[1:-1]}" = {json.dumps(value)}' for step, value in steps if step.startswith("{"))
    return f'[[operations]]\ninclude-name = "{asked}"\nparameters = {{ {values} }}\n'


@pytest.mark.timeout(400)
@pytest.mark.parametrize("examples", [True, False], ids=["at addresses that exist", "at any address"])
async def test_no_request_gets_an_answer_that_is_not_documented(
    shop: Shop, tmp_path: Path, examples: bool, record_property: Any
):
    """Alike each time, and a few seconds long, unless `make test-security` gives it more."""
    phases = "examples,coverage,fuzzing" if examples else "coverage,fuzzing,stateful"  # which makes its own
    options = ["--phases", phases if LONG_S else phases.rpartition(",")[2], "--max-time", str(LONG_S or 7)]
    code, report = await fuzz(shop, tmp_path, *options, *([] if LONG_S else ["--seed", "1"]), examples=examples)
    assert code == 0, report
    [generated] = re.findall(r"(\d+) generated", report)
    assert int(generated) > 10, report
    record_property("cases", int(generated))


async def test_an_answer_that_is_not_documented_is_found(shop: Shop, tmp_path: Path):
    """The positive control: the same run against a document that promises another answer."""
    path = "/api/v1/me"
    said = {"200": {"description": "x", "content": {"application/json": {"schema": {"type": "array"}}}}}
    promised = {**DOCUMENT, "paths": {path: {"get": {"operationId": "me", "responses": said}}}}
    code, report = await fuzz(shop, tmp_path, "--phases", "fuzzing", "--max-examples", "2", document=promised)
    assert code == 1, report
    assert "Response violates schema" in report
