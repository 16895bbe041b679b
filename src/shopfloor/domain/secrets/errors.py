"""What can go wrong in this room."""

from __future__ import annotations

from typing import ClassVar

from shopfloor.base.errors import Conflict, NotFound


class SecretUnknown(NotFound):
    """No secret has this id or name, or not for this principal."""

    title: ClassVar[str] = "There is no such secret"


class SecretNameTaken(Conflict):
    """Another secret of the same scope has this name, or is for the same host."""

    title: ClassVar[str] = "The name is taken"
