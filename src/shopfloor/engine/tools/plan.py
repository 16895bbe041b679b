"""Telling people what is planned and how far it is: `update_plan`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from shopfloor.engine.tools.context import ToolContext
from shopfloor.engine.tools.result import Arguments, ToolResult
from shopfloor.engine.tools.tool import Tool

StepState = Literal["pending", "in_progress", "done", "dropped"]


class PlanStep(Arguments):
    """One step of a plan."""

    step: str = Field(min_length=1, max_length=300, description="What is done, in a few words.")
    status: StepState = "pending"


class UpdatePlan(Arguments):
    """Arguments of `update_plan`."""

    steps: tuple[PlanStep, ...] = Field(min_length=1, max_length=40, description="The whole plan, in order.")
    note: str = Field(default="", max_length=500, description="Why it changed, if it did.")

    @model_validator(mode="after")
    def _one_at_a_time(self) -> UpdatePlan:
        if sum(step.status == "in_progress" for step in self.steps) > 1:
            raise ValueError("at most one step is in_progress at a time")
        return self


async def update_plan(arguments: UpdatePlan, context: ToolContext) -> ToolResult:
    """Publish the plan to those who watch."""
    plan = arguments.model_dump(mode="json")
    await context.note("plan.updated", {"call_id": context.call_id, **plan})
    done = sum(step.status in {"done", "dropped"} for step in arguments.steps)
    return ToolResult(f"Plan noted: {done} of {len(arguments.steps)} steps are done.", facts={"plan": plan})


UPDATE_PLAN = Tool(
    "update_plan",
    "Keep the plan that people watch: send all steps, each pending, in_progress, done or dropped. "
    "Use it for work of three or more steps, when a step is done and when the plan changes.",
    UpdatePlan,
    update_plan,
)
TOOLS = (UPDATE_PLAN,)
