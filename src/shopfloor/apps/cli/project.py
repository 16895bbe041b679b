"""`shopfloor project`: where jobs belong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import quote

import typer

from shopfloor.apps.cli.client import connected
from shopfloor.apps.cli.output import AsJson, Column, Limit, done, show_list, show_one
from shopfloor.apps.cli.who import holder_id, member_id, path_of, team_id
from shopfloor.base.errors import InvalidInput

Name = Annotated[str, typer.Argument(metavar="PROJECT", help="Slug or id.", show_default=False)]
Model = Annotated[str | None, typer.Option(help="Default model of its jobs: provider/model.")]
Agent = Annotated[str | None, typer.Option(help="Default agent of its jobs.")]
Checks = Annotated[list[str] | None, typer.Option("--check", help="A command that decides; may be repeated.")]
Running = Annotated[int | None, typer.Option(min=1, help="Jobs that may run at once.")]
Settings = Annotated[
    str | None,
    typer.Option(
        metavar="JSON",
        help="Settings to merge into the present ones, or @FILE that holds them; null sets one back to its default.",
    ),
]
Priority = Annotated[int | None, typer.Option(min=-100, max=100, help="Of its jobs; higher goes first.")]

_NOTHING = "-"  # takes away what is set

_COLUMNS: list[Column] = [
    ("slug", "slug"), ("name", "name"), ("status", "status"), ("priority", "priority"),
    ("running jobs", "max_running_jobs"), ("model", "settings.model"), ("agent", "settings.agent"),
]  # fmt: skip
_ALL: list[Column] = [
    *_COLUMNS, ("checks", "settings.checks"), ("limits", "settings.limits"), ("network", "settings.network"),
    ("environment", "settings.environment"), ("repository hosts", "settings.repository_hosts"),
    ("owner", "owner_id"), ("team", "team_id"), ("visibility", "visibility"), ("e-mail domains", "email_domains"),
    ("addresses", "ip_ranges"), ("security level", "security_level"), ("classification", "classification"),
    ("compliance", "compliance"), ("cost centre", "cost_centre"), ("id", "id"), ("created", "created_at"),
]  # fmt: skip
_GRANTS: list[Column] = [("role", "role"), ("member", "user_id"), ("team", "team_id"), ("since", "created_at")]


def register(app: typer.Typer) -> None:
    """Add the noun."""
    project = typer.Typer(help="Projects: list, view, create, edit, who may what in them.", no_args_is_help=True)
    project.command("list", help="Oldest first.")(_list)
    project.command("view", help="One project.")(_view)
    project.command("create", help="Make a project.")(_create)
    project.command("edit", help="Change a project; what isn't named stays.")(_edit)
    project.command("place", help="Whose it is, how much care it wants, who may touch it.")(_place)
    project.command("unlock", help="Lift its e-mail domains and addresses; for owners whom they keep out.")(_unlock)
    project.command("grants", help="Who has which role in it beside those of the organization.")(_grants)
    project.command("grant", help="Give a member or a team a role in it, at most your own.")(_grant)
    project.command("revoke", help="Take that role back.")(_revoke)
    app.add_typer(project, name="project")


def _list(limit: Limit = 30, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items("projects", most=limit)
    show_list(rows, _COLUMNS, as_json=as_json, none="There are no projects.")


def _view(project: Name, as_json: AsJson = False) -> None:
    with connected() as client:
        found = client.get(f"projects/{quote(project, safe='')}")
    show_one(found, _ALL, as_json=as_json)


def _create(  # noqa: PLR0917 - each is one option
    slug: Annotated[str, typer.Argument(help="Its name in commands and addresses; it never changes.")],
    name: Annotated[str | None, typer.Option(help="What people call it; default: the slug.")] = None,
    model: Model = None,
    agent: Agent = None,
    check: Checks = None,
    settings: Settings = None,
    max_running_jobs: Running = None,
    priority: Priority = None,
    as_json: AsJson = False,
) -> None:
    body: dict[str, Any] = {
        "slug": slug,
        "name": name or slug,
        "settings": _merged({}, _read(settings) | _given(model=model, agent=agent, checks=check)),
    }
    body |= _given(max_running_jobs=max_running_jobs, priority=priority)
    with connected() as client:
        made = client.post("projects", body)
    done(f"Made the project {made['slug']}.", made, as_json=as_json)


def _edit(  # noqa: PLR0917 - each is one option
    project: Name,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    status: Annotated[str | None, typer.Option(help="active, paused, completed or archived.")] = None,
    model: Model = None,
    agent: Agent = None,
    check: Checks = None,
    settings: Settings = None,
    max_running_jobs: Running = None,
    priority: Priority = None,
    as_json: AsJson = False,
) -> None:
    change = _given(name=name, status=status, max_running_jobs=max_running_jobs, priority=priority)
    wanted = _read(settings) | _given(model=model, agent=agent, checks=check)
    if not change and not wanted:
        raise InvalidInput("Name what is to change: `shopfloor project edit --help` lists it.")
    path = f"projects/{quote(project, safe='')}"
    with connected() as client:
        found, etag = client.read(path)
        if wanted:
            change["settings"] = _merged(found["settings"], wanted)
        # The version that was read: whoever changed it meanwhile is not overwritten.
        changed = client.send("PATCH", path, body=change, headers={"If-Match": etag})
    done(f"Changed the project {changed['slug']}.", changed, as_json=as_json)


def _place(  # noqa: PLR0917 - each is one option
    project: Name,
    owner: Annotated[str | None, typer.Option(help="A member: e-mail address or id; - for none.")] = None,
    team: Annotated[str | None, typer.Option(help="Slug or id; - for none.")] = None,
    visibility: Annotated[str | None, typer.Option(help="organization, team or private.")] = None,
    email_domain: Annotated[
        list[str] | None, typer.Option(help="Only people of these touch it; may be repeated; - for everybody.")
    ] = None,
    ip_range: Annotated[
        list[str] | None, typer.Option(help="Only requests from there touch it; may be repeated; - for anywhere.")
    ] = None,
    security_level: Annotated[str | None, typer.Option(help="low, standard, high or critical.")] = None,
    classification: Annotated[str | None, typer.Option(help="public, internal, confidential or restricted.")] = None,
    compliance: Annotated[
        list[str] | None, typer.Option(help="gdpr, hipaa, sox, pci, iso27001 ...; may be repeated; - for none.")
    ] = None,
    cost_centre: Annotated[str | None, typer.Option(help="Who pays; - for none.")] = None,
    as_json: AsJson = False,
) -> None:
    named: dict[str, Any] = _given(
        visibility=visibility, security_level=security_level, classification=classification, cost_centre=cost_centre,
        owner_id=owner, team_id=team, email_domains=email_domain, ip_ranges=ip_range, compliance=compliance,
    )  # fmt: skip
    if not named:
        raise InvalidInput("Name what is to change: `shopfloor project place --help` lists it.")
    change = {name: _or_nothing(value) for name, value in named.items()}
    with connected() as client:
        if change.get("owner_id"):
            change["owner_id"] = member_id(client, change["owner_id"])
        if change.get("team_id"):
            change["team_id"] = team_id(client, change["team_id"])
        changed = client.send("PATCH", f"projects/{path_of(project)}", body=change)
    done(f"Changed the project {changed['slug']}.", changed, as_json=as_json)


def _or_nothing(value: Any) -> Any:
    return None if value == _NOTHING else [] if value == [_NOTHING] else value


def _unlock(project: Name, as_json: AsJson = False) -> None:
    with connected() as client:
        changed = client.post(f"projects/{path_of(project)}/unlock")
    done(f"Everybody with a role in {changed['slug']} may touch it, from anywhere.", changed, as_json=as_json)


def _grants(project: Name, limit: Limit = 50, as_json: AsJson = False) -> None:
    with connected() as client:
        rows = client.items(f"projects/{path_of(project)}/grants", most=limit)
    show_list(rows, _GRANTS, as_json=as_json, none="Nobody has a grant in it.")


def _grant(
    project: Name,
    holder: Annotated[str, typer.Argument(help="A member's e-mail address or id, or a team's slug.")],
    role: Annotated[str, typer.Argument(help="`shopfloor role list` shows which there are.")],
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        path = f"projects/{path_of(project)}/grants/{holder_id(client, holder)}"
        put = client.send("PUT", path, body={"role": role})
    done(f"{holder} is {role} in {project}.", put, as_json=as_json)


def _revoke(
    project: Name,
    holder: Annotated[str, typer.Argument(help="A member's e-mail address or id, or a team's slug.")],
    as_json: AsJson = False,
) -> None:
    with connected() as client:
        client.send("DELETE", f"projects/{path_of(project)}/grants/{holder_id(client, holder)}")
    done(f"{holder} has no grant in {project} any more.", {"project": project, "revoked": holder}, as_json=as_json)


def _given(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, [])}


def _read(settings: str | None) -> dict[str, Any]:
    """What `--settings` says. Raises: InvalidInput."""
    if settings is None:
        return {}
    where = "--settings"
    if settings.startswith("@"):
        where, settings = settings[1:], Path(settings[1:]).expanduser().read_text(encoding="utf-8")
    try:
        found: Any = json.loads(settings)
    except ValueError as error:
        raise InvalidInput(f"{where} is no JSON: {error}.") from error
    if not isinstance(found, dict):
        raise InvalidInput(f'{where} is no JSON object: write it like {{"network": ["packages.example.com"]}}.')
    return cast("dict[str, Any]", found)


def _merged(present: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`present` with `change` in it; what isn't named stays, null takes away. Source: RFC 7396, JSON Merge Patch."""
    result = dict(present)
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            within = result.get(name)
            inner = cast("dict[str, Any]", within) if isinstance(within, dict) else {}
            result[name] = _merged(inner, cast("dict[str, Any]", value))
        else:
            result[name] = value
    return result
