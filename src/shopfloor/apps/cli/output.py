"""What commands print: a table for people, tab-separated values for programs, JSON where it is asked for."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, cast

import typer

from shopfloor.apps.cli.terminal import is_terminal, one_line, printable

AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
Limit = Annotated[int, typer.Option("--limit", "-L", min=1, max=10_000, help="How many at most.")]

Column = tuple[str, str]  # heading, and the path of the value: `limits.cost_usd`


def show_list(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], *, as_json: bool, none: str) -> None:
    """A list. `none` is said on a terminal where there is nothing."""
    if as_json:
        show_json(list(rows))
    elif not is_terminal():
        for row in rows:
            print("\t".join(one_line(text_of(value_at(row, path)), 10_000) for _, path in columns))
    elif not rows:
        print(none)
    else:
        _table(rows, columns)


def show_one(row: Mapping[str, Any], columns: Sequence[Column], *, as_json: bool) -> None:
    """One thing: a line for each column."""
    if as_json:
        show_json(row)
        return
    width = max(len(heading) for heading, _ in columns)
    for heading, path in columns:
        text = printable(text_of(value_at(row, path)))
        print(f"{heading:<{width}}  {text}" if is_terminal() else f"{heading}\t{one_line(text, 10_000)}")


def show_json(value: Any) -> None:
    """JSON, for programs."""
    print(json.dumps(value, indent=2, ensure_ascii=not is_utf8()))


def done(text: str, value: Any, *, as_json: bool) -> None:
    """Something was done: a sentence on a terminal's page, or the answer as JSON."""
    if as_json:
        show_json(value)
    else:
        print(printable(text))


def note(text: str) -> None:
    """A remark beside the output."""
    sys.stderr.write(f"{printable(text)}\n")


def is_utf8() -> bool:
    """Whether standard output takes every character."""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def value_at(row: Mapping[str, Any], path: str) -> Any:
    """The value at `a.b`; None where there is none."""
    value: Any = row
    for name in path.split("."):
        value = cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None
    return value


def text_of(value: Any) -> str:
    """A JSON value in a cell."""
    match value:
        case None:
            return ""
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case list() if all(isinstance(each, str) for each in value):  # pyright: ignore[reportUnknownVariableType] - JSON
            return ", ".join(value)  # pyright: ignore[reportUnknownArgumentType] - JSON
        case dict() | list():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> None:
    from rich.console import Console  # only where a person looks
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading, _ in columns:
        table.add_column(heading.upper(), overflow="ellipsis", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(one_line(text_of(value_at(row, path)), 120)) for _, path in columns))
    Console(highlight=False).print(table)
