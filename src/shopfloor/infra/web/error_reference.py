"""The reference page of all errors, made from their classes: `python -m shopfloor.infra.web.error_reference`."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterable, Iterator

import shopfloor
from shopfloor.base.errors import ShopfloorError

_WITHOUT_ERRORS = ("shopfloor.apps", "shopfloor.migrations", "shopfloor.testing")
_HEAD = """# Errors

Made by `make docs`; do not edit.

Over HTTP each is answered as `application/problem+json` (see [HTTP](http.md#errors)). Decide on `code`. Where *again*
says yes, the same request may succeed later: wait as long as `Retry-After` says, else back off.

| code | status | again | what it says |
|---|---|---|---|
"""


def reference(errors: Iterable[type[ShopfloorError]]) -> str:
    """The page, in Markdown, ordered by status and code."""
    rows = sorted({(each.status, each.code(), _again(each), _summary(each)) for each in errors})
    return _HEAD + "".join(f"| `{code}` | {status} | {again} | {summary} |\n" for status, code, again, summary in rows)


def all_errors() -> list[type[ShopfloorError]]:
    """Every error class of the floors below `apps`; imports their modules."""
    for module in pkgutil.walk_packages(shopfloor.__path__, "shopfloor."):
        if not module.name.startswith(_WITHOUT_ERRORS) and "__main__" not in module.name:
            importlib.import_module(module.name)
    return list(_below(ShopfloorError))


def _below(error: type[ShopfloorError]) -> Iterator[type[ShopfloorError]]:
    for each in error.__subclasses__():
        if each.__module__.startswith("shopfloor."):
            yield each
            yield from _below(each)


def _again(error: type[ShopfloorError]) -> str:
    return "yes" if error.retryable else "no"


def _summary(error: type[ShopfloorError]) -> str:
    """The title and the first paragraph of its docstring, on one line."""
    first = " ".join((error.__doc__ or "").strip().split("\n\n")[0].split())
    return f"{error.title}. {first}".replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(reference(all_errors()))
