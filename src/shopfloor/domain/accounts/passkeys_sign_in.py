"""Signing in with a passkey alone: no name, no password; the key names its owner and has asked for a PIN or finger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shopfloor.base.errors import NotSignedIn
from shopfloor.domain.accounts import factors, passkeys, store_factors
from shopfloor.domain.accounts.factors import FactorDesk
from shopfloor.domain.accounts.models import Pending, SessionKind, Signed
from shopfloor.domain.accounts.people import acting_as, by_id
from shopfloor.domain.accounts.sessions import Lengths
from shopfloor.domain.accounts.sign_in import finish_first_factor
from shopfloor.infra.tx import Store, begin, begin_system


def request_for(desk: FactorDesk, store: Store, browser: str) -> dict[str, Any]:
    """For `navigator.credentials.get()` of the browser whose cookie holds `browser`; five minutes, once."""
    challenge = passkeys.new_challenge(desk.sealer, _signing_in(browser), store.services.clock.now())
    return passkeys.authentication_options(desk.site, challenge, verify_user=True)


async def sign_in(
    store: Store,
    desk: FactorDesk,
    credential: Mapping[str, Any],
    *,
    browser: str,
    kind: SessionKind,
    lengths: Lengths,
) -> Signed | Pending:
    """The answer to `request_for`: two factors in one. Raises: NotSignedIn, the same whatever doesn't hold."""
    async with begin_system(store) as tx:
        found = await store_factors.passkey_anywhere(tx, passkeys.credential_id_of(credential))
    if found is None or passkeys.user_handle_of(credential) != found[1].user_id:
        raise NotSignedIn(passkeys.REFUSAL)
    organization_id, known = found
    async with begin(store, acting_as(organization_id, known.user_id)) as tx:
        person = await by_id(tx, known.user_id)
        if person is None or person.disabled_at is not None:
            raise NotSignedIn(passkeys.REFUSAL)
        await factors.use_passkey(tx, desk, known, credential, purpose=_signing_in(browser), verify_user=True)
        return await finish_first_factor(tx, person, method="passkey", strong=True, kind=kind, lengths=lengths)


def _signing_in(browser: str) -> str:
    return f"sign in/{browser}"
