"""The page of figures, from benchmarks/results: what was to be reached, what was measured, how to repeat it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"

Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One promise. `told` and `met` read the figures of the result file."""

    what: str
    reach: str
    result: str  # name of the file, without .json
    told: Callable[[Figures], str]
    met: Callable[[Figures], bool]


_KILLS = 200
_CHAOS_MINUTES = 60

ROWS = (
    Row(
        "A command by the exec server, against `docker exec`", "<= 1/10", "sandbox_exec",
        lambda f: f"{f['exec_ratio']:.3f} ({_ms(f, 'exec_server_ms')} against {_ms(f, 'docker_exec_ms')})",
        lambda f: f["exec_ratio"] <= f["exec_target"],
    ),
    Row(
        "Reading a 20 KB file, against the archive API", "<= 1/50", "sandbox_exec",
        lambda f: f"{f['read_ratio']:.3f} ({_ms(f, 'read_20kb_ms')} against {_ms(f, 'archive_20kb_ms')})",
        lambda f: f["read_ratio"] <= f["read_target"],
    ),
    Row(
        "Hardened start, against `docker run --network none`", "<= 1.1x", "sandbox_start",
        lambda f: f"{f['hardened_ratio']:.2f}x ({_ms(f, 'hardened_ms')} against {_ms(f, 'docker_run_none_ms')})",
        lambda f: f["hardened_ratio"] <= f["hardened_target"],
    ),
    Row(
        "Claim of a warm sandbox, against a cold start", "<= 1/4", "sandbox_start",
        lambda f: f"{f['warm_ratio']:.3f} ({_ms(f, 'warm_claim_ms')})",
        lambda f: f["warm_ratio"] <= f["warm_target"],
    ),
    Row(
        "Submit to running on an idle worker, without the sandbox's start", "p50 <= 50 ms", "start_latency",
        lambda f: f"p50 {f['submit_to_running_ms']['p50']:.0f} ms, p99 {f['submit_to_running_ms']['p99']:.0f} ms",
        lambda f: f["submit_to_running_ms"]["p50"] <= 50,  # noqa: PLR2004 - the reach
    ),
    Row(
        "One submit at a time, over HTTP", "p99 <= 200 ms", "start_latency",
        lambda f: f"p50 {f['submit_http_alone_ms']['p50']:.0f} ms, p99 {f['submit_http_alone_ms']['p99']:.0f} ms",
        lambda f: f["submit_http_alone_ms"]["p99"] <= 200,  # noqa: PLR2004 - the reach
    ),
    Row(
        "500 submits in 10 s, over HTTP, the jobs running meanwhile", "p99 <= 200 ms, none lost", "start_latency",
        lambda f: f"p99 {f['submit_http_500_in_10_s_ms']['p99']:.0f} ms, {f['lost']} lost, {f['burst_took_s']:.1f} s",
        lambda f: f["submit_http_500_in_10_s_ms"]["p99"] <= 200 and not f["lost"],  # noqa: PLR2004 - the reach
    ),
    Row(
        "The same without HTTP: the verb alone", "p99 <= 200 ms, none lost", "jobs_submit",
        lambda f: f"p99 {f['500_in_10_s_ms']['p99']:.0f} ms, {f['lost']} lost",
        lambda f: f["500_in_10_s_ms"]["p99"] <= 200 and not f["lost"],  # noqa: PLR2004 - the reach
    ),
    Row(
        "`kill -9` of one of two workers: finished steps re-run, finished calls paid again, events lost or doubled, "
        "orphans after 60 s", f"{_KILLS} kills, 0 of each", "kills",
        lambda f: (
            f"{f['kills']} kills, {f['violations']} violations, {f['jobs_verified']} of {f['jobs']} jobs verified"
        ),
        lambda f: f["kills"] >= _KILLS and not f["violations"],
    ),
    Row(
        "Chaos: everything broken at random, judged by the provider's bill", "a 5 min run and a 1 h run, 0 violations",
        "chaos",
        lambda f: (
            f"{f['minutes']:g} min, {sum(f['faults'].values())} faults of {len(f['faults'])} kinds, "
            f"{sum(f['jobs'].values())} jobs, {f['violations']} violations"
        ),
        lambda f: f["minutes"] >= _CHAOS_MINUTES and not f["violations"],
    ),
    Row(
        "Going on after a kill", "<= heart-beat limit + 1 s", "kills",
        lambda f: (
            f"at most {f['resume_s_max']:.2f} s, the limit being {f['heartbeat_limit_s']:.0f} s; {f['kills']} kills"
        ),
        lambda f: f["kills"] >= _KILLS and f["resume_s_max"] <= f["heartbeat_limit_s"] + 1,
    ),
    Row(
        "CPU of a turn (loop, journal, cost), against a plain loop on the provider's SDK", "<= 2.5x", "turn_cpu",
        lambda f: f"{f['ratio']:.2f}x",
        lambda f: f["reached"],
    ),
    Row(
        "Event stream, 1,000 subscribers: CPU of a delivery, against sse-starlette", "<= 0.6x", "event_stream",
        lambda f: f"{f['ratio_to_sse_starlette']:.2f}x",
        lambda f: f["ratio_to_sse_starlette"] <= f["target_ratio"],
    ),
    Row(
        "Cancel of a model call of 60 s", "<= 1.5 s", "cancel",
        lambda f: f"p50 {f['cancel_s']['p50']:.2f} s, worst {f['cancel_s']['worst']:.2f} s of {f['samples']}",
        lambda f: f["cancel_s"]["worst"] <= 1.5,  # noqa: PLR2004 - the reach
    ),
    Row(
        "Claim and list at 100,000 jobs, against 1,000", "<= 1.5x", "jobs_claim_list",
        lambda f: f"worst {f['worst_ratio_of_p50']:.2f}x of the time, {f['worst_ratio_of_cpu']:.2f}x of the CPU",
        lambda f: max(f["worst_ratio_of_p50"], f["worst_ratio_of_cpu"]) <= 1.5,  # noqa: PLR2004 - the reach
    ),
    Row(
        "`shopfloor --version`, over bare Python", "<= 150 ms", "cli_version",
        lambda f: f"{f['over_ms_p50']:.0f} ms (p90 {f['over_ms_p90']:.0f} ms)",
        lambda f: f["over_ms_p50"] <= f["limit_ms"],
    ),
    Row(
        "Worker up", "<= 3 s", "idle",
        lambda f: f"{f['worker_up_s']['median']:.1f} s, at worst {f['worker_up_s']['worst']:.1f} s",
        lambda f: f["worker_up_s"]["median"] <= f["worker_up_reach_s"],
    ),
    Row(
        "API, worker and database, idle", "<= 300 MB", "idle",
        lambda f: f"{f['idle_mib_total']} MiB",
        lambda f: f["idle_mib_total"] * 1.048_576 <= f["idle_reach_mib"],
    ),
    Row(
        "An audit entry, within a transaction", "<= 100 us CPU", "audit",
        lambda f: f"{f['append']['cpu_us_per_entry']:.0f} us (`select 1`: {f['append']['floor_cpu_us']:.0f} us)",
        lambda f: f["append"]["reached"],
    ),
    Row(
        "Verifying an audit export", "1 M rows in <= 60 s", "audit",
        lambda f: f"{f['verify']['s_per_million_rows']:.0f} s, {f['verify']['peak_memory_mib']} MiB",
        lambda f: f["verify"]["reached"],
    ),
    Row(
        "Replace the master key of 1,000 organizations, others opening secrets", "<= 1 s, 0 failed", "rotate_master",
        lambda f: f"{f['rotate_s']['median']:.2f} s, at worst {f['rotate_s']['worst']:.2f} s; "
                  f"{f['failed_meanwhile']} of {f['opened_meanwhile']:,} failed",
        lambda f: f["rotate_s"]["worst"] <= f["reach_s"] and f["failed_meanwhile"] == 0,
    ),
    Row(
        "Authenticated `GET /api/v1/jobs/{id}`, CPU against a bare ASGI app with the same read", "<= 2.0x",
        "authenticated_get",
        lambda f: f"{f['ratio']:.2f}x ({f['shopfloor_cpu_us']} us against {f['bare_asgi_cpu_us']} us)",
        lambda f: f["reached"],
    ),
    Row(
        "A rate limit check of four windows", "<= 30 us in memory, <= 0.7 ms in Redis, exact", "rate_limits",
        lambda f: (
            f"{f['memory_cpu_us']:.0f} us CPU, {f['redis_wall_ms']['p50']:.2f} ms, "
            f"{f['passed_of_500_in_parallel']} of 500 passed a limit of 137"
        ),
        lambda f: f["reached"],
    ),
)  # fmt: skip

_HEAD = """# Figures

Made by `make docs` from [benchmarks/results](../../benchmarks/results); do not edit. Each line is repeated by its
command (`make bench` runs all but `make test-kills` and `make test-chaos`), which records the machine and its load.

| what | to reach | measured | reached | load | command, result |
|---|---|---|---|---|---|
"""


def page() -> str:
    """The page, from the results that are there."""
    found = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(RESULTS.glob("*.json"))}
    lines = [_line(row, found.get(row.result)) for row in ROWS]
    return (
        _HEAD + "".join(lines) + _machine([found[name] for name in sorted({row.result for row in ROWS} & set(found))])
    )


def _line(row: Row, result: dict[str, Any] | None) -> str:
    if result is None:
        return f"| {row.what} | {row.reach} | not measured yet | | | |\n"
    figures = result["figures"]
    met = "yes" if row.met(figures) else "**no**"
    where = f"`{result['command']}`, [{row.result}](../../benchmarks/results/{row.result}.json)"
    load = result["machine"]["load_1m"]
    return f"| {row.what} | {row.reach} | {row.told(figures)} | {met} | {load:.1f} | {where} |\n"


def _machine(results: list[dict[str, Any]]) -> str:
    machines = [result["machine"] for result in results]
    one = machines[-1]
    loads = [machine["load_1m"] for machine in machines]
    days = sorted({result["measured_at"][:10] for result in results})
    engine = next((machine["docker"] for machine in machines if machine["docker"]), "none")
    span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
    return f"""
## The machine

A virtual machine with {one["cores"]} cores ({one["cpu"]}) and {one["memory_mib"] / 1024:.0f} GiB, {one["kernel"]},
Docker {engine}, Python {one["python"]}; {span}.

Other work ran on the same cores: the load stands in each line, {min(loads):.1f} to {max(loads):.1f}, where
{one["cores"]} is a machine that is full. Ratios are of two things measured in turns in one run, so load falls on both;
a time in milliseconds holds for that load. A line whose reach was missed, or that was tried less often than promised,
says **no** until a run reaches it.
"""


def _ms(figures: Figures, name: str) -> str:
    return f"{figures['median'][name]:.1f} ms"
