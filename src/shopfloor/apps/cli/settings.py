"""The settings as every command reads them, and logs that don't get between the lines of a terminal."""

from __future__ import annotations

import logging
import os
from typing import Any

from shopfloor.apps.settings import Settings, load
from shopfloor.infra.telemetry import LogSettings, configure_logging


def settings_for(*, quiet: bool, **overrides: Any) -> Settings:
    """The settings; logging set up. `quiet`: warnings only, unless a level was asked for. Raises: SettingsError."""
    settings = load(**overrides)
    level = "error" if quiet and "SHOPFLOOR_LOG__LEVEL" not in os.environ else settings.log.level
    configure_logging(LogSettings(level=level, format=settings.log.format))
    for chatty in ("alembic", "procrastinate", "psycopg"):  # each sets a level of its own
        logging.getLogger(chatty).setLevel(logging.ERROR if level == "error" else logging.WARNING)
    return settings
