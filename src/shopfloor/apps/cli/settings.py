"""The settings as every command reads them, and logs that don't get between the lines of a terminal."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, cast

from shopfloor.apps.settings import Settings, load
from shopfloor.infra.telemetry import LogSettings, configure_logging


def settings_for(*, quiet: bool, **overrides: Any) -> Settings:
    """The settings; logging set up. `quiet`: warnings only, unless a level was asked for. Raises: SettingsError."""
    settings = load(**overrides)
    level = "error" if quiet and "SHOPFLOOR_LOG__LEVEL" not in os.environ else settings.log.level
    configure_logging(LogSettings(level=level, format=settings.log.format))
    if quiet and level != "debug":
        logging.getLogger().handlers[0].addFilter(_without_traceback)
    for chatty in ("alembic", "procrastinate", "psycopg"):  # each sets a level of its own
        logging.getLogger(chatty).setLevel(logging.ERROR if level == "error" else logging.WARNING)
    return settings


def _without_traceback(record: logging.LogRecord) -> bool:
    """A person at a terminal reads what happened on one line; where in the code stands in the debug log."""
    said: Any = record.msg
    event = cast("dict[str, Any] | None", said if isinstance(said, dict) else None)  # structlog's are dicts
    given: Any = (event.pop("exc_info", None) if event is not None else None) or record.exc_info
    record.exc_info = record.exc_text = None
    if given:
        error = given if isinstance(given, BaseException) else sys.exc_info()[1]
        told = f"{type(error).__name__}: {error}".partition("\n")[0]
        record.msg = event | {"error": told} if event is not None else f"{said}: {told}"
    return True
