"""Where this machine's apt finds the packages of its own release: what a root file system can be made from here."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_POCKETS: Final = ("", "-updates", "-security")
_SCHEMES: Final = ("http://", "https://", "file:", "mirror://")  # a cdrom is not here at every build
# What a derivative calls the release that its packages are from, before its own name for itself.
_CODENAMES: Final = ("UBUNTU_CODENAME", "DEBIAN_CODENAME", "VERSION_CODENAME")


@dataclass(frozen=True, slots=True)
class Source:
    """One place of packages. Source: sources.list(5)."""

    uri: str
    suite: str
    components: tuple[str, ...]
    signed_by: str = ""  # the file of its keys; empty: those that apt trusts anyway

    def __str__(self) -> str:
        option = f"[signed-by={self.signed_by}] " if self.signed_by else ""
        return f"deb {option}{self.uri} {self.suite} {' '.join(self.components)}"


def own_release(etc: Path = Path("/etc")) -> tuple[str, list[Source]]:
    """The code name of the machine's release and where its packages are; no sources: it is none of Debian's family."""
    release = _os_release(etc / "os-release")
    found = list(_sources(etc / "apt"))
    for name in filter(None, (release.get(key) for key in _CODENAMES)):
        suites = {name + pocket for pocket in _POCKETS}
        sources = [source for source in found if source.suite in suites and source.uri.startswith(_SCHEMES)]
        if any(source.suite == name for source in sources):
            return name, sources
    return "", []


def _os_release(file: Path) -> dict[str, str]:
    """Source: os-release(5)."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    pairs = (line.partition("=") for line in lines if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, _, value in pairs}


def _sources(apt: Path) -> Iterator[Source]:
    folder = apt / "sources.list.d"
    for file in (apt / "sources.list", *sorted(folder.glob("*.list"))):
        for line in _lines(file):
            yield from _one_line(line)
    for file in sorted(folder.glob("*.sources")):
        for stanza in _stanzas(_lines(file)):
            yield from _deb822(stanza)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def _one_line(line: str) -> Iterator[Source]:
    """`deb [option=value ...] uri suite component ...`."""
    text = line.partition("#")[0].strip()
    if not text.startswith(("deb ", "deb\t")):
        return
    text, options = text[3:].strip(), ""
    if text.startswith("["):
        options, _, text = text[1:].partition("]")
    match text.split():
        case [uri, suite, *components] if components:
            signed_by = next((word[10:] for word in options.split() if word.startswith("signed-by=")), "")
            yield Source(uri, suite, tuple(components), _file(signed_by))
        case _:
            return


def _stanzas(lines: list[str]) -> Iterator[dict[str, str]]:
    stanza: dict[str, str] = {}
    key = ""
    for line in [*lines, ""]:
        if not line.strip():
            if stanza:
                yield stanza
            stanza, key = {}, ""
        elif line.startswith("#"):
            continue
        elif line[0] in " \t":
            stanza[key] = f"{stanza.get(key, '')}\n{line.strip()}"
        else:
            key = line.partition(":")[0].strip().lower()
            stanza[key] = line.partition(":")[2].strip()


def _deb822(stanza: dict[str, str]) -> Iterator[Source]:
    if "deb" not in stanza.get("types", "").split() or stanza.get("enabled", "yes").lower() in {"no", "false", "0"}:
        return
    components = tuple(stanza.get("components", "").split())
    for uri in stanza.get("uris", "").split():
        for suite in stanza.get("suites", "").split():
            if components:
                yield Source(uri, suite, components, _file(stanza.get("signed-by", "")))


def _file(signed_by: str) -> str:
    """A key written into the entry itself can't be passed on in one line: apt's trusted ones have to do."""
    first = shlex.quote(signed_by.strip())
    return first if first == signed_by.strip() and first.startswith("/") else ""
