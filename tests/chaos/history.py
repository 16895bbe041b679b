"""What was done, what was seen while it went on, and what was left at the end: all that the checker looks at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Submitted:
    """One thing that a client wanted, under one Idempotency-Key; `answers` are the ids it was ever given for it."""

    key: str
    answers: list[str] = field(default_factory=list[str])
    cancelled: bool = False  # a cancel was acknowledged


@dataclass(slots=True)
class Watch:
    """What one watcher saw of a job's stream, over all its connections: each event's sequence, in the order it came."""

    job_id: str
    seqs: list[int] = field(default_factory=list[int])
    ended: bool = False  # it saw the last event


@dataclass(slots=True)
class Fault:
    """What the nemesis did, in seconds since the start."""

    at_s: float
    name: str
    lasted_s: float = 0.0


@dataclass(slots=True)
class History:
    """Of the whole run."""

    submitted: list[Submitted] = field(default_factory=list[Submitted])
    watches: list[Watch] = field(default_factory=list[Watch])
    faults: list[Fault] = field(default_factory=list[Fault])
    refused: dict[str, int] = field(default_factory=dict[str, int])  # answers and errors that clients repeated after


@dataclass(slots=True)
class JobEnd:
    """A job at the end, as the database has it."""

    id: str
    conversation: str
    state: str
    last_seq: int
    cost_nanos: int
    held_nanos: int
    unknown_nanos: int
    crashes: int
    events: list[tuple[int, str]]  # (seq, kind), by seq
    tool_results: list[tuple[int, str]]  # (turn, call) of each recorded result
    holds: list[Hold]
    letters: int  # dead letters of this job
    error: str = ""  # what it failed with


@dataclass(slots=True)
class Hold:
    """One request to a provider, in the platform's books."""

    turn: int
    state: str  # held, settled, released, unknown
    cost_nanos: int
    bound_nanos: int


@dataclass(slots=True)
class Billed:
    """One request that the provider put on its bill."""

    conversation: str
    turn: int  # from 0
    cost_nanos: int
    delivered: bool


@dataclass(slots=True)
class Left:
    """What there was when all had settled."""

    jobs: list[JobEnd]
    bill: list[Billed]
    sandboxes: list[str] = field(default_factory=list[str])
    stuck_tasks: list[str] = field(default_factory=list[str])  # still `doing`, or given up without a letter
    ledger: list[str] = field(default_factory=list[str])  # what `shopfloor ledger check` complains of
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
