"""From an error to what a person reads and what a script decides on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shopfloor import __version__
from shopfloor.apps.cli.terminal import printable
from shopfloor.base.errors import SettingsError, ShopfloorError

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_SIGNED_IN: Final = 3
NOT_FOUND: Final = 4
CONFLICT: Final = 5
BUDGET: Final = 6
TIMED_OUT: Final = 124

_BY_STATUS: Final = {
    400: USAGE,
    413: USAGE,
    422: USAGE,
    401: NOT_SIGNED_IN,
    403: NOT_SIGNED_IN,
    404: NOT_FOUND,
    409: CONFLICT,
    412: CONFLICT,
    402: BUDGET,
    504: TIMED_OUT,
}
_BY_ENDING: Final = {
    "cost-limit": BUDGET,
    "time-limit": TIMED_OUT,
    "repository-unknown": NOT_FOUND,
    "ref-unknown": NOT_FOUND,
}


DEFECT: Final = (
    f"This is a defect of Shopfloor {__version__}, not of what you typed. To see where it comes from, set "
    "SHOPFLOOR_LOG__LEVEL=debug and type it again: the log on standard error then holds the traceback. Please report "
    "it with that."
)


class ServerSaid(ShopfloorError):
    """A problem that the server answered with; `status_sent` and `code_sent` are the server's."""

    title = "The server refused"

    def __init__(self, status: int, code: str, detail: str, **facts: object) -> None:
        super().__init__(detail, **facts)
        self.status_sent = status
        self.code_sent = code


def exit_code(error: Exception) -> int:
    """What the process leaves with."""
    match error:
        case ServerSaid():
            return _BY_STATUS.get(error.status_sent, FAILED)
        case SettingsError():
            return USAGE
        case ShopfloorError():
            return _BY_ENDING.get(error.code(), _BY_STATUS.get(error.status, FAILED))
        case TimeoutError():
            return TIMED_OUT
        case _:
            return FAILED


def exit_code_of_job(job: Mapping[str, Any]) -> int:
    """For a job as the API serves it: 0 only if it succeeded and no check says otherwise."""
    if job["state"] == "succeeded":
        return FAILED if job["verified"] is False else OK
    return _BY_ENDING.get(str(job["ending"]), FAILED)


def sentence(error: Exception) -> str:
    """What happened, on one or a few lines; nothing in it can move the cursor."""
    if isinstance(error, ShopfloorError):
        text = error.detail
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = str(error) or type(error).__name__
    text = printable(text.strip())
    return text if text.endswith((".", "!", "?", ")")) else f"{text}."
