"""Schemathesis over the application's own document: no error 500, no answer that the document doesn't promise."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from infra.web.conftest import served
from security.api.routes import DOCUMENT, OPERATIONS, Operation
from security.api.tenants import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = Path(__file__).parent / "schemathesis.toml"


async def fuzz(shop: Shop, folder: Path, *options: str, examples: bool = False) -> tuple[int, str]:
    """Exit code and report of a run against the real server; with `examples` at addresses that exist."""
    document, config = folder / "openapi.json", folder / "schemathesis.toml"
    document.write_text(json.dumps(DOCUMENT), encoding="utf-8")
    more = [await _at_an_example(shop, each) for each in OPERATIONS if each.path_parameters] if examples else []
    config.write_text("\n".join([CONFIG.read_text(encoding="utf-8"), *more]), encoding="utf-8")
    async with served(shop.app) as (url, _):
        fuzzing = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run", str(document),
            "--url", url, "--header", f"Authorization: Bearer {shop.acme.key}", "--checks", "all",
            "--continue-on-failure", *options,
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


@pytest.mark.timeout(120)
async def test_no_request_gets_an_answer_that_is_not_documented(shop: Shop, tmp_path: Path):
    options = ("--phases", "fuzzing", "--max-examples", "3", "--max-time", "10", "--seed", "1")
    code, report = await fuzz(shop, tmp_path, *options, examples=True)
    print(report)
    assert code == 0, report


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("examples", [True, False], ids=["at addresses that exist", "at any address"])
async def test_nor_does_any_of_many_requests(shop: Shop, tmp_path: Path, examples: bool):
    phases = "examples,coverage,fuzzing" if examples else "coverage,fuzzing,stateful"  # which makes its own
    options = ("--phases", phases, "--max-time", "75")
    code, report = await fuzz(shop, tmp_path, *options, examples=examples)
    print(report)
    assert code == 0, report
