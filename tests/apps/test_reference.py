"""The reference pages name everything there is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

from pydantic import BaseModel

from shopfloor.apps.cli.root import _WORDS
from shopfloor.apps.settings import Settings

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"


def _names(part: type, prefix: str) -> Iterator[str]:
    types = (
        {name: field.annotation for name, field in part.model_fields.items()}
        if issubclass(part, BaseModel)
        else {field.name: None for field in fields(part)}
    )
    for name, kind in types.items():
        if isinstance(kind, type) and (issubclass(kind, BaseModel) or is_dataclass(kind)):
            yield from _names(kind, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}"


def test_the_settings_page_names_every_setting_and_no_other():
    page = (REFERENCE / "settings.md").read_text()
    listed = {line.split("`")[1] for line in page.splitlines() if line.startswith("| `SHOPFLOOR_")}
    assert listed == {*_names(Settings, "SHOPFLOOR_"), "SHOPFLOOR_URL", "SHOPFLOOR_API_KEY"}


def test_the_command_page_names_every_command():
    page = (REFERENCE / "cli.md").read_text()
    assert [word for word in _WORDS if f"`shopfloor {word}" not in page] == []
