from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shopfloor.base.errors import NotFound
from shopfloor.engine.agents.outcome import Ending
from shopfloor.engine.agents.registry import all_agents, builtin_agents, find_agent
from shopfloor.engine.agents.spec import AgentSpec, SpecInvalid, load_spec, parse_spec
from shopfloor.engine.tools.registry import all_tools
from shopfloor.testing.scripted_model import call, finish, reply

NAMES = ["architect", "backend", "coding", "deployment", "frontend", "monitoring", "planner", "review", "testing"]
MINIMAL = "name: mine\ndescription: Mine.\ninstructions: Do it.\n"
TASK = {"id": "a", "title": "A", "description": "Do a", "accepted_when": ["make test passes"]}
STORY = {"id": "a", "title": "A", "value": "all", "accepted_when": ["it works"], "priority": 1}
CHANGES: dict[str, Any] = {
    "summary": "done",
    "changes": [{"path": "a.py", "what": "fixed"}],
    "tests": ["pytest: 3 passed"],
}
OUTPUTS: dict[str, dict[str, Any]] = {
    "architect": {
        "title": "T",
        "context": "C",
        "design": "D",
        "tasks": [TASK, TASK | {"id": "b", "depends_on": ["a"]}],
    },
    "backend": CHANGES,
    "coding": CHANGES,
    "deployment": {
        "summary": "s",
        "strategy": "canary",
        "steps": [{"title": "t", "verify": "v", "rollback": "r", "commands": ["true"]}],
    },
    "frontend": CHANGES,
    "monitoring": {
        "title": "t",
        "impact": "i",
        "status": "resolved",
        "root_cause": "r",
        "confidence": "low",
        "timeline": [{"at": "10:00Z", "what": "w", "evidence": "log:1"}],
    },
    "planner": {"goal": "g", "stories": [STORY]},
    "review": {
        "verdict": "request-changes",
        "summary": "s",
        "findings": [
            {"path": "a.py", "line": 3, "severity": "major", "title": "t", "why": "w", "fix": "f"},
        ],
    },
    "testing": {
        "summary": "s",
        "command": "pytest",
        "passed": 2,
        "failed": 0,
        "added": [{"name": "n", "path": "p", "proves": "x", "failed_first": True}],
    },
}


def test_there_is_an_agent_for_each_part_of_the_life_cycle() -> None:
    assert [spec.name for spec in builtin_agents()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_spec_names_tools_and_agents_that_exist_and_says_something(name: str) -> None:
    spec = find_agent(name)
    assert set(spec.tools) <= set(all_tools())
    assert set(spec.delegates) <= set(NAMES)
    assert len(spec.instructions_text) > 1_000


@pytest.mark.parametrize("name", ["architect", "review", "planner"])
def test_agents_that_only_judge_have_no_tool_that_changes_anything(name: str) -> None:
    spec = find_agent(name)
    assert spec.read_only
    assert spec.policy.commands == "none"
    assert spec.policy.writable == ()
    assert all(find_agent(other).read_only for other in spec.delegates)
    assert not find_agent("coding").read_only  # the control


@pytest.mark.parametrize("name", NAMES)
async def test_each_agent_finishes_with_its_own_output(name: str, run: Any) -> None:
    result = await run([reply(call("list_files", {})), finish(**OUTPUTS[name])], spec=name)
    assert (result.ending, result.turns, result.tool_calls) == (Ending.FINISHED, 2, 1)
    assert find_agent(name).output_model.model_validate(result.output).model_dump(mode="json") == result.output
    assert OUTPUTS[name].keys() <= result.output.keys()


@pytest.mark.parametrize(
    ("name", "wrong", "says"),
    [
        (
            "architect",
            {"tasks": [TASK | {"depends_on": ["b"]}, TASK | {"id": "b", "depends_on": ["a"]}]},
            "wait for each",
        ),
        ("architect", {"tasks": [TASK | {"depends_on": ["x"]}]}, "unknown ids: x"),
        ("architect", {"tasks": [TASK, TASK]}, "same id"),
        ("planner", {"stories": [STORY, STORY]}, "same id"),
        ("review", {"verdict": "approve"}, "does not approve"),
        ("review", {"findings": []}, "names them as findings"),
        ("coding", {"summary": ""}, "at least 1 character"),
        ("coding", {"extra": 1}, "Extra inputs"),
    ],
)
def test_an_output_that_contradicts_itself_is_refused(name: str, wrong: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        find_agent(name).output_model.model_validate(OUTPUTS[name] | wrong)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a\n- b", "must be a mapping of fields, not list"),
        ("name: [", "is not YAML"),
        ("name: mine\ninstructions: x", "description: Field required"),
        (MINIMAL + "tool: [shell]", "tool: no such field; fields are .*tools"),
        (MINIMAL + "tools: [shel]", "tools: .*unknown: shel; allowed are .*shell"),
        (MINIMAL + "limits: {turns: 0}", "limits.turns: .*greater than or equal to 1"),
        (MINIMAL + "limits: {turn: 1}", "limits.turn: no such field"),
        (MINIMAL + "output: poem", "output 'poem' is unknown: use change-summary"),
        (MINIMAL + "output: review\noutput_schema: {type: object, properties: {a: {type: string}}}", "not both"),
        (MINIMAL + "output_schema: {type: object, properties: {a: {$ref: x}}}", r"a uses \$ref; supported are"),
        (MINIMAL + "output_schema: {type: string}", "must be of type object"),
        (MINIMAL + "capabilities: [WebSearch]", "capabilities: not supported here"),
        (MINIMAL + "tools: [delegate]", "needs delegates"),
        (MINIMAL + "tools: [shell]\npolicy: {writable: [tests/**]}", "can't hold while any command may run"),
        (MINIMAL + "model: gpt-5", "model: .*pattern"),
        (MINIMAL.replace("mine", "My Agent"), "name: .*pattern"),
        (MINIMAL + "policy: {sudo: true}", "policy.sudo: no such field"),
    ],
)
def test_a_spec_that_does_not_hold_is_refused_by_file_and_field(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SpecInvalid, match=says) as caught:
        load_spec(path)
    assert str(path) in caught.value.detail


def test_the_minimal_spec_loads_as_does_one_of_pydantic_ais_own_fields() -> None:
    spec = parse_spec(MINIMAL + "model_settings: {temperature: 0.2}\nmetadata: {team: a}\n", source="x")
    assert (spec.version, spec.output_model.__name__, spec.model_settings) == (1, "ChangeSummary", {"temperature": 0.2})


def test_a_folder_adds_agents_and_replaces_built_in_ones(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINIMAL)
    (tmp_path / "coding.yaml").write_text(MINIMAL.replace("mine", "coding"))
    agents = all_agents(tmp_path)
    assert find_agent("mine", agents).description == "Mine."
    assert find_agent("coding", agents).description == "Mine."
    assert find_agent("review", agents) == find_agent("review")


def test_an_unknown_agent_is_named_with_those_there_are() -> None:
    with pytest.raises(NotFound, match="'codign'; there are architect, backend, coding"):
        find_agent("codign")


async def test_an_inline_schema_is_held_to(run: Any) -> None:
    spec = parse_spec(
        MINIMAL
        + """
output_schema:
  type: object
  required: [mood, score]
  properties:
    mood: {type: string, enum: [good, bad]}
    score: {type: integer, minimum: 1, maximum: 5}
    notes: {type: array, maxItems: 2, items: {type: object, required: [text], properties: {text: {type: string}}}}
""",
        source="x",
    )
    assert isinstance(spec, AgentSpec)
    result = await run(
        [finish(mood="odd", score=9), finish(mood="good", score=3, notes=[{"text": "a"}])],
        spec=spec,
    )
    assert result.output == {"mood": "good", "score": 3, "notes": [{"text": "a"}]}
    assert result.turns == 2
