"""What can go wrong in this room."""

from __future__ import annotations

from typing import ClassVar

from shopfloor.base.errors import NotFound, ShopfloorError


class ArtifactNotFound(NotFound):
    """No artifact has this id, or not for this principal."""

    title: ClassVar[str] = "There is no such artifact"


class ArtifactJobNotFound(NotFound):
    """No job has this id, or not for this principal."""

    title: ClassVar[str] = "There is no such job"


class RangeNotSatisfiable(ShopfloorError):
    """The range asked for lies outside the content."""

    status: ClassVar[int] = 416
    title: ClassVar[str] = "The content is shorter than that"
