"""`shopfloor run`: one job in this terminal, no server needed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import typer

from shopfloor.apps.cli.failures import exit_code_of_job
from shopfloor.apps.cli.loading import loading
from shopfloor.base.errors import InvalidInput, ShopfloorError

if TYPE_CHECKING:
    from shopfloor.apps.cli.screen import Screen
    from shopfloor.apps.one_job import Asked, Ended, Wishes
    from shopfloor.apps.settings import Settings
    from shopfloor.apps.wiring import Parts
    from shopfloor.base.principal import Principal

    Prepare = Callable[[Parts, Principal], Awaitable[None]]

_APPLY_TIMEOUT_S = 60
_INTERRUPTED = 130
_URL = re.compile(r"[a-z][a-z0-9+.-]*://|[\w.-]+@[\w.-]+:", re.IGNORECASE)


class PatchDoesNotApply(ShopfloorError):
    """The working tree has moved on; the diff is kept with the job."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("run", help="Run one job in this terminal, on a repository of your own, no server needed.")(_run)


def _run(  # noqa: PLR0917 - each is one option
    task: Annotated[
        str | None, typer.Argument(help="What is to be done, in your words; - reads standard input.")
    ] = None,
    repo: Annotated[str, typer.Option(help="A folder of a Git repository, or its URL.")] = ".",
    empty: Annotated[
        bool, typer.Option("--empty", help="Begin with an empty workspace instead of a repository.")
    ] = False,
    ref: Annotated[str | None, typer.Option(help="Branch, tag or commit, where --repo is a URL.")] = None,
    model: Annotated[
        str | None, typer.Option(help="provider/model, fall-backs after commas; its key comes from the environment.")
    ] = None,
    agent: Annotated[str | None, typer.Option(help="`shopfloor agent list` shows them.")] = None,
    check: Annotated[
        list[str] | None,
        typer.Option(help="A command that decides; may be repeated. Default: detected."),
    ] = None,
    no_checks: Annotated[bool, typer.Option("--no-checks", help="Check nothing: the result stays unverified.")] = False,
    cost_usd: Annotated[str | None, typer.Option(metavar="USD", help="What it may cost at most, e.g. 2.50.")] = None,
    turns: Annotated[int | None, typer.Option(min=1, max=1000, help="Turns at most.")] = None,
    timeout: Annotated[int | None, typer.Option(min=10, max=86400, metavar="SECONDS", help="Time at most.")] = None,
    include_uncommitted: Annotated[
        bool, typer.Option("--include-uncommitted", help="Take changed and untracked files along.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply/--no-apply", help="Apply the diff to the folder at the end.")] = False,
    resume: Annotated[UUID | None, typer.Option(help="Go on with this job instead of a new one.")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Fold nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The job as JSON on standard output at the end.")] = False,
) -> None:
    with loading():
        from shopfloor.apps.cli.screen import Screen
        from shopfloor.apps.cli.settings import settings_for
        from shopfloor.apps.one_job import Asked, limits_of  # the whole engine: loaded by no other command

    folder = None if empty or resume or _URL.match(repo) else Path(repo).expanduser().absolute()
    submission: dict[str, Any] = {
        "repo_url": repo if folder is None and not empty and not resume else None,
        "repo_ref": ref,
        "model": model,
        "agent": agent,
        "checks": [] if no_checks else check or None,
        "limits": limits_of(cost_usd=cost_usd, turns=turns, timeout_s=timeout),
        "labels": {"from": "run"},
    }
    asked = Asked(_task(task, resume), folder, include_uncommitted, submission, resume)
    if apply and folder is None:
        raise InvalidInput("--apply needs --repo to be a folder.")
    screen = Screen(sys.stderr if as_json else sys.stdout, verbose=verbose)
    # A person's own providers may live on their own machine: it is their key and their network.
    settings = settings_for(quiet=True, providers={"allow_private": True})
    ended, interrupted = in_terminal(settings, asked, screen)
    finish(screen, ended, as_json=as_json, folder=folder)
    if apply and folder is not None and ended.job["state"] == "succeeded" and ended.patch:
        _apply(ended.patch, folder)
        screen.say(f"applied     to {folder}", "good")
    raise typer.Exit(_INTERRUPTED if interrupted else exit_code_of_job(ended.job))


def in_terminal(
    settings: Settings, asked: Asked, screen: Screen, *, prepare: Prepare | None = None
) -> tuple[Ended, bool]:
    """Run the job with live progress; how it ended, and whether the person interrupted it."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_told(settings, asked, screen, prepare))


async def _told(settings: Settings, asked: Asked, screen: Screen, prepare: Prepare | None) -> tuple[Ended, bool]:
    from shopfloor.apps.one_job import Wishes, run_one

    wishes = Wishes()
    with _listening(wishes, screen), screen.telling():
        ended = await run_one(settings, asked, environ=os.environ, watch=screen.event, wishes=wishes, prepare=prepare)
    return ended, bool(wishes.asked)


@contextmanager
def _listening(wishes: Wishes, screen: Screen) -> Generator[None]:
    """The first Ctrl-C cancels the job and keeps its diff, the second leaves at once; SIGTERM gives it back."""
    from shopfloor.apps.one_job import Wish

    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        if wishes.asked:
            wishes.add(Wish.LEAVE)
        else:
            screen.say("Cancelling: what was done so far is kept. Press Ctrl-C again to leave at once.", "warn")
            wishes.add(Wish.CANCEL)

    loop.add_signal_handler(signal.SIGINT, interrupted)
    loop.add_signal_handler(signal.SIGTERM, lambda: wishes.add(Wish.LEAVE))
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)


def finish(screen: Screen, ended: Ended, *, as_json: bool, folder: Path | None) -> None:
    """Tell how it ended."""
    from shopfloor.apps.cli.summary import tell_end

    tell_end(screen, ended.job, None if as_json else ended.patch, following=_following(ended, folder))
    if as_json:
        print(json.dumps(ended.job, indent=2, ensure_ascii=False))


def _following(ended: Ended, folder: Path | None) -> list[str]:
    job_id = ended.job["id"]
    if ended.job["state"] in {"queued", "running", "waiting"}:
        return [f"shopfloor run --resume {job_id}     goes on from the last finished step", "shopfloor up     does too"]
    lines = [f"shopfloor job view {job_id}", f"shopfloor job logs {job_id} --verbose"]
    if ended.patch and folder is not None:
        where = "git apply" if folder == Path.cwd() else f"git -C {folder} apply"
        lines.insert(0, f"shopfloor job diff {job_id} | {where}")
    return lines


def _task(task: str | None, resume: UUID | None) -> str:
    if task == "-":
        return sys.stdin.read()
    if task is None and resume is None:
        raise InvalidInput('Say what is to be done: shopfloor run "fix the failing test".')
    return task or ""


def _apply(patch: bytes, folder: Path) -> None:
    """With the person's own Git, which refuses paths outside the tree. Raises: PatchDoesNotApply."""
    done = subprocess.run(
        ["git", "apply", "--whitespace=nowarn"],  # noqa: S607 - their Git, as they would call it
        cwd=folder, input=patch, capture_output=True, check=False, timeout=_APPLY_TIMEOUT_S,
    )  # fmt: skip
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace")
        raise PatchDoesNotApply(f"The diff does not apply to {folder}: {said} Nothing was changed there.")
