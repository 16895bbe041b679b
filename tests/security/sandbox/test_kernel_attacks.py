"""Every attack on the kernel fails in the sandbox and succeeds in a privileged container. # BOX-5"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandbox_on_docker import capabilities_here

pytestmark = [pytest.mark.docker, pytest.mark.asyncio(loop_scope="module")]

PROGRAM = Path(__file__).with_name("kernel_attacks.py").read_bytes()
NAMES = sorted(
    {
        *re.findall(r'^ATTACKS\["(\w+)"\]', PROGRAM.decode(), re.MULTILINE),
        *re.findall(r"^@attack\ndef (\w+)", PROGRAM.decode(), re.MULTILINE),
    }
    | {f"unshare_{kind}" for kind in ("user", "mount", "pid", "network", "ipc", "uts", "cgroup")}
    | {f"clone_{kind}" for kind in ("user", "mount", "network")}
)
# What a kernel was built without is no attack on it.
ABSENT = {"ENOSYS", "EAFNOSUPPORT", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT"}
# Attacks on a file that a kernel may have been built without; a missing file says nothing for the others.
ON_A_FILE = {"read_kernel_memory", "sysrq"}

# What even root may not do on a machine whose root lacks the capability.
NEEDS = {"raise_the_limit_of_files": "SYS_RESOURCE", "raise_the_limit_of_core_files": "SYS_RESOURCE"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def outcomes(box: Any, privileged: Any, told: Any) -> tuple[dict[str, str], dict[str, str]]:
    return await told(box, PROGRAM), await told(privileged, PROGRAM)


@pytest.mark.parametrize("name", NAMES)
async def test_an_attack_on_the_kernel_fails(name: str, outcomes: tuple[dict[str, str], dict[str, str]]):
    inside, control = outcomes[0][name], outcomes[1][name]
    assert inside != "done"
    if control in ABSENT or (name in ON_A_FILE and control in {"ENOENT", "ENODEV"}):
        pytest.skip(f"this kernel has no {name} ({control}), so there is no control")
    if NEEDS.get(name) not in {None, *capabilities_here()}:
        pytest.skip(f"root of this machine lacks {NEEDS[name]}, so there is no control")
    assert control == "done"


async def test_no_attack_is_left_out(outcomes: tuple[dict[str, str], dict[str, str]]):
    assert sorted(outcomes[0]) == sorted(outcomes[1]) == NAMES


async def test_the_sandbox_is_well_after_all_of_them(box: Any, outcomes: Any):
    assert (await box.run("echo well", timeout_s=5)).output == b"well\n"
