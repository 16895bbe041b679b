"""The seccomp profiles: our own allow-list, and the same with what debuggers need."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files

from shopfloor.engine.sandbox.port import SandboxUnavailable

PROBE_ERRNO = 125  # ECANCELED: what our profile, and no other, answers to lookup_dcookie


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile as the engine takes it. `name` holds the start of its digest: `shopfloor-strict@1a2b3c4d5e6f`."""

    name: str
    text: str


def load_profile(*, debug: bool = False) -> Profile:
    """The packaged profile. Raises: SandboxUnavailable when the installation lacks it: no sandbox opens without."""
    folder = files("shopfloor.engine.sandbox").joinpath("seccomp")
    try:
        profile = json.loads(folder.joinpath("strict.json").read_text())
        if debug:
            profile["syscalls"] += json.loads(folder.joinpath("debug_adds.json").read_text())
    except (FileNotFoundError, ValueError) as error:
        raise SandboxUnavailable(
            "the seccomp profile of this installation is missing or damaged: install Shopfloor again", cause=str(error)
        ) from error
    text = json.dumps(profile, sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return Profile(f"shopfloor-{'debug' if debug else 'strict'}@{digest[:12]}", text)
