"""What goes wrong with environments, releases and sprints."""

from __future__ import annotations

from shopfloor.base.errors import Conflict, InvalidInput, NotFound


class RecordUnknown(NotFound):
    """No environment, release or sprint of this id, or none that the principal may see."""

    title = "There is no such record"


class RecordNameTaken(Conflict):
    """The project has one of this name already."""

    title = "The project has one of this name"


class JobOfAnotherProject(InvalidInput):
    """A job belongs to records of its own project."""

    title = "The job belongs to another project"
