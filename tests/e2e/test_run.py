"""`shopfloor run` on a repository of one's own, with no server."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from e2e_installation import Done, Installation, mock
from shopfloor.testing import sample_project

pytestmark = [pytest.mark.docker]

REPAIR = r"""
replies:
  - tool_calls: [{name: read_file, arguments: {path: pricing/rounding.py}}]
    text: "\e]0;owned\a\e[2J\e[31mLooking\e[0m"
  - tool_calls:
      - name: edit_file
        arguments:
          path: pricing/rounding.py
          old: "    return round(amount_cents * percent / 100)\n"
          new: |2
                share = (abs(amount_cents) * percent + 50) // 100
                return share if amount_cents >= 0 else -share
  - tool_calls: [{name: finish, arguments: from-schema}]
"""
PRICE = ("price", "set", "mock/test", "--input", "3", "--output", "15", "--cache-read", "0.3")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    sample_project.create(tmp_path / "shop")
    return tmp_path / "shop"


async def _run(installation: Installation, repository: Path, url: str, *words: str) -> Done:
    environ = {"MOCK_PROVIDER_URL": url, "MOCK_PROVIDER_API_KEY": "sk-mock-e2e"}
    priced = await installation.cli(*PRICE, **environ)
    assert priced.code == 0, priced.err
    return await installation.cli(
        "run", "--repo", str(repository), "--model", "mock/test", *words, "Repair the rounding.", **environ
    )


async def test_a_repository_of_ones_own_is_repaired_with_a_key_from_the_environment(
    installation: Installation, repository: Path
):
    (repository / "notes.txt").write_text("not committed\n")
    (repository / "tests" / "test_rounding.py").open("a").write("\n# a change that is not committed\n")
    async with mock(REPAIR) as server:
        done = await _run(installation, repository, server.openai_url, "--include-uncommitted", "--apply")

    assert done.code == 0, done.out + done.err
    assert "succeeded   verified" in done.out
    assert "Looking" in done.out
    assert "\x1b" not in done.out
    assert "owned" not in done.out, "a title for the terminal is no text"
    assert "sk-mock" not in done.out + done.err
    assert "share if amount_cents >= 0" in (repository / "pricing/rounding.py").read_text()
    assert (repository / "notes.txt").exists()
    assert _commits(repository) == 1, "the person's branches are theirs"


def _commits(repository: Path) -> int:
    log = subprocess.run(["git", "log", "--oneline"], cwd=repository, capture_output=True, text=True, check=True)
    return len(log.stdout.splitlines())


async def test_a_server_of_ones_own_without_a_key_needs_a_price_and_nothing_else(
    installation: Installation, repository: Path
):
    """docs/how-to/openai-compatible.md, "In one terminal"; and `run` takes up no job but its own."""
    keyless = 'keys: ["*"]\n' + REPAIR
    async with mock(keyless) as server:
        ollama = {"OLLAMA_BASE_URL": server.openai_url}
        run = ("run", "--repo", str(repository), "--model", "ollama/qwen3-coder:30b", "fix the failing test")
        unpriced = await installation.cli(*run, **ollama)
        assert (unpriced.code, "shopfloor price set ollama/qwen3-coder:30b" in unpriced.err) == (2, True), unpriced.err
        price = ("price", "set", "ollama/qwen3-coder:30b", "--input", "0", "--output", "0")
        assert (await installation.cli(*price)).code == 0
        other = await installation.cli("job", "submit", "another's", "--model", "ollama/qwen3-coder:30b", **ollama)
        done = await installation.cli(*run, "--json", **ollama)

    assert done.code == 0, done.out + done.err
    assert (done.json["verified"], done.json["cost_nanos"]) == (True, 0)
    assert (await installation.job(other.out.strip()))["state"] == "queued"


async def test_a_claim_that_the_checks_refute_is_no_success(installation: Installation, repository: Path):
    lies = "replies: [{tool_calls: [{name: finish, arguments: from-schema}]}]"
    async with mock(lies) as server:
        done = await _run(installation, repository, server.openai_url, "--json")

    job = json.loads(done.out)
    assert (done.code, job["state"], job["verified"]) == (1, "succeeded", False)
    assert "NOT verified" in done.err


async def test_a_limit_of_money_ends_it_with_its_own_exit_code(installation: Installation, repository: Path):
    async with mock(REPAIR) as server:
        done = await _run(installation, repository, server.openai_url, "--cost-usd", "0.0001")

    assert done.code == 6, done.out + done.err
    assert server.bill().cost_nanos == 0


async def test_what_cannot_work_is_said_before_anything_is_stored(
    installation: Installation, repository: Path, tmp_path: Path
):
    here = ("run", "--repo", str(repository), "do it")
    no_key = await installation.cli(*here, "--model", "anthropic/claude-sonnet-5")
    assert (no_key.code, "ANTHROPIC_API_KEY" in no_key.err) == (2, True)
    no_model = await installation.cli(*here)
    assert (no_model.code, "No model is named" in no_model.err) == (2, True)
    unknown = await installation.cli(*here, "--model", "nowhere/x")
    assert (unknown.code, "provider add nowhere" in unknown.err) == (2, True)
    no_engine = await installation.cli(
        *here, "--model", "mock/x", SHOPFLOOR_SANDBOX__ENGINE_URL=f"unix://{tmp_path}/none.sock"
    )
    assert (no_engine.code, "scripts/engine start" in no_engine.err) == (1, True)
    no_image = await installation.cli(*here, "--model", "mock/x", SHOPFLOOR_SANDBOX__IMAGE="nobody/has:this")
    assert (no_image.code, "shopfloor image build" in no_image.err) == (1, True)
    no_folder = await installation.cli(
        "run",
        "--repo",
        str(tmp_path / "none"),
        "--model",
        "mock/x",
        "do it",
        MOCK_PROVIDER_URL="http://127.0.0.1:9/v1",
    )
    assert (no_folder.code, "There is no folder" in no_folder.err) == (4, True)
    assert (await installation.cli("job", "list")).out == ""
