"""Which columns hold sealed values: each room names its own, so that new data keys reach every one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column of sealed values in a table with `organization_id`. The place of a value is `table/row/column`."""

    table: str
    column: str
    id_column: str = "id"

    def place(self, row_id: UUID) -> str:
        """What a value in this column is bound to."""
        return f"{self.table}/{row_id}/{self.column}"


_COLUMNS: Final[dict[tuple[str, str], SealedColumn]] = {}


def register_sealed(table: str, column: str, *, id_column: str = "id") -> SealedColumn:
    """Called where a room is loaded; twice is once. `id_column` holds a UUID and is unique."""
    return _COLUMNS.setdefault((table, column), SealedColumn(table, column, id_column))


def sealed_columns() -> list[SealedColumn]:
    """Those of every room that is loaded, in order of their names."""
    return [_COLUMNS[name] for name in sorted(_COLUMNS)]
