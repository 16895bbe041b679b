"""What goes wrong with people and places, each by its name."""

from __future__ import annotations

from shopfloor.base.errors import Conflict, InvalidInput, NotFound


class MemberUnknown(NotFound):
    """Nobody of this organization has this id."""

    title = "There is no such member"


class MemberInUse(Conflict):
    """Jobs, keys or projects name this person, and would lose whom they name."""

    title = "The member has a history"


class LastOwner(Conflict):
    """Without an owner nobody could give rights any more."""

    title = "The last owner stays"


class NameTaken(Conflict):
    """Another one has this name already."""

    title = "The name is taken already"


class RoleUnknown(NotFound):
    """Neither a built-in role nor one of this organization's own."""

    title = "There is no such role"


class RoleInUse(Conflict):
    """People, teams or grants have this role."""

    title = "The role is in use"


class RoleBuiltIn(InvalidInput):
    """Built-in roles are the same everywhere."""

    title = "Built-in roles can't be changed"


class TeamUnknown(NotFound):
    """No team of this name or id."""

    title = "There is no such team"


class TeamInUse(Conflict):
    """Projects belong to this team."""

    title = "The team owns projects"


class GrantUnknown(NotFound):
    """Neither this person nor this team has a grant in the project."""

    title = "There is no such grant"


class OutOfOwnReach(InvalidInput):
    """With this change its maker could not touch the project any more."""

    title = "You would lock yourself out"
