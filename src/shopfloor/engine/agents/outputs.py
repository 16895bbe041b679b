"""What each kind of agent finishes with: the arguments of its `finish`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Severity = Literal["critical", "major", "minor", "nit"]
Size = Literal["S", "M", "L"]


class Output(BaseModel):
    """The base of all outputs: bounded, unknown names refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class FileChange(Output):
    """One file and what was done to it."""

    path: str = Field(min_length=1, max_length=4_096)
    what: str = Field(min_length=1, max_length=1_000, description="What changed and why, in a sentence.")


class ChangeSummary(Output):
    """The result of work that changed files."""

    summary: str = Field(min_length=1, max_length=4_000, description="What was done, for the person who asked.")
    changes: tuple[FileChange, ...] = Field(default=(), max_length=500)
    tests: tuple[str, ...] = Field(default=(), max_length=100, description="Commands run, and how they ended.")
    risks: tuple[str, ...] = Field(default=(), max_length=50, description="What a reviewer should look at twice.")


class DesignTask(Output):
    """One node of a task graph."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    title: str = Field(min_length=1, max_length=200)
    description: str = Field(min_length=1, max_length=4_000, description="Enough for an engineer who saw nothing else.")
    agent: str = Field(default="coding", pattern=r"^[a-z][a-z0-9-]{0,62}$", description="Who does it.")
    depends_on: tuple[str, ...] = Field(default=(), max_length=50, description="Ids of tasks that come first.")
    size: Size = "M"
    accepted_when: tuple[str, ...] = Field(min_length=1, max_length=20, description="Checks anyone can carry out.")


class Option(Output):
    """A way that was weighed."""

    name: str = Field(min_length=1, max_length=200)
    trade_off: str = Field(min_length=1, max_length=2_000)
    chosen: bool = False


class DesignDocument(Output):
    """A design with the graph of the work it asks for."""

    title: str = Field(min_length=1, max_length=200)
    context: str = Field(min_length=1, max_length=8_000, description="What there is now, with paths; what is wanted.")
    options: tuple[Option, ...] = Field(default=(), max_length=10)
    design: str = Field(min_length=1, max_length=20_000)
    tasks: tuple[DesignTask, ...] = Field(min_length=1, max_length=50)
    risks: tuple[str, ...] = Field(default=(), max_length=50)
    open_questions: tuple[str, ...] = Field(default=(), max_length=50)

    @model_validator(mode="after")
    def _is_a_graph(self) -> DesignDocument:
        check_graph({task.id: task.depends_on for task in self.tasks}, len(self.tasks))
        return self


class TestCase(Output):
    """One test that was written or changed."""

    __test__ = False  # not one of pytest's

    name: str = Field(min_length=1, max_length=300)
    path: str = Field(min_length=1, max_length=4_096)
    proves: str = Field(min_length=1, max_length=1_000, description="The behaviour that breaks if this test fails.")
    failed_first: bool | None = Field(default=None, description="Seen failing without its code; null: not tried.")


class TestReport(Output):
    """What was tested, and what came out."""

    __test__ = False

    summary: str = Field(min_length=1, max_length=4_000)
    command: str = Field(min_length=1, max_length=1_000, description="How to run these tests.")
    passed: int = Field(ge=0)
    failed: int = Field(ge=0)
    skipped: int = Field(default=0, ge=0)
    added: tuple[TestCase, ...] = Field(default=(), max_length=200)
    defects: tuple[str, ...] = Field(default=(), max_length=50, description="Faults of the code that the tests showed.")
    untested: tuple[str, ...] = Field(default=(), max_length=50, description="What still has no test, and why.")


class Finding(Output):
    """One thing a review found."""

    path: str = Field(min_length=1, max_length=4_096)
    line: int | None = Field(default=None, ge=1, description="In the new version of the file.")
    severity: Severity
    title: str = Field(min_length=1, max_length=200)
    why: str = Field(min_length=1, max_length=4_000, description="How it fails: input, path, consequence.")
    fix: str = Field(min_length=1, max_length=4_000, description="What to do, concretely.")


class Review(Output):
    """A verdict with its findings."""

    verdict: Literal["approve", "comment", "request-changes"]
    summary: str = Field(min_length=1, max_length=4_000)
    findings: tuple[Finding, ...] = Field(default=(), max_length=200)
    praised: tuple[str, ...] = Field(default=(), max_length=20)

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Review:
        grave = [finding for finding in self.findings if finding.severity in {"critical", "major"}]
        if self.verdict == "approve" and grave:
            raise ValueError("a review with critical or major findings does not approve")
        if self.verdict == "request-changes" and not self.findings:
            raise ValueError("a review that requests changes names them as findings")
        return self


class RolloutStep(Output):
    """One step of a rollout."""

    title: str = Field(min_length=1, max_length=200)
    commands: tuple[str, ...] = Field(default=(), max_length=50)
    verify: str = Field(min_length=1, max_length=2_000, description="How to see that it worked before going on.")
    rollback: str = Field(min_length=1, max_length=2_000, description="How to undo exactly this step.")


class RolloutPlan(Output):
    """How a change reaches production, and comes back from there."""

    summary: str = Field(min_length=1, max_length=4_000)
    strategy: Literal["blue-green", "canary", "rolling", "recreate", "feature-flag", "migration-first"]
    prerequisites: tuple[str, ...] = Field(default=(), max_length=50)
    steps: tuple[RolloutStep, ...] = Field(min_length=1, max_length=50)
    irreversible: tuple[str, ...] = Field(default=(), max_length=20, description="What there is no way back from.")
    watch: tuple[str, ...] = Field(default=(), max_length=50, description="Metrics, and the value to roll back at.")
    changes: tuple[FileChange, ...] = Field(default=(), max_length=200)


class TimelineEntry(Output):
    """One moment of an incident, as the evidence dates it."""

    at: str = Field(min_length=1, max_length=100)
    what: str = Field(min_length=1, max_length=1_000)
    evidence: str = Field(min_length=1, max_length=2_000, description="File and line, or the log line itself.")


class IncidentReport(Output):
    """What happened, why, and what keeps it from happening again."""

    title: str = Field(min_length=1, max_length=200)
    impact: str = Field(min_length=1, max_length=4_000)
    status: Literal["ongoing", "mitigated", "resolved", "no-incident"]
    timeline: tuple[TimelineEntry, ...] = Field(default=(), max_length=100)
    root_cause: str = Field(min_length=1, max_length=8_000)
    confidence: Literal["high", "medium", "low"]
    mitigations: tuple[str, ...] = Field(default=(), max_length=30)
    follow_ups: tuple[str, ...] = Field(default=(), max_length=50)
    alerts: tuple[str, ...] = Field(default=(), max_length=50, description="Rules that would have told earlier.")


class Story(Output):
    """One item of a backlog."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    title: str = Field(min_length=1, max_length=200)
    value: str = Field(min_length=1, max_length=2_000, description="Who gains what by it.")
    accepted_when: tuple[str, ...] = Field(min_length=1, max_length=20)
    size: Size = "M"
    priority: int = Field(ge=1, le=100, description="1 comes first.")
    depends_on: tuple[str, ...] = Field(default=(), max_length=50)
    agent: str = Field(default="coding", pattern=r"^[a-z][a-z0-9-]{0,62}$")


class Backlog(Output):
    """Work cut into pieces that can be done one by one."""

    goal: str = Field(min_length=1, max_length=2_000)
    stories: tuple[Story, ...] = Field(min_length=1, max_length=100)
    impediments: tuple[str, ...] = Field(default=(), max_length=50)
    out_of_scope: tuple[str, ...] = Field(default=(), max_length=50)

    @model_validator(mode="after")
    def _is_a_graph(self) -> Backlog:
        check_graph({story.id: story.depends_on for story in self.stories}, len(self.stories))
        return self


OUTPUTS: dict[str, type[BaseModel]] = {
    "change-summary": ChangeSummary,
    "design-document": DesignDocument,
    "test-report": TestReport,
    "review": Review,
    "rollout-plan": RolloutPlan,
    "incident-report": IncidentReport,
    "backlog": Backlog,
}


def check_graph(edges: dict[str, tuple[str, ...]], count: int) -> None:
    """Raises: ValueError for an id used twice, an unknown one, or a circle."""
    if len(edges) != count:
        raise ValueError("two items have the same id")
    unknown = sorted({other for others in edges.values() for other in others} - edges.keys())
    if unknown:
        raise ValueError(f"depends_on names unknown ids: {', '.join(unknown)}")
    left = dict(edges)
    while free := [name for name, others in left.items() if not any(other in left for other in others)]:
        for name in free:
            del left[name]
    if left:
        raise ValueError(f"these items wait for each other: {', '.join(sorted(left))}")
