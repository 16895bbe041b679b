"""CPU per turn of an agent: our loop, journal, retries and money, against a bare loop over the `openai` client.

Both hold the same conversation with the same mock provider (a process of its own), send the same tool schemas, and run
the same tool on the same files. The peer is the least a program can do: no retries, no limits, no journal, no prices.
Each side runs in a fresh process; what counts is that process's user and system time, after a warm-up run that pays for
imports and the first connection.

The longer the conversation, the more both spend on the history they send again, so short and long ones are measured.

    python benchmarks/turn_cpu.py [--turns 20 60] [--rounds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from machine import report

KEY = "sk-mock-benchmark"
MODEL = "mock-coder"
TASK = "Read the files one after the other, then finish."
WARM_UP_TURNS = 3
FILE_LINES = 40
LIMIT = 2.5  # the figure to reach: ours at most so many times the peer


def main() -> None:
    options = _arguments()
    if options.side:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(asyncio.run(_measure(options, Path(folder)))))
        return
    by_turns = {f"{turns}_turns": _compare(turns, options.rounds) for turns in options.turns}
    worst = max(figures["ratio"] for figures in by_turns.values())
    report("turn_cpu", {**by_turns, "ratio": worst, "reach": f"<= {LIMIT}", "reached": worst <= LIMIT})


def _compare(turns: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        pairs = [  # side by side, so that other load on the machine meets both
            (_one_process("shopfloor", turns, Path(folder)), _one_process("openai", turns, Path(folder)))
            for _ in range(rounds)
        ]
    ratios = [ours / theirs for ours, theirs in pairs]
    return {
        "rounds": rounds,
        "shopfloor_cpu_ms_per_turn": round(statistics.median(ours for ours, _ in pairs), 3),
        "openai_sdk_loop_cpu_ms_per_turn": round(statistics.median(theirs for _, theirs in pairs), 3),
        "ratio": round(statistics.median(ratios), 2),
        "ratio_min": round(min(ratios), 2),
        "ratio_max": round(max(ratios), 2),
    }


def _one_process(side: str, turns: int, folder: Path) -> float:
    """CPU milliseconds per turn of one side, against a mock provider of its own."""
    scenario = folder / "scenario.yaml"
    scenario.write_text(_scenario(turns))
    mock = subprocess.Popen(
        [sys.executable, "-m", "shopfloor.testing.mock_provider", "--scenario", str(scenario), "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert mock.stdout is not None
        url = mock.stdout.readline().split()[2]
        command = [sys.executable, __file__, "--side", side, "--url", url, "--turns", str(turns)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    finally:
        mock.terminate()
        mock.wait(10)
    if done.returncode:
        sys.exit(f"{side} failed:\n{done.stderr}")
    figures = json.loads(done.stdout)
    assert figures["turns"] == turns, figures
    return figures["cpu_ms"] / figures["turns"]


def _scenario(turns: int) -> str:
    """Turn n reads file n; the last one finishes."""
    calls = [{"tool_calls": [{"name": "read_file", "arguments": {"path": f"file_{n}.py"}}]} for n in range(turns - 1)]
    finish = {"summary": "All read.", "files": []}
    return json.dumps(
        {
            "name": "turn-cpu",
            "prices": {"*": {"input": 3, "cache_read": 0.3, "output": 15}},
            "replies": [*calls, {"tool_calls": [{"name": "finish", "arguments": "from-schema"}]}],
            "scenes": [
                {
                    "name": "warm-up",
                    "when": {"first_message_contains": "warm-up"},
                    "replies": [*calls[: WARM_UP_TURNS - 1], {"tool_calls": [{"name": "finish", "arguments": finish}]}],
                    "otherwise": {"tool_calls": [{"name": "finish", "arguments": "from-schema"}]},
                }
            ],
        }
    )


async def _measure(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    for number in range(options.turns[0]):
        lines = (f"value_{line} = {number * line}  # line {line} of file {number}" for line in range(FILE_LINES))
        (folder / f"file_{number}.py").write_text("\n".join(lines))
    run = _shopfloor if options.side == "shopfloor" else _openai
    await run(options.url, folder, f"{TASK} (warm-up)")
    before = _cpu_s()
    turns = await run(options.url, folder, TASK)
    return {"turns": turns, "cpu_ms": (_cpu_s() - before) * 1000}


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _shopfloor(url: str, folder: Path, task: str) -> int:
    """Everything a job's worker does per turn, but the database."""
    from shopfloor.base.clock import SystemClock
    from shopfloor.engine.agents.loop import run_agent
    from shopfloor.engine.agents.registry import find_agent
    from shopfloor.engine.agents.task import AgentLimits, AgentTask
    from shopfloor.engine.providers.chain import Candidate, ChainModel
    from shopfloor.engine.providers.port import Credentials, ModelRef, Price
    from shopfloor.engine.tools.context import ToolContext
    from shopfloor.testing.folder_workspace import FolderWorkspace
    from shopfloor.testing.memory_journal import MemoryJournal

    picos = {"input": 3_000_000, "cache-read": 300_000, "output": 15_000_000}
    price = Price(MODEL, picos, datetime.now(UTC), "benchmark")  # pyright: ignore[reportArgumentType]
    candidate = Candidate(ModelRef("mock", MODEL), Credentials("mock", "mock", KEY, url), price, 1_000_000, 4_096)
    meter = _Meter()
    model = await ChainModel.open([candidate], meter=meter, clock=SystemClock(), rng=random.Random(1))  # noqa: S311 - jitter
    result = await run_agent(
        find_agent("coding"),
        AgentTask(task),
        model=model,
        journal=MemoryJournal(),
        tools=ToolContext(workspace=FolderWorkspace(folder)),
        limits=AgentLimits(turns=10_000, context_tokens=1_000_000),
    )
    await model.aclose()
    assert result.ending == "finished", result
    assert meter.settled == result.turns, (meter.settled, result.turns)
    return result.turns


class _Meter:
    """Keeps a budget in memory."""

    def __init__(self) -> None:
        self.held, self.spent, self.settled = 0, 0, 0

    async def hold(self, attempt: Any) -> int:
        self.held += attempt.bound_nanos
        return attempt.bound_nanos

    async def settle(self, hold: Any, _usage: Any, cost_nanos: int) -> None:
        assert cost_nanos <= hold
        self.held, self.spent, self.settled = self.held - hold, self.spent + cost_nanos, self.settled + 1

    async def release(self, hold: Any, _reason: str) -> None:
        self.held -= hold

    async def unknown(self, hold: Any, _reason: str) -> None:
        self.held, self.spent = self.held - hold, self.spent + hold


async def _openai(url: str, folder: Path, task: str) -> int:
    """A bare loop: ask, run what is asked for, append, ask again."""
    from openai import AsyncOpenAI

    from shopfloor.engine.agents.prompt import HOUSE_RULES
    from shopfloor.engine.agents.registry import find_agent
    from shopfloor.engine.tools.context import ToolContext
    from shopfloor.engine.tools.registry import pick
    from shopfloor.testing.folder_workspace import FolderWorkspace

    spec = find_agent("coding")
    tools = {tool.name: tool for tool in pick(spec.tools)}
    schemas = {tool.name: (tool.description, tool.arguments.model_json_schema()) for tool in tools.values()}
    schemas["finish"] = ("End the work.", spec.output_model.model_json_schema())
    listed: Any = [
        {"type": "function", "function": {"name": name, "description": text, "parameters": schema}}
        for name, (text, schema) in schemas.items()
    ]
    messages: list[Any] = [
        {"role": "system", "content": f"{HOUSE_RULES}\n{spec.instructions_text}"},
        {"role": "user", "content": task},
    ]
    context, turns = ToolContext(workspace=FolderWorkspace(folder)), 0
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key=KEY) as client:
        while True:
            turns += 1
            reply = await client.chat.completions.create(
                model=MODEL, messages=messages, tools=listed, max_completion_tokens=4_096
            )
            message = reply.choices[0].message
            messages.append(message.model_dump(exclude_none=True))
            for call in message.tool_calls or []:
                if call.function.name == "finish":
                    return turns
                result = await tools[call.function.name].invoke(json.loads(call.function.arguments), context)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": result.text})


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, nargs="+", default=[20, 60])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", choices=["shopfloor", "openai"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
