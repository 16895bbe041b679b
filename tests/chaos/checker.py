"""The rules. Each is a function from a history and what was left to sentences about what broke it; none: it held.

Pure, and tested with planted violations (test_checker.py): a rule that finds nothing could not look.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator

from chaos.history import Billed, History, JobEnd, Left

TERMINAL = frozenset({"succeeded", "failed", "cancelled", "dead"})
Rule = Callable[[History, Left], Iterator[str]]


def check(history: History, left: Left) -> list[str]:
    """Every violation, `rule: sentence`."""
    return [f"{rule.__name__}: {found}" for rule in RULES for found in rule(history, left)]


def one_job_for_one_key(history: History, left: Left) -> Iterator[str]:
    """However often it was asked, through whichever API."""
    ids = {job.id for job in left.jobs}
    seen: dict[str, str] = {}
    for each in history.submitted:
        if len(set(each.answers)) > 1:
            yield f"{each.key} became {sorted(set(each.answers))}"
        for job_id in set(each.answers):
            if job_id not in ids:
                yield f"{each.key} was acknowledged as {job_id}, which is not there"
            if seen.setdefault(job_id, each.key) != each.key:
                yield f"{job_id} was given for {seen[job_id]} and {each.key}"
    keys = {each.key for each in history.submitted}
    for conversation, n in Counter(job.conversation for job in left.jobs).items():
        if conversation in keys and n > 1:
            yield f"{n} jobs were made for {conversation}"


def one_terminal_state(history: History, left: Left) -> Iterator[str]:
    """Each job ended, and ended once: one terminal event, the last one, and it says what the row says."""
    for job in left.jobs:
        ends = [(seq, kind) for seq, kind in job.events if kind.removeprefix("job.") in TERMINAL]
        if job.state not in TERMINAL:
            yield f"{job.conversation} never ended: it is {job.state}"
        elif ends != [(job.last_seq, f"job.{job.state}")]:
            yield f"{job.conversation} is {job.state} and has the ends {ends}, last_seq {job.last_seq}"


def no_job_fails_for_it(history: History, left: Left) -> Iterator[str]:
    """The scenario always succeeds: who wasn't cancelled and didn't crash too often succeeded."""
    for job in left.jobs:
        if job.state == "failed":
            yield f"{job.conversation} failed: {job.error}"


def acknowledged_cancels_hold(history: History, left: Left) -> Iterator[str]:
    """Who was told that a job is cancelled finds it cancelled (one that is only told to stop may just have ended)."""
    states = {job.id: job.state for job in left.jobs}
    for each in history.submitted:
        if each.cancelled and each.answers and states.get(each.answers[0], "cancelled") not in {"cancelled", "dead"}:
            yield f"the cancel of {each.key} was acknowledged, and it is {states[each.answers[0]]}"


def sequences_have_no_gap(history: History, left: Left) -> Iterator[str]:
    """Stored from 1 to the last; and every watcher saw exactly that, whatever it was connected to."""
    last: dict[str, int] = {}
    for job in left.jobs:
        last[job.id] = job.last_seq
        if [seq for seq, _ in job.events] != list(range(1, job.last_seq + 1)):
            yield f"the stored events of {job.conversation} are not 1 to {job.last_seq}"
    for watch in history.watches:
        if watch.seqs != list(range(1, len(watch.seqs) + 1)):
            yield f"a watcher of {watch.job_id} saw a gap or a repetition: {watch.seqs}"
        elif watch.ended and len(watch.seqs) != last.get(watch.job_id, len(watch.seqs)):
            yield f"a watcher of {watch.job_id} saw {len(watch.seqs)} of {last[watch.job_id]} events and an end"


def one_result_for_a_tool_call(history: History, left: Left) -> Iterator[str]:
    """Whoever ran it, however often."""
    for job in left.jobs:
        for (turn, call), n in Counter(job.tool_results).items():
            if n > 1:
                yield f"{job.conversation}: call {call} of turn {turn} has {n} results"


def the_ledger_is_the_bill(history: History, left: Left) -> Iterator[str]:
    """Each settled call is on the provider's bill at its cost; what else is billed is a call booked as unknown."""
    bill: dict[str, list[Billed]] = defaultdict(list)
    for each in left.bill:
        bill[each.conversation].append(each)
    for job in left.jobs:
        yield from _one_bill(job, bill.pop(job.conversation, []))
    for conversation, entries in bill.items():
        yield f"the provider billed {len(entries)} calls of {conversation}, which is no job"


def _one_bill(job: JobEnd, billed: list[Billed]) -> Iterator[str]:
    settled = Counter(hold.cost_nanos for hold in job.holds if hold.state == "settled")
    on_bill = Counter(each.cost_nanos for each in billed)
    unknown = [hold for hold in job.holds if hold.state == "unknown"]
    if invented := settled - on_bill:
        yield f"{job.conversation}: settled {dict(invented)}, which the provider did not bill"
    rest = list((on_bill - settled).elements())
    if len(rest) > len(unknown):
        yield f"{job.conversation}: {len(rest)} billed calls are in no book, {len(unknown)} are booked as unknown"
    if sum(rest) > sum(hold.bound_nanos for hold in unknown):
        yield f"{job.conversation}: the provider billed {sum(rest)} beyond what is settled, more than is booked"
    for turn in {each.turn for each in billed}:
        delivered = sum(each.delivered for each in billed if each.turn == turn)
        lost = sum(hold.turn == turn + 1 for hold in unknown)
        if delivered > 1 + lost:
            yield f"{job.conversation} turn {turn + 1}: paid {delivered} times, {lost} of them lost in flight"


def the_books_add_up(history: History, left: Left) -> Iterator[str]:
    """Nothing is held, nothing is negative, a job's cost is the sum of its calls."""
    for job in left.jobs:
        spent = sum(hold.cost_nanos for hold in job.holds if hold.state in {"settled", "unknown"})
        unknown = sum(hold.cost_nanos for hold in job.holds if hold.state == "unknown")
        if any(hold.state == "held" for hold in job.holds) or job.held_nanos:
            yield f"{job.conversation}: {job.held_nanos} nano-USD are still held"
        if min(job.cost_nanos, job.held_nanos, job.unknown_nanos) < 0:
            yield f"{job.conversation}: something is negative"
        if (job.cost_nanos, job.unknown_nanos) != (spent, unknown):
            said = f"{job.cost_nanos} ({job.unknown_nanos} unknown)"
            yield f"{job.conversation}: costs {said}, its calls {spent} ({unknown})"
    yield from left.ledger


def nothing_is_left(history: History, left: Left) -> Iterator[str]:
    """No sandbox, no task that nobody does, and one dead letter for each dead job."""
    for name in left.sandboxes:
        yield f"the sandbox {name} is left"
    for task in left.stuck_tasks:
        yield f"the task {task} is left"
    for job in left.jobs:
        if job.letters != (job.state == "dead"):
            yield f"{job.conversation} is {job.state} and has {job.letters} dead letters"


RULES: tuple[Rule, ...] = (
    one_job_for_one_key, one_terminal_state, no_job_fails_for_it, acknowledged_cancels_hold, sequences_have_no_gap,
    one_result_for_a_tool_call, the_ledger_is_the_bill, the_books_add_up, nothing_is_left,
)  # fmt: skip


def unknown_calls(left: Left) -> list[str]:
    """The calls that are booked at their bound, for the report: the bill says less than the books by these."""
    return [
        f"{job.conversation} turn {hold.turn}: {hold.cost_nanos}"
        for job in left.jobs
        for hold in job.holds
        if hold.state == "unknown"
    ]
