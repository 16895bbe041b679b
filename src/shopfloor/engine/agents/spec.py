"""A declared role: an AgentSpec in YAML, Pydantic AI's own format with what a production job needs besides."""

from __future__ import annotations

import copy
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic_ai.agent.spec import AgentSpec as PydanticAISpec

from shopfloor.base.errors import InvalidInput
from shopfloor.engine.agents.outputs import OUTPUTS
from shopfloor.engine.agents.schema import SchemaUnsupported, model_from_schema
from shopfloor.engine.agents.task import DEFAULT_CONTEXT_TOKENS, AgentLimits
from shopfloor.engine.tools.policy import ToolPolicy
from shopfloor.engine.tools.registry import FINISH, all_tools

ModelProfile = Literal["strong", "balanced", "fast"]
NAME = r"^[a-z][a-z0-9-]{0,62}$"
MODEL = r"^[^/\s]+/\S+$"
MAX_SPEC_BYTES = 262_144
# Of Pydantic AI's fields, those that would bring code or network past the sandbox, or change what the loop relies on.
NOT_HERE = ("deps_schema", "retries", "end_strategy", "tool_timeout", "capabilities")


class SpecInvalid(InvalidInput):
    """An agent spec doesn't fit; the detail names the file, the field and what is allowed."""

    title: ClassVar[str] = "The agent spec does not hold"


class SpecLimits(BaseModel):
    """Bounds of one run of this agent; a job may set tighter ones."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    turns: int = Field(default=100, ge=1, le=1_000)
    cost_usd: Decimal | None = Field(default=None, gt=0, le=10_000)
    timeout_s: int = Field(default=3_600, ge=10, le=86_400)
    context_tokens: int = Field(default=DEFAULT_CONTEXT_TOKENS, ge=4_000, le=10_000_000)
    max_output_tokens: int | None = Field(default=None, ge=256, le=1_000_000)


class AgentSpec(PydanticAISpec):
    """Who an agent is: what it is told, what it may use, what it hands over."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: str = Field(pattern=NAME)  # pyright: ignore[reportIncompatibleVariableOverride] - required here
    version: int = Field(default=1, ge=1)
    description: str = Field(min_length=1, max_length=500)  # pyright: ignore[reportIncompatibleVariableOverride]
    instructions: str | list[str] = Field(min_length=1)  # pyright: ignore[reportIncompatibleVariableOverride] - no templates
    model: str | None = Field(default=None, pattern=MODEL)  # `provider/model`; None: what the job or project chooses
    model_profile: ModelProfile = "balanced"  # what to choose by, where no model is named
    fallback_models: tuple[str, ...] = Field(default=(), max_length=8)
    tools: tuple[str, ...] = Field(default=(), max_length=64)
    delegates: tuple[str, ...] = Field(default=(), max_length=32)  # agents it may hand work to
    policy: ToolPolicy = ToolPolicy()
    limits: SpecLimits = SpecLimits()
    output: str | None = None  # a name of outputs.py; or `output_schema`, inline
    guidance: bool = True  # read AGENTS.md and its kin

    @property
    def instructions_text(self) -> str:
        """All instructions as one text."""
        parts = self.instructions if isinstance(self.instructions, list) else [self.instructions]
        return "\n\n".join(part.strip() for part in parts)

    @cached_property
    def output_model(self) -> type[BaseModel]:
        """The type of what it finishes with."""
        if self.output_schema is not None:
            return model_from_schema(copy.deepcopy(self.output_schema), "Result")
        return OUTPUTS[self.output or "change-summary"]

    def agent_limits(self, deadline: datetime | None = None) -> AgentLimits:
        """The spec's own bounds, for a run without others."""
        return AgentLimits(
            turns=self.limits.turns,
            deadline=deadline,
            context_tokens=self.limits.context_tokens,
            max_output_tokens=self.limits.max_output_tokens,
        )

    @property
    def read_only(self) -> bool:
        """No tool of it changes the tree, and none hands work to one that could."""
        return all(all_tools()[name].effects == "none" for name in self.tools)

    @model_validator(mode="before")
    @classmethod
    def _only_what_is_honoured(cls, data: Any) -> Any:
        if isinstance(data, dict):
            given = cast("dict[str, Any]", data)
            if stray := [name for name in NOT_HERE if given.get(name)]:
                raise ValueError(f"{', '.join(stray)}: not supported here; use tools, policy and limits instead")
        return cast("Any", data)

    @field_validator("tools")
    @classmethod
    def _tools_exist(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in names if name != FINISH and name not in all_tools()]:
            raise ValueError(f"unknown: {', '.join(unknown)}; allowed are {', '.join(sorted(all_tools()))}")
        return tuple(name for name in dict.fromkeys(names) if name != FINISH)

    @field_validator("fallback_models")
    @classmethod
    def _models_are_named(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [name for name in names if not name.partition("/")[2]]:
            raise ValueError(f"{', '.join(wrong)}: write provider/model")
        return names

    @model_validator(mode="after")
    def _holds_together(self) -> AgentSpec:
        if self.output is not None and self.output not in OUTPUTS:
            raise ValueError(f"output {self.output!r} is unknown: use {', '.join(OUTPUTS)}, or an output_schema")
        if self.output is not None and self.output_schema is not None:
            raise ValueError("give output or output_schema, not both")
        if self.output_schema is not None:
            model_from_schema(self.output_schema, "Result")
        if "delegate" in self.tools and not self.delegates:
            raise ValueError("the tool delegate needs delegates: the names of the agents it may hand work to")
        free_shell = {"shell", "run_tests"} & set(self.tools) and self.policy.commands == "any"
        if free_shell and self.policy.writable != ("**",):
            raise ValueError(
                "policy.writable can't hold while any command may run: set policy.commands to listed or none, "
                "or leave out shell and run_tests"
            )
        return self


def load_spec(path: Path) -> AgentSpec:
    """The spec in a YAML file. Raises: SpecInvalid, naming the file and each field that doesn't fit."""
    if path.stat().st_size > MAX_SPEC_BYTES:
        raise SpecInvalid(f"{path} is larger than {MAX_SPEC_BYTES:,} bytes", file=str(path))
    return parse_spec(path.read_text("utf-8"), source=str(path))


def parse_spec(text: str, *, source: str) -> AgentSpec:
    """The spec in a YAML text. Raises: SpecInvalid."""
    try:
        data: object = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise SpecInvalid(f"{source} is not YAML: {error}", file=source) from error
    if not isinstance(data, dict):
        raise SpecInvalid(f"{source} must be a mapping of fields, not {type(data).__name__}", file=source)
    try:
        return AgentSpec.model_validate(data)
    except ValidationError as error:
        problems = [_problem(problem) for problem in error.errors(include_url=False, include_context=False)]
        raise SpecInvalid(f"{source}: {'; '.join(problems)}", file=source, problems=problems) from error
    except SchemaUnsupported as error:
        raise SpecInvalid(f"{source}: output_schema: {error}", file=source) from error


def _problem(problem: Any) -> str:
    where = ".".join(str(step) for step in problem["loc"])
    if problem["type"] == "extra_forbidden":
        fields = ", ".join(sorted(set(AgentSpec.model_fields) - set(NOT_HERE) - {"json_schema_path"}))
        known = f"; fields are {fields}" if len(problem["loc"]) == 1 else ""
        return f"{where}: no such field{known}"
    return f"{where}: {problem['msg']}" if where else str(problem["msg"])
