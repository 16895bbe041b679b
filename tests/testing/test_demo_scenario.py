"""The demo's calls are those of the real tools: a renamed argument must not wait for the demo to be noticed."""

from __future__ import annotations

import pytest

from shopfloor.engine.agents.outputs import OUTPUTS, ChangeSummary
from shopfloor.engine.tools.registry import all_tools
from shopfloor.testing.mock_provider import load
from shopfloor.testing.mock_provider.fill import example

CALLS = [call for reply in load("demo").scenes[0].replies for call in reply.tool_calls]


@pytest.mark.parametrize("call", [call for call in CALLS if call.name != "finish"], ids=lambda call: call.name)
def test_each_call_fits_the_tool_it_names(call):
    assert all_tools()[call.name].arguments.model_validate(call.arguments)


def test_the_run_ends_with_a_change_summary():
    assert CALLS[-1].name == "finish"
    assert ChangeSummary.model_validate(CALLS[-1].arguments).changes[0].path == "pricing/rounding.py"


@pytest.mark.parametrize("name", sorted(OUTPUTS))
def test_from_schema_fits_the_output_of_every_kind_of_agent(name):
    assert OUTPUTS[name].model_validate(example(OUTPUTS[name].model_json_schema()))
