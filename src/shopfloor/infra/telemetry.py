"""Logs: one JSON line per fact on stderr, with the ids of the context, every secret struck out."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import orjson
import structlog
from pydantic import BaseModel, ConfigDict
from structlog.contextvars import bound_contextvars, merge_contextvars
from structlog.typing import Processor

from shopfloor.infra.redaction import REDACTOR

MAX_TEXT_CHARS = 16_384  # of one value in one event: a log line is no place for a body
_CUT = "...[cut]"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_LOOSE = re.compile(r"[\x7f-\x9f\u2028\u2029]")

Level = Literal["debug", "info", "warning", "error"]
EventDict = MutableMapping[str, Any]

log = structlog.get_logger(__name__)


class LogSettings(BaseModel):
    """How this process logs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    level: Level = "info"
    format: Literal["auto", "json", "console"] = "auto"  # auto: console on a terminal, else json


def configure_logging(settings: LogSettings | None = None, *, stream: TextIO | None = None) -> None:
    """Send structlog's and the standard library's events through one chain to `stream` (stderr). May run again."""
    settings = settings or LogSettings()
    out = stream or sys.stderr
    level = getattr(logging, settings.level.upper())
    pretty = settings.format == "console" or (settings.format == "auto" and out.isatty())
    structlog.configure(
        processors=[*_shared(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(out) if pretty else _JsonLines(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared(),
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                redact_event,
                _console(out) if pretty else _json,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    _quiet_the_servers()


def tell(event: str, level: Literal["debug", "info"], *, sent: Mapping[str, str], **fields: object) -> None:
    """Log what is told at every request. `sent` holds texts that a client chose; the other values are our own.

    The chain above costs 100 us a line. A JSON line whose own values can hold no secret needs none of it: the same
    line, only what was sent goes through the redaction.
    """
    handler = logging.root.handlers[0] if len(logging.root.handlers) == 1 else None
    if not isinstance(handler, _JsonLines):
        getattr(log, level)(event, **fields, **sent)
        return
    if not logging.root.isEnabledFor(logging.DEBUG if level == "debug" else logging.INFO):
        return
    at = datetime.now(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
    safe = {name: REDACTOR.named(name, _cut(text)) for name, text in sent.items()}
    handler.line({"at": at, "level": level, "event": event, **fields, **safe})


def bind(**ids: object) -> AbstractContextManager[None]:
    """A context in which every event carries these ids: `request_id`, `job_id`, `organization_id`, `run_id`."""
    return bound_contextvars(**{name: str(value) for name, value in ids.items() if value is not None})


def redact_event(_logger: object, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: cut, strike out secrets, for every value of the event and its traceback."""
    event.pop("color_message", None)  # uvicorn says everything twice, once in colour
    return {name: REDACTOR.named(name, _cut(value)) for name, value in event.items()}


def _cut(value: object) -> object:
    if not isinstance(value, str) or len(value) <= MAX_TEXT_CHARS:
        return value
    # Redacted before the final cut: half a secret at the edge would match no pattern.
    return REDACTOR.text(value[: 4 * MAX_TEXT_CHARS])[:MAX_TEXT_CHARS] + _CUT


class _JsonLines(logging.StreamHandler[TextIO]):
    """The handler of a process that logs JSON: takes finished lines beside records."""

    def line(self, event: EventDict) -> None:
        """One line of what needs no redaction any more. As with records, a log that can't be written fails nobody."""
        with suppress(OSError, ValueError), self.lock or nullcontext():
            self.stream.write(_json(None, "", event) + self.terminator)
            self.flush()


def _shared() -> list[Processor]:
    return [
        merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
    ]


def _json(_logger: object, _method: str, event: EventDict) -> str:
    ordered: dict[str, Any] = {name: event.pop(name, None) for name in ("at", "level", "event")}
    ordered.update(event)
    try:
        return _one_line(orjson.dumps(ordered, default=str, option=orjson.OPT_NON_STR_KEYS).decode())
    except orjson.JSONEncodeError:  # a lone surrogate or an integer over 64 bits somewhere: keep the event
        clean = {str(name): str(value).encode("utf-8", "replace").decode() for name, value in ordered.items()}
        return _one_line(orjson.dumps(clean).decode())


def _one_line(text: str) -> str:
    """JSON lets some signs stand that end a line for one reader and move the cursor of another: escape them too."""
    return text if text.isascii() else _LOOSE.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _console(stream: TextIO) -> Processor:
    renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)

    def render(logger: Any, method: str, event: EventDict) -> str:
        safe = {name: _printable(value, keep_lines=name == "exception") for name, value in event.items()}
        return renderer(logger, method, safe)

    return render


def _printable(value: object, *, keep_lines: bool) -> object:
    """Text that can't move a terminal's cursor or forge a line."""
    if not isinstance(value, str):
        return value
    text = _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", value)
    return text if keep_lines else text.replace("\n", "\\n")


def _quiet_the_servers() -> None:
    """The server's own access lines would repeat ours without ids and unredacted; its logger joins our chain."""
    logging.getLogger("uvicorn.access").disabled = True
    for name in ("uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True
