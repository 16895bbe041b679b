"""Every keeper of master keys does what the port promises."""

from __future__ import annotations

import base64

import pytest

from shopfloor.infra.secrets.port import MasterKeys, MasterKeyUnknown, Plain, Wrapped
from shopfloor.testing.conformance.master_keys import CHECKS

KEEPERS = [
    "file", "environment", "vault transit", "vault transit, kubernetes", "vault kv", "aws kms", "aws secrets manager",
    "vault transit beside a file",
]  # fmt: skip


@pytest.mark.parametrize("name", KEEPERS)
async def test_a_keeper_conforms(setups, opened, name: str):
    settings = setups[name]()
    for check in CHECKS:
        await check(await opened(settings))


async def test_a_second_process_unwraps_and_learns_of_a_new_key(setups, opened):
    for name in ("file", "vault transit", "vault kv", "aws secrets manager"):
        settings = setups[name]()
        first, second = await opened(settings), await opened(settings)
        before = await first.wrap([Plain("here", bytes(32))])
        await first.renew()
        after = await first.wrap([Plain("here", bytes(32))])
        assert await second.unwrap([*before, *after]) == [bytes(32)] * 2, name


class _Careless:
    """A fake keeper that hides nothing and checks nothing."""

    scheme = "careless"

    async def current_id(self) -> str:
        return "careless:1"

    async def wrap(self, keys):
        return [Wrapped(each.binding, "careless:1", base64.b64encode(each.key)) for each in keys]

    async def unwrap(self, keys):
        if any(each.key_id != "careless:1" for each in keys):
            raise MasterKeyUnknown("not mine")
        return [base64.b64decode(each.blob) for each in keys]

    async def renew(self) -> str:
        return "careless:1"

    async def aclose(self) -> None: ...


async def test_a_careless_keeper_does_not_conform():
    """The positive control."""
    careless: MasterKeys = _Careless()
    failed: list[str] = []
    for check in CHECKS:
        try:
            await check(careless)
        except AssertionError:
            failed.append(check.__name__)
    assert failed == [
        "a_wrapped_key_tells_nothing",
        "a_key_with_another_binding_does_not_unwrap",
        "a_changed_key_does_not_unwrap",
        "one_bad_key_among_good_ones_is_refused",
        "a_new_master_key_leaves_the_older_ones_able_to_unwrap",
    ]
