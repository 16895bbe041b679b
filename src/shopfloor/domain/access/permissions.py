"""The one table of roles and permissions. Whoever is not in it may nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Scope = Literal["organization", "project"]


@dataclass(frozen=True, slots=True)
class Permission:
    """Something that may be allowed: everywhere in the organization only, or in single projects too."""

    name: str
    scope: Scope
    description: str


def _in_organization(name: str, description: str) -> Permission:
    return Permission(name, "organization", description)


def _in_project(name: str, description: str) -> Permission:
    return Permission(name, "project", description)


PERMISSIONS: Final[tuple[Permission, ...]] = (
    _in_organization("organization.read", "See the organization's name and limits."),
    _in_organization("organization.edit", "Change the organization's name and limits."),
    _in_organization("organization.create", "Make and list organizations; in the operator's organization only."),
    _in_organization("owner.edit", "Make and unmake owners."),
    _in_organization("member.read", "See who is in the organization, and service accounts."),
    _in_organization("member.edit", "Change roles, disable and remove people, make service accounts."),
    _in_organization("role.read", "See the roles and what each may do."),
    _in_organization("role.edit", "Make and change the organization's own roles."),
    _in_organization("team.read", "See teams and who is in them."),
    _in_organization("team.edit", "Make, change and remove teams; put people into them."),
    _in_organization("session.edit", "See and end other people's sessions."),
    _in_organization("key.read", "See other people's API keys, without their secrets."),
    _in_organization("key.edit", "Make and revoke API keys, also for service accounts."),
    _in_organization("secret.read", "See which secrets there are, without their values."),
    _in_organization("secret.edit", "Set, rotate and remove secrets."),
    _in_organization("audit.read", "Read, check and export the record of who did what."),
    _in_project("project.read", "See a project and its settings."),
    _in_project("project.edit", "Make, change, pause and archive projects."),
    _in_project("project.grant", "Say who else may do what in a project; name its owner and team."),
    _in_organization("project.private", "See private projects and those of other teams."),
    _in_project("job.read", "See jobs: events, journal, diff, usage."),
    _in_project("job.submit", "Submit and fork jobs."),
    _in_project("job.cancel", "Cancel jobs."),
    _in_project("job.retry", "Run jobs again, and replay them."),
    _in_project("job.approve", "Answer what a job waits for."),
    _in_project("deadletter.read", "See jobs and tasks that the platform has given up, and why."),
    _in_project("deadletter.edit", "Requeue and discard what the platform has given up."),
    _in_project("artifact.read", "List and download what jobs left behind."),
    _in_project("delivery.read", "See environments, releases and sprints."),
    _in_project("delivery.edit", "Make and change environments, releases and sprints; tie jobs to them."),
    _in_organization("agent.read", "See the agents."),
    _in_organization("provider.read", "See model providers and models."),
    _in_organization("provider.edit", "Add, change and remove model providers and their keys."),
    _in_organization("price.read", "See prices."),
    _in_organization("price.edit", "Set prices."),
    _in_project("budget.read", "See budgets: what is spent, held and left, raises, alerts, forecasts."),
    _in_organization("budget.edit", "Set, raise and remove budgets."),
    _in_project("notification.read", "See what the platform told: alerts, pauses."),
    _in_organization("notification.edit", "Say where notifications go: addresses and webhooks."),
    _in_organization("system.read", "See the installation's version, health and metrics."),
)
EVERY: Final[frozenset[str]] = frozenset(each.name for each in PERMISSIONS)
IN_PROJECTS: Final[frozenset[str]] = frozenset(each.name for each in PERMISSIONS if each.scope == "project")
OF_THE_OPERATOR: Final[frozenset[str]] = frozenset({"organization.create"})  # nothing in any other organization

_MEMBER: Final = {"organization.read", "agent.read", "provider.read", "price.read", "system.read"}
_READ: Final = _MEMBER | {
    "member.read", "role.read", "team.read", "project.read", "job.read", "artifact.read", "delivery.read",
    "budget.read", "notification.read", "deadletter.read",
}  # fmt: skip
_WORK: Final = {"job.submit", "job.cancel", "job.retry", "job.approve", "delivery.edit", "deadletter.edit"}
_MANAGE: Final = {
    "project.edit", "project.grant", "team.edit", "provider.edit", "price.edit", "budget.edit", "notification.edit",
}  # fmt: skip
_OVERSEE: Final = {"audit.read", "key.read", "secret.read", "project.private"}
_ADMIN: Final = _OVERSEE | {
    "key.edit", "member.edit", "role.edit", "session.edit", "secret.edit", "organization.edit",
}  # fmt: skip

ROLES: Final[dict[str, frozenset[str]]] = {
    "owner": EVERY,
    "admin": frozenset(_READ | _WORK | _MANAGE | _ADMIN),
    "manager": frozenset(_READ | _WORK | _MANAGE),
    "developer": frozenset(_READ | _WORK),
    "viewer": frozenset(_READ),
    "auditor": frozenset(_READ | _OVERSEE),
    "member": frozenset(_MEMBER),
}
ROLE_DESCRIPTIONS: Final[dict[str, str]] = {
    "owner": "Everything, making other owners included. There is always one.",
    "admin": "Everything but making owners.",
    "manager": "Projects, teams, providers, prices and budgets, and all that a developer does.",
    "developer": "Submits, cancels and repeats jobs; keeps releases.",
    "viewer": "Sees, and changes nothing.",
    "auditor": "Sees everything, private projects and the record of who did what included, and changes nothing.",
    "member": "What everybody may: belongs to the organization, and gets the rest project by project.",
}
PROJECT_OWNER_ROLE: Final = "manager"  # of a project's owner and of the leads of its team, in it


def permissions_of(role: str, own: list[str] | None = None) -> frozenset[str]:
    """What a built-in role holds, or one of the organization's own whose permissions are `own`."""
    found = ROLES.get(role)
    return found if found is not None else frozenset(own or ()) & EVERY


def reference() -> str:
    """The page docs/reference/permissions.md: every permission, and which built-in roles hold it."""
    lines = [
        "# Permissions\n",
        "<!-- made by scripts/docs.py from domain/access/permissions.py -->\n",
        "Each route names one of these. Those marked *project* can also be given in single projects: by a grant,",
        "through a team, or as the project's owner. Organizations may have roles of their own beside the built-in ones",
        "([People and roles](../how-to/people-and-roles.md)).\n",
        "## Roles\n",
        "| role | what for |",
        "|---|---|",
        *(f"| `{name}` | {ROLE_DESCRIPTIONS[name]} |" for name in ROLES),
        "\n## Permissions and who holds them\n",
        f"| permission | where | what it allows | {' | '.join(ROLES)} |",
        f"|---|---|---|{'---|' * len(ROLES)}",
        *(
            f"| `{each.name}` | {each.scope} | {each.description} | "
            f"{' | '.join('x' if each.name in held else '' for held in ROLES.values())} |"
            for each in PERMISSIONS
        ),
    ]
    return "\n".join(lines) + "\n"
