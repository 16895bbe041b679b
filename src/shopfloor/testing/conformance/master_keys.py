"""What every keeper of master keys has to do. Each check gets one that is ready, and says what was expected.

@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_it_conforms(check, my_keeper):
    await check(my_keeper)
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from shopfloor.infra.secrets.port import KEY_BYTES, MasterKeys, MasterKeyUnknown, Plain, RenewElsewhere, Wrapped


async def what_is_wrapped_unwraps_in_the_same_order(keeper: MasterKeys) -> None:
    """Many at once, as a rotation does."""
    plain = [Plain(f"shopfloor/organization-{number}", secrets.token_bytes(KEY_BYTES)) for number in range(20)]
    wrapped = await keeper.wrap(plain)
    assert [each.binding for each in wrapped] == [each.binding for each in plain]
    assert await keeper.unwrap(wrapped) == [each.key for each in plain]


async def nothing_asked_is_nothing_answered(keeper: MasterKeys) -> None:
    """An empty list is no error."""
    assert (await keeper.wrap([]), await keeper.unwrap([])) == ([], [])


async def a_wrapped_key_tells_nothing(keeper: MasterKeys) -> None:
    """Neither does its `repr`, and no key is wrapped alike twice."""
    key = secrets.token_bytes(KEY_BYTES)
    first, second = await keeper.wrap([Plain("here", key), Plain("here", key)])
    assert first.blob != second.blob
    assert key not in first.blob
    assert repr(key) not in repr([Plain("here", key), first])


async def the_key_id_is_the_current_one_and_begins_with_the_scheme(keeper: MasterKeys) -> None:
    """So that a rotation can tell what is to be wrapped anew."""
    [wrapped] = await keeper.wrap([Plain("here", secrets.token_bytes(KEY_BYTES))])
    assert wrapped.key_id == await keeper.current_id()
    assert wrapped.key_id.startswith(f"{keeper.scheme}:")


async def a_key_with_another_binding_does_not_unwrap(keeper: MasterKeys) -> None:
    """Moved to another organization's row it is refused."""
    [wrapped] = await keeper.wrap([Plain("here", secrets.token_bytes(KEY_BYTES))])
    await _refused(keeper, Wrapped("there", wrapped.key_id, wrapped.blob))


async def a_changed_key_does_not_unwrap(keeper: MasterKeys) -> None:
    """Whichever part of it was changed."""
    [wrapped] = await keeper.wrap([Plain("here", secrets.token_bytes(KEY_BYTES))])
    last = b"A" if wrapped.blob[-2:-1] != b"A" else b"B"
    await _refused(keeper, Wrapped("here", wrapped.key_id, wrapped.blob[:-2] + last + wrapped.blob[-1:]))


async def one_bad_key_among_good_ones_is_refused(keeper: MasterKeys) -> None:
    """No answer is shifted by one."""
    good, bad = await keeper.wrap([Plain("here", secrets.token_bytes(KEY_BYTES)) for _ in range(2)])
    await _refused(keeper, good, Wrapped("there", bad.key_id, bad.blob))


async def a_key_of_a_master_key_that_never_was_is_unknown(keeper: MasterKeys) -> None:
    """And the error says which was asked for."""
    [wrapped] = await keeper.wrap([Plain("here", secrets.token_bytes(KEY_BYTES))])
    await _refused(keeper, Wrapped("here", f"{keeper.scheme}:no-such-key:v1", wrapped.blob))


async def a_new_master_key_leaves_the_older_ones_able_to_unwrap(keeper: MasterKeys) -> None:
    """Or the keeper says how a new one is made."""
    key = secrets.token_bytes(KEY_BYTES)
    [before] = await keeper.wrap([Plain("here", key)])
    try:
        fresh = await keeper.renew()
    except RenewElsewhere as error:
        assert "rotate-master" in error.detail  # noqa: PT017 - what it says is the point
        return
    [after] = await keeper.wrap([Plain("here", key)])
    assert after.key_id == fresh == await keeper.current_id()
    assert after.key_id != before.key_id
    assert await keeper.unwrap([before, after]) == [key, key]


CHECKS: Final[list[Callable[[MasterKeys], Awaitable[None]]]] = [
    what_is_wrapped_unwraps_in_the_same_order,
    nothing_asked_is_nothing_answered,
    a_wrapped_key_tells_nothing,
    the_key_id_is_the_current_one_and_begins_with_the_scheme,
    a_key_with_another_binding_does_not_unwrap,
    a_changed_key_does_not_unwrap,
    one_bad_key_among_good_ones_is_refused,
    a_key_of_a_master_key_that_never_was_is_unknown,
    a_new_master_key_leaves_the_older_ones_able_to_unwrap,
]


async def _refused(keeper: MasterKeys, *keys: Wrapped) -> None:
    try:
        await keeper.unwrap(keys)
    except MasterKeyUnknown:
        return
    raise AssertionError(f"{type(keeper).__name__} unwrapped what it should have refused")
