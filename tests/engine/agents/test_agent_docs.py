from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from shopfloor.engine.agents.outcome import Ending
from shopfloor.engine.agents.registry import builtin_agents
from shopfloor.engine.agents.spec import AgentSpec, parse_spec
from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.policy import ToolPolicy
from shopfloor.engine.tools.registry import all_tools
from shopfloor.testing.folder_workspace import FolderWorkspace

DOCS = Path(__file__).parents[3] / "docs"
HOW_TO = (DOCS / "how-to" / "add-an-agent.md").read_text("utf-8")
AGENTS = (DOCS / "reference" / "agents.md").read_text("utf-8")
TOOLS = (DOCS / "reference" / "tools.md").read_text("utf-8")


def block(text: str, language: str, number: int = 0) -> str:
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)[number]


def test_the_reference_names_every_agent_ending_tool_and_policy_field() -> None:
    assert [spec.name for spec in builtin_agents() if f"| `{spec.name}` |" not in AGENTS] == []
    assert [e.value for e in Ending if f"| `{e.value}` |" not in AGENTS and e is not Ending.CANCELLED] == []
    assert [name for name in all_tools() if f"| `{name}` |" not in TOOLS] == []
    assert [name for name in ToolPolicy.model_fields if f"| `{name}` |" not in TOOLS and name != "within"] == []


def test_the_reference_says_truly_which_agents_change_files() -> None:
    rows = {
        row[0]: row[1] for row in re.findall(r"^\| `([a-z-]+)` \| [^|]* \| (yes|no) \|", AGENTS, flags=re.MULTILINE)
    }
    assert rows == {spec.name: "no" if spec.read_only else "yes" for spec in builtin_agents()}


@pytest.fixture
def documented() -> AgentSpec:
    return parse_spec(block(HOW_TO, "yaml"), source="add-an-agent.md")


async def test_the_documented_spec_and_its_test_work(documented: AgentSpec, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents" / "release-notes.yaml").write_text(block(HOW_TO, "yaml"))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(block(HOW_TO, "python", 1), names)
    await names["test_it_writes_where_it_may"](tmp_path)
    assert documented.output_model.model_validate({"version": "1.2.0", "highlights": []})


async def test_the_documented_tool_works(tmp_path: Path) -> None:
    names: dict[str, Any] = {}
    exec(block(TOOLS, "python"), names)
    workspace = FolderWorkspace(tmp_path / "work")
    await workspace.write_file("a", b"1\n2\n")
    result = await names["COUNT_LINES"].invoke({"path": "a"}, ToolContext(workspace=workspace))
    assert result.text == "2 lines"
