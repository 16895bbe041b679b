"""All words of the command line; only the module of the word that was typed is loaded, for `--help` every one."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from typing import Protocol, cast

import typer

from shopfloor import __version__
from shopfloor.apps.cli.failures import DEFECT, FAILED, exit_code, sentence
from shopfloor.apps.cli.terminal import printable
from shopfloor.base.errors import ShopfloorError

_WORDS = {
    "run": "run",
    "demo": "demo",
    "up": "serve",
    "api": "serve",
    "worker": "serve",
    "migrate": "serve",
    "doctor": "machine",
    "image": "machine",
    "mock-provider": "mock_provider",
    "accept": "accept",
    "login": "sign_in",
    "logout": "sign_in",
    "setup-link": "account",
    "invite": "account",
    "session": "account",
    "account": "account",
    "mfa": "mfa",
    "identity-provider": "identity_provider",
    "job": "job",
    "approval": "approval",
    "dead-letter": "dead_letter",
    "project": "project",
    "organization": "organization",
    "member": "member",
    "team": "team",
    "role": "role",
    "environment": "environment",
    "release": "release",
    "sprint": "sprint",
    "key": "key",
    "provider": "provider",
    "model": "model",
    "price": "model",
    "budget": "budget",
    "ledger": "ledger",
    "notification": "notification",
    "agent": "agent",
    "artifact": "artifact",
    "audit": "audit",
    "secret": "secret",
    "secrets": "secrets",
}
_HELP = (
    "AI software-development agents as durable production jobs.\n\n"
    'Start with `shopfloor demo`, then `shopfloor run --repo . --model anthropic/... "fix the failing test"`.'
)
_INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class _Module(Protocol):
    def register(self, app: typer.Typer) -> None: ...


def run(words: list[str]) -> int:
    """Do what `words` say; the exit code."""
    try:
        application(words)(words, prog_name="shopfloor")
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BrokenPipeError:  # `shopfloor job list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except (ShopfloorError, OSError) as error:
        sys.stderr.write(f"error: {sentence(error)}\n")
        return exit_code(error)
    except Exception as error:  # noqa: BLE001 - the outermost edge: a person reads a sentence, not a traceback
        return _defect(error)
    return 0


def _defect(error: Exception) -> int:
    """An error that nobody foresaw."""
    if os.environ.get("SHOPFLOOR_LOG__LEVEL", "").lower() == "debug":
        sys.stderr.write(printable("".join(traceback.format_exception(error))))
    sys.stderr.write(f"error: {type(error).__name__}: {sentence(error)} {DEFECT}\n")
    return FAILED


def application(words: list[str]) -> typer.Typer:
    """The application with the command that `words` begin with, or with all of them."""
    app = typer.Typer(
        name="shopfloor",
        help=_HELP,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    first = next((word for word in words if not word.startswith("-")), None)
    modules = [_WORDS[first]] if first in _WORDS else list(dict.fromkeys(_WORDS.values()))
    for name in modules:
        cast("_Module", importlib.import_module(f"shopfloor.apps.cli.{name}")).register(app)
    app.command("version", help="Which version this is.")(_version)
    return app


def _root(
    version: bool = typer.Option(False, "--version", "-V", help="Which version this is.", is_eager=True),
) -> None:
    if version:
        _version()
        raise typer.Exit


def _version() -> None:
    print(f"shopfloor {__version__}")
