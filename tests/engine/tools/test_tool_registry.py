from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from shopfloor.base.errors import InvalidInput, SettingsError
from shopfloor.engine.tools import registry
from shopfloor.engine.tools.context import NoArtifacts, ToolContext
from shopfloor.engine.tools.plan import UPDATE_PLAN
from shopfloor.engine.tools.registry import BUILT_IN, FINISH, all_tools, collect, pick
from shopfloor.engine.tools.tool import Tool
from shopfloor.testing.folder_workspace import FolderWorkspace

NAMES = {
    "shell",
    "read_file",
    "list_files",
    "grep",
    "write_file",
    "edit_file",
    "apply_patch",
    "update_plan",
    "run_tests",
}
NAMES |= {"git_diff", "delegate"}

IMPOSTOR = Tool("shell", "d", UPDATE_PLAN.arguments, UPDATE_PLAN.run)
TAKES_FINISH = Tool(FINISH, "d", UPDATE_PLAN.arguments, UPDATE_PLAN.run)
OWN = Tool("own", "d", UPDATE_PLAN.arguments, UPDATE_PLAN.run)
NO_TOOL = "just a text"


def point(name: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{name}", registry.GROUP)


def test_the_built_in_tools_are_registered_and_finish_is_not_among_them() -> None:
    assert set(all_tools()) >= NAMES
    assert {tool.name for tool in BUILT_IN} == NAMES
    assert FINISH not in all_tools()


@pytest.mark.parametrize("name", sorted(NAMES))
def test_each_tool_describes_itself_and_bounds_its_arguments(name: str) -> None:
    tool = all_tools()[name]
    schema = tool.arguments.model_json_schema()
    assert len(tool.description) > 30
    assert schema["additionalProperties"] is False
    for field, shape in schema["properties"].items():
        options = [shape, *shape.get("anyOf", [])]
        texts = [option for option in options if option.get("type") == "string" and "enum" not in option]
        assert all("maxLength" in text or "pattern" in text for text in texts), field
        numbers = [option for option in options if option.get("type") == "integer"]
        assert all({"minimum", "maximum"} <= number.keys() for number in numbers), field


def test_a_package_adds_tools_but_takes_no_name() -> None:
    assert collect([point("OWN")])["own"] is OWN
    for wrong in ("IMPOSTOR", "TAKES_FINISH"):
        with pytest.raises(SettingsError, match="which is taken"):
            collect([point(wrong)])
    with pytest.raises(SettingsError, match="not a Tool"):
        collect([point("NO_TOOL")])


def test_unknown_tools_are_named_with_those_there_are() -> None:
    assert [tool.name for tool in pick(["grep", "finish", "grep"])] == ["grep"]
    with pytest.raises(InvalidInput, match="unknown tools: gerp; there are apply_patch"):
        pick(["gerp"])


async def test_a_run_that_can_not_delegate_says_so(tmp_path: Path) -> None:
    context = ToolContext(workspace=FolderWorkspace(tmp_path / "w"), artifacts=NoArtifacts())
    result = await all_tools()["delegate"].invoke({"agent": "review", "task": "x"}, context)
    assert "can't delegate" in result.text
    long = await all_tools()["shell"].invoke({"command": "head -c 90000 /dev/zero | tr '\\0' x"}, context)
    assert (long.artifact, "the rest was not kept" in long.text) == (None, True)
