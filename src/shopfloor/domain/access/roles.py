"""An organization's own roles, beside the built-in ones."""

from __future__ import annotations

from typing import Any, Final

from shopfloor.base.errors import InvalidInput, PermissionDenied, PreconditionFailed
from shopfloor.base.ids import new_id
from shopfloor.domain.access import store_people as store
from shopfloor.domain.access.ceiling import lacking_of
from shopfloor.domain.access.errors import NameTaken, RoleBuiltIn, RoleInUse, RoleUnknown
from shopfloor.domain.access.models import Role
from shopfloor.domain.access.permissions import EVERY, ROLES
from shopfloor.infra.tx import Tx

MOST_ROLES: Final = 200


async def list_roles(tx: Tx) -> list[Role]:
    """The organization's own, by name; the built-in ones are in the table of permissions."""
    tx.require("role.read")
    return await store.roles(tx)


async def find_role(tx: Tx, name: str) -> Role:
    """One of the organization's own. Raises: RoleUnknown, PermissionDenied."""
    tx.require("role.read")
    role = await store.role(tx, name)
    if role is None:
        raise RoleUnknown(f"There is no role {name!r}. GET /api/v1/roles lists them.", role=name)
    return role


async def create_role(tx: Tx, *, name: str, description: str, base: str | None, permissions: frozenset[str]) -> Role:
    """A new role: what `base` holds, if one is named, and `permissions`.

    Raises: NameTaken, RoleUnknown, InvalidInput for a permission that doesn't exist, PermissionDenied.
    """
    tx.require("role.edit")
    if name in ROLES:
        raise NameTaken(f"{name} is a built-in role. Choose another name.")
    if base is not None and base not in ROLES:
        raise RoleUnknown(f"There is no built-in role {base!r} to start from. There are: {', '.join(ROLES)}.")
    wanted = permissions | ROLES[base] if base else permissions
    _check(tx, wanted)
    if len(await store.roles(tx)) >= MOST_ROLES:
        raise InvalidInput(f"An organization has at most {MOST_ROLES} roles of its own. Remove one first.")
    fields = {"description": description, "base": base, "permissions": sorted(wanted)}
    role_id = new_id()
    if not await store.add_role(tx, role_id, name=name, fields=fields):
        raise NameTaken(f"There is a role {name!r} already. Choose another name, or change that one.")
    await tx.record("role.created", "role", role_id, after={"name": name, "permissions": sorted(wanted)})
    return await find_role(tx, name)


async def change_role(tx: Tx, role: Role, fields: dict[str, Any]) -> Role:
    """Another `description` or `permissions`: whoever has it may that from the commit on.

    Raises: InvalidInput, PermissionDenied for more than one has, PreconditionFailed if somebody was faster.
    """
    tx.require("role.edit")
    _check(tx, frozenset(role.permissions))  # what one lacks can't be taken from others either
    wanted = frozenset(fields.get("permissions", role.permissions))
    _check(tx, wanted)
    description = fields.get("description", role.description)
    if not await store.change_role(tx, role, description=description, permissions=sorted(wanted)):
        raise PreconditionFailed("Somebody changed the role at the same moment. Read it again, then repeat this.")
    await tx.record(
        "role.changed", "role", role.id,
        before={"permissions": sorted(role.permissions)}, after={"permissions": sorted(wanted)},
    )  # fmt: skip
    return await find_role(tx, role.name)


async def remove_role(tx: Tx, role: Role) -> None:
    """Remove a role that nobody has. Raises: RoleInUse, PermissionDenied."""
    tx.require("role.edit")
    _check(tx, frozenset(role.permissions))
    await store.lock_role(tx, role.id)
    if uses := await store.uses_of_role(tx, role.name):
        raise RoleInUse(
            f"{uses} people, teams or grants have the role {role.name}. Give them another one first.", uses=uses
        )
    await store.delete_role(tx, role.id)
    await tx.record("role.removed", "role", role.id, before={"name": role.name})


def refuse_built_in(name: str) -> None:
    """Raises: RoleBuiltIn."""
    if name in ROLES:
        raise RoleBuiltIn(f"{name} is a built-in role, the same everywhere. Make one of your own with it as `base`.")


def _check(tx: Tx, permissions: frozenset[str]) -> None:
    unknown = sorted(permissions - EVERY)
    if unknown:
        raise InvalidInput(
            f"There is no permission {', '.join(unknown)}. GET /api/v1/roles/permissions lists them.", unknown=unknown
        )
    lacking = lacking_of(tx, permissions)
    if lacking:
        raise PermissionDenied(
            f"A role can't hold, gain or lose what its editor doesn't have: {', '.join(lacking)}. Ask somebody who has "
            "these permissions.",
            permission=lacking[0], lacking=lacking,
        )  # fmt: skip
