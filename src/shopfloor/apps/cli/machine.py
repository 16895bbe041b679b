"""`shopfloor doctor` and `shopfloor image`: whether this machine has what it needs, and making the sandbox image."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from shopfloor.apps.cli.failures import FAILED
from shopfloor.apps.cli.output import AsJson, done, show_json
from shopfloor.apps.cli.terminal import is_terminal

if TYPE_CHECKING:
    from shopfloor.engine.sandbox.engine import Engine

_MARKS = {"ok": "ok", "warn": "note", "bad": "MISSING"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("doctor", help="What this machine lacks, and what to type.")(_doctor)
    image = typer.Typer(help="The sandbox image: build, check.", no_args_is_help=True)
    image.command("build", help="Make it from the distribution's packages, unless it is there.")(_build)
    image.command("check", help="Whether it is there, and of this version.")(_check)
    app.add_typer(image, name="image")


def _doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Build the sandbox image if it is missing.")] = False,
    as_json: AsJson = False,
) -> None:
    from shopfloor.apps.cli.settings import settings_for
    from shopfloor.apps.doctor import examine

    settings = settings_for(quiet=True)
    findings = asyncio.run(examine(settings, os.environ))
    if fix and any(each.name == "image" and each.verdict == "bad" for each in findings):
        _build(as_json=False)
        findings = asyncio.run(examine(settings, os.environ))
    if as_json:
        show_json([asdict(each) for each in findings])
    else:
        for each in findings:
            gap = "  " if is_terminal() else "\t"
            print(f"{_MARKS[each.verdict]:<7}{gap}{each.name:<10}{gap}{each.detail}")
            if each.todo and each.verdict != "ok":
                print(f"{'':<7}{gap}{'':<10}{gap}type: {each.todo}")
    raise typer.Exit(FAILED if any(each.verdict == "bad" for each in findings) else 0)


async def _with_engine(work: Callable[[Engine], Awaitable[str]]) -> str:
    from shopfloor.apps.cli.settings import settings_for
    from shopfloor.engine.sandbox.engine import engine_at

    async with engine_at(settings_for(quiet=True).sandbox.engine_url) as engine:
        return await work(engine)


def _build(as_json: AsJson = False) -> None:
    from shopfloor.engine.sandbox.image import ensure_image, image_name

    found = asyncio.run(_with_engine(ensure_image))
    done(f"The sandbox image {image_name()} is there.", {"image": image_name(), "id": found}, as_json=as_json)


def _check(as_json: AsJson = False) -> None:
    from shopfloor.engine.sandbox.image import check_image, image_name

    found = asyncio.run(_with_engine(check_image))
    done(f"The sandbox image {image_name()} is there.", {"image": image_name(), "id": found}, as_json=as_json)
