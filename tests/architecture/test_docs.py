"""What the pages say is there: links lead somewhere, and every command exists with the options it is shown with."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import typer.main
from typer.core import TyperCommand, TyperGroup

from shopfloor.apps.cli.root import application

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)
_INLINE = re.compile(r"`(shopfloor [^`]+)`")
_UsageError = typer.BadParameter.__mro__[1]  # Typer brings its own click, and exports this one alone
_SHORTENED = {"...", "…"}


def _page(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_page)
def test_every_link_leads_to_something_that_is_there(page: Path):
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    broken = [link for link in _LINK.findall(text) if not _leads_somewhere(page, link)]
    assert broken == []


def _leads_somewhere(page: Path, link: str) -> bool:
    if re.match(r"[a-z]+:", link):
        return True  # elsewhere on the net: not asked for in a test
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if not target.exists():
        return False
    return not anchor or anchor in {_anchor(each) for each in _HEADING.findall(target.read_text(encoding="utf-8"))}


def _anchor(heading: str) -> str:
    """As GitHub makes it: lower case, marks dropped, blanks to hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def commands(page: Path) -> Iterator[str]:
    """Each `shopfloor ...` line of a console block, continued lines joined, without what follows a pipe or a remark."""
    for kind, block in _FENCE.findall(page.read_text(encoding="utf-8")):
        if kind == "console":
            yield from _typed(re.sub(r"^ +(?=\$ )", "", block, flags=re.MULTILINE))


def _typed(block: str) -> Iterator[str]:
    typed = ""
    for line in block.splitlines():
        if line.startswith("$ "):
            typed = line[2:]
        elif typed:
            typed += f"\n{line}"
        if typed and _whole(typed):
            yield typed
            typed = ""


def _whole(text: str) -> bool:
    """Whether the shell would run it, or wait for the rest: an open quote, a backslash at the end."""
    try:
        shlex.split(text, comments=True)
    except ValueError:
        return False
    return not text.endswith("\\")


def _words(command: str) -> list[list[str]]:
    """The words of each `shopfloor` in a line: `a && b`, `a | b`, `VARIABLE=x a &` are told apart."""
    lexer = shlex.shlex(command.replace("\\\n", " "), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    for token in lexer:
        if set(token) <= set(";&|()<>"):
            found.append([])
        elif found[-1] or not re.fullmatch(r"[A-Z_]+=.*", token, re.DOTALL):
            found[-1].append(token)
    return [words[1:] for words in found if words and words[0] == "shopfloor"]


WRITTEN = [(page, words) for page in PAGES for command in commands(page) for words in _words(command)]
MENTIONED = [
    (page, found)
    for page in PAGES
    for found in _INLINE.findall(_FENCE.sub("", page.read_text(encoding="utf-8")))
]  # fmt: skip


@pytest.mark.parametrize(("page", "words"), WRITTEN, ids=lambda each: each.name if isinstance(each, Path) else None)
def test_a_command_in_a_block_parses_as_it_is_written(page: Path, words: list[str]):
    assert parse_error(words) is None, f"{_page(page)}: shopfloor {shlex.join(words)}"


@pytest.mark.parametrize(("page", "text"), MENTIONED, ids=lambda each: each.name if isinstance(each, Path) else None)
def test_a_command_in_a_sentence_exists_with_the_options_it_names(page: Path, text: str):
    assert unknown_in(text) == [], _page(page)


def test_the_walk_finds_commands_and_tells_wrong_ones():
    """The positive control of the two above."""
    assert len(WRITTEN) > 15
    assert len(MENTIONED) > 40
    assert parse_error(["job", "submit", "--watch", "x"]) is None
    assert "No such option" in str(parse_error(["job", "submit", "--wacht", "x"]))
    assert "No such command" in str(parse_error(["jobs", "list"]))
    assert "Missing argument" in str(parse_error(["job", "watch"]))
    assert unknown_in("shopfloor job stepz JOB") == ["stepz"]
    assert unknown_in("shopfloor job fork --befor-turn N") == ["--befor-turn"]


def parse_error(words: list[str]) -> str | None:
    """What the command line would say before it does anything; None: it takes these words."""
    command, rest = _all_commands(), words
    try:
        while isinstance(command, TyperGroup):
            context = command.make_context("shopfloor", list(rest))
            _, found, rest = command.resolve_command(context, [*context._protected_args, *context.args])
            command = found
        command.make_context("shopfloor", list(rest))
    except typer.Exit:
        return None  # --help, --version
    except _UsageError as error:
        return error.format_message()
    return None


def _all_commands() -> TyperGroup | TyperCommand:
    return typer.main.get_command(application(["--help"]))


def unknown_in(text: str) -> list[str]:
    """The command words and options of a mention that don't exist; its placeholders stand for anything."""
    command = _all_commands()
    odd: list[str] = []
    for word in text.split()[1:]:
        if isinstance(command, TyperGroup) and not word.startswith("-"):
            if word in _SHORTENED or word.isupper():
                break
            found = command.commands.get(word.strip(","))
            if found is None:
                return [*odd, word]
            command = found
        elif word.startswith("--"):
            known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
            name = word.partition("=")[0].strip(",")
            odd += [] if name in known | {"--help"} else [name]
    return odd
