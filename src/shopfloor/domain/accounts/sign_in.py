"""The way in: a first factor was proved; a session opens, or a second factor is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shopfloor.domain.accounts import factors, one_time
from shopfloor.domain.accounts.errors import SignInRefused
from shopfloor.domain.accounts.factors import FactorDesk
from shopfloor.domain.accounts.factors_policy import policy_of
from shopfloor.domain.accounts.models import Pending, Person, SessionKind, Signed
from shopfloor.domain.accounts.people import acting_as, by_id
from shopfloor.domain.accounts.sessions import STANDARD, Lengths, open_session
from shopfloor.infra.tx import Store, Tx, begin

VOUCHED = "mfa"  # among a session's methods: the provider said that it saw two factors (RFC 8176)
REFUSAL = (
    "The address or the password is wrong, or this account can't sign in with it. Check both, ask for a new password "
    "with POST /api/v1/auth/password/forgot, or ask an admin. If you belong to several organizations, name one."
)


async def finish_first_factor(
    tx: Tx,
    user: Person,
    *,
    method: str,
    strong: bool,
    kind: SessionKind = "browser",
    lengths: Lengths = STANDARD,
) -> Signed | Pending:
    """After `method` (`password`, `oidc:<name>`, `passkey`) proved who it is; `tx` is one of `people.acting(user)`.

    `strong`: the method is two factors in itself (a passkey with user verification, a provider that says so).
    Raises: SignInRefused if the person was disabled meanwhile, or the organization takes no passwords.
    """
    now = await by_id(tx, user.id, lock=True)
    if now is None or now.disabled_at is not None:
        raise SignInRefused(REFUSAL)
    policy = await policy_of(tx, tx.organization_id)
    if method == "password" and not policy.password_allowed:
        raise SignInRefused(REFUSAL)
    lengths = Lengths(policy.session_idle_s or lengths.idle_s, policy.session_absolute_s or lengths.absolute_s)
    standing = await factors.standing(tx, user.id)
    if standing.enrolled and not strong:
        data = {"method": method, "kind": kind, "lengths": [lengths.idle_s, lengths.absolute_s]}
        challenge, ends = await one_time.issue(tx, "second-factor", user.id, data=data)
        return Pending(challenge, tuple(sorted(standing.enrolled)), ends)
    must_enrol = standing.required and not standing.enrolled and not strong
    methods = [method, VOUCHED] if strong and method != "passkey" else [method]
    return Signed(await open_session(tx, now, methods=methods, kind=kind, restricted=must_enrol, lengths=lengths))


async def finish_second_factor(store: Store, desk: FactorDesk, challenge: str, proof: Mapping[str, Any]) -> Signed:
    """The session behind a challenge, for a proof that `factors.check` takes; five tries, five minutes.

    Raises: LinkNotValid for a challenge that is over; SignInRefused for a proof that isn't one; TooManyAttempts.
    """
    token = await one_time.find(store, "second-factor", challenge)
    principal = acting_as(token.organization_id, token.user_id)
    async with begin(store, principal) as tx:
        await one_time.try_once(tx, token)
    async with begin(store, principal) as tx:
        right = await factors.check(tx, desk, token.user_id, proof)
        person = await by_id(tx, token.user_id, lock=True)
        if right and person is not None and person.disabled_at is None:
            await one_time.use(tx, token)
            idle_s, absolute_s = token.data["lengths"]
            methods = [token.data["method"], str(proof["kind"])]
            opened = await open_session(
                tx, person, methods=methods, kind=token.data["kind"], lengths=Lengths(idle_s, absolute_s)
            )
            return Signed(opened)
        await tx.record("sign-in.failed", "user", token.user_id, after={"at": "second factor"}, result="refused")
    raise SignInRefused(
        "The second factor is wrong, or was used already: each code is good once. Wait for the next one, use a "
        "recovery code, or sign in anew."
    )
