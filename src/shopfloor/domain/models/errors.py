"""What can go wrong in this room."""

from __future__ import annotations

from typing import ClassVar

from shopfloor.base.errors import Conflict, InvalidInput, NotFound


class ProviderNotFound(NotFound):
    """No provider has this id, or not for this principal."""

    title: ClassVar[str] = "There is no such provider"


class ProviderUnknown(InvalidInput):
    """A model names a provider that the organization doesn't have."""

    title: ClassVar[str] = "Unknown provider"


class ProviderNameTaken(Conflict):
    """Another provider of the organization has this name."""

    title: ClassVar[str] = "The name is taken"


class ModelNotOffered(InvalidInput):
    """The provider is set up for some models only, and this isn't one of them."""

    title: ClassVar[str] = "The model is not offered here"
