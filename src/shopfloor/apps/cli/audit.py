"""`shopfloor audit`: who did what; and a check of it that needs no server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, BinaryIO
from urllib.parse import quote

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, note, show_list, show_one
from shopfloor.base.errors import Conflict
from shopfloor.domain.audit.note import VerifierKey
from shopfloor.domain.audit.verify import MOST_LINE_BYTES, Finding, Report, verify

_COLUMNS: list[Column] = [
    ("at", "at"), ("action", "action"), ("by", "actor.kind"), ("id", "actor.id"), ("on", "target.kind"),
    ("target", "target.id"), ("result", "result"), ("entry", "id"),
]  # fmt: skip
_DETAILS: list[Column] = [
    ("entry", "id"), ("at", "at"), ("action", "action"), ("result", "result"), ("by", "actor.kind"),
    ("id", "actor.id"), ("on behalf of", "actor.user_id"), ("session", "actor.session_id"), ("on", "target.kind"),
    ("target", "target.id"), ("project", "project_id"), ("before", "before"), ("after", "after"),
    ("request", "origin.request_id"), ("address", "origin.address"), ("agent", "origin.agent"), ("place", "index"),
]  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the noun."""
    audit = typer.Typer(help="Who did what: list, view, export, verify.", no_args_is_help=True)
    audit.command("list", help="Newest first.")(_list)
    audit.command("view", help="One entry.")(_view)
    audit.command("export", help="The whole log with its checkpoints, as JSON lines.")(_export)
    audit.command("verify", help="Check an export with the public key alone: no server, no database.")(_verify)
    audit.command("key", help="The public key that checks this organization's log.")(_key)
    audit.command("note-restore", help="Say that the database was put back on purpose; signed into the log.")(_restore)
    app.add_typer(audit, name="audit")


def _list(  # noqa: PLR0917 - each is one option
    actor: Annotated[str | None, typer.Option(help="Id of who did it, or on whose behalf.")] = None,
    action: Annotated[str | None, typer.Option(help="Its beginning: `job.`")] = None,
    target: Annotated[str | None, typer.Option(help="Id of what it was done to.")] = None,
    project: Annotated[str | None, typer.Option(help="Its id.")] = None,
    since: Annotated[str | None, typer.Option(help="E.g. 2026-01-31T00:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="As --since.")] = None,
    request: Annotated[str | None, typer.Option(help="Id of the request.")] = None,
    result: Annotated[str | None, typer.Option(help="done or refused.")] = None,
    limit: Limit = 30,
    as_json: AsJson = False,
) -> None:
    filters: dict[str, Any] = {
        "actor": actor, "action": action, "target": target, "project": project, "since": since, "until": until,
        "request_id": request, "result": result,
    }  # fmt: skip
    with connected() as client:
        rows = client.items("audit", most=limit, **filters)
    show_list(rows, _COLUMNS, as_json=as_json, none="Nothing of the kind was done.")


def _view(entry: Annotated[str, typer.Argument(metavar="ENTRY", help="Its id.")], as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.get(f"audit/{quote(entry, safe='')}")
    show_one(found, _DETAILS, as_json=as_json)


def _export(
    output: Annotated[Path, typer.Argument(metavar="FILE", help="To write; it must not be there yet.")],
    as_json: AsJson = False,
) -> None:
    try:
        with output.open("xb") as file, connected() as client:
            size = client.copy("audit/export", file)
    except FileExistsError:
        raise Conflict(f"{output} is there already: name another file.") from None
    except BaseException:
        output.unlink(missing_ok=True)  # half an export would look like a cut one
        raise
    done(f"Wrote {size:,} bytes to {output}.", {"file": str(output), "size_bytes": size}, as_json=as_json)


def _verify(
    export: Annotated[Path, typer.Argument(metavar="FILE", help="What `shopfloor audit export` wrote.")],
    key: Annotated[str, typer.Option("--key", help="The public key, or a file that holds it.")],
    against: Annotated[Path | None, typer.Option(help="Checkpoints that were kept outside: tells a roll-back.")] = None,
    as_json: AsJson = False,
) -> None:
    public = VerifierKey.parse(Path(key).read_text(encoding="utf-8") if Path(key).is_file() else key)
    with export.open("rb") as file:
        if against is None:
            report = verify(_lines(file), public)
        else:
            with against.open("rb") as outside:
                report = verify(_lines(file), public, against=_lines(outside))
    if report.bad is not None:
        done(_told(report.bad), _as_json(report), as_json=as_json)
        raise typer.Exit(1)
    if not against and not as_json:
        note("Compared with no checkpoints from outside: a log that was put back looks whole (--against FILE).")
    done(_whole(report, public), _as_json(report), as_json=as_json)


def _key(as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.get("audit/public-key")
    done(found["key"], found, as_json=as_json)


def _restore(
    reason: Annotated[str, typer.Argument(help="Why; it stands in the log for good.")],
    size: Annotated[
        int | None, typer.Option(min=1, help="How many entries the log had after the restore; default: as many as now.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        made = client.post("audit/restores", {"reason": reason, "size": size})
    done(f"Noted. The log has {made['size']:,} entries now.", made, as_json=as_json)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """Bounded: a line without an end must not fill the memory."""
    while line := file.readline(MOST_LINE_BYTES + 1):
        yield line


def _told(bad: Finding) -> str:
    place = "" if bad.index is None else f" at place {bad.index}"
    entry = "" if bad.id is None else f", entry {bad.id}"
    line = "" if bad.line is None else f" (line {bad.line})"
    return f"BAD: {bad.wrong}{place}{entry}{line}. {bad.detail}"


def _whole(report: Report, key: VerifierKey) -> str:
    lines = [
        f"Good: {report.entries:,} entries under {report.checkpoints:,} checkpoints of {key.name}, root {report.root}."
    ]
    if report.erased:
        lines.append(f"{report.erased:,} entries had their address and program erased; the log is whole without them.")
    lines += [
        f"The log was put back to {each.size:,} entries; entry {each.id} of {each.at} says so."
        for each in report.restores
    ]
    if report.given_up:
        lines.append(f"{report.given_up:,} checkpoints from outside stand for entries that were given up by that.")
    return "\n".join(lines)


def _as_json(report: Report) -> dict[str, Any]:
    bad = report.bad
    return {
        "good": bad is None,
        "bad": bad and asdict(bad),
        "entries": report.entries, "checkpoints": report.checkpoints, "root": report.root, "erased": report.erased,
        "given_up": report.given_up,
        "restores": [asdict(each) for each in report.restores],
    }  # fmt: skip
