"""What this room works with beside the database, and how its routes reach it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, cast

from starlette.requests import HTTPConnection

from shopfloor.domain.access.http import AccessState
from shopfloor.domain.accounts.factors import FactorDesk
from shopfloor.domain.accounts.oidc_client import IdentityClient
from shopfloor.domain.accounts.oidc_domains import TextLookup
from shopfloor.domain.accounts.passkeys import relying_party
from shopfloor.domain.accounts.passwords import Passwords
from shopfloor.domain.accounts.sessions import Lengths
from shopfloor.domain.accounts.settings import AccountsSettings
from shopfloor.infra.mail import MailSettings
from shopfloor.infra.secrets import Sealer
from shopfloor.infra.tx import Store


@dataclass(frozen=True, slots=True)
class AccountsDesk:
    """One a process."""

    store: Store
    sealer: Sealer = field(repr=False)
    settings: AccountsSettings
    mail: MailSettings
    passwords: Passwords

    @property
    def lengths(self) -> Lengths:
        """Of sessions."""
        return Lengths.of(self.settings)


@dataclass(frozen=True, slots=True)
class IdentityParts:
    """How identity providers and the name service are reached. One a process."""

    client: IdentityClient
    texts: TextLookup


class AccountsState(AccessState, Protocol):
    """What this room needs of `app.state.shopfloor`."""

    @property
    def accounts(self) -> AccountsDesk:
        """See there."""
        ...

    @property
    def identity(self) -> IdentityParts:
        """See there."""
        ...


def accounts_state(connection: HTTPConnection) -> AccountsState:
    """What the application was wired with."""
    return cast("AccountsState", connection.app.state.shopfloor)


def base_url(request: HTTPConnection) -> str:
    """What links start with: the address that is set, else the one that this request came to (an allowed host)."""
    state = accounts_state(request)
    scheme = "https" if state.edge.https else "http"
    return state.accounts.settings.public_url or f"{scheme}://{request.headers.get('host', 'localhost')}"


def factor_desk(request: HTTPConnection) -> FactorDesk:
    """What checks a second factor; passkeys are bound to the address of `base_url`."""
    return FactorDesk(accounts_state(request).sealer, relying_party(base_url(request)))
