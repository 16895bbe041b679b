"""What goes in and out of this room over HTTP: signing in, sessions, invitations."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, SecretStr, StringConstraints

from shopfloor.domain.accounts.models import SessionKind
from shopfloor.infra.web.json_body import Body, Reply

Email = Annotated[str, StringConstraints(min_length=3, max_length=254, strip_whitespace=True)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Password = Annotated[SecretStr, Field(min_length=1, max_length=1_024, description="8 to 128 characters, any of them.")]
Token = Annotated[SecretStr, Field(min_length=1, max_length=200)]
Kind = Annotated[
    SessionKind, Field(description="`browser`: a cookie; `token`: an access token and a refresh token, for programs.")
]


class SetUp(Body):
    """The first owner, with the token of the set-up link."""

    token: Token = Field(description="What stands behind the `#` of the link.")
    name: Name
    email: Email
    password: Password
    kind: Kind = "browser"


class SignIn(Body):
    """Who wants in."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "you@example.org", "password": "your own"}]})

    email: Email
    password: Password
    organization: UUID | None = Field(default=None, description="For an address that belongs to several.")
    kind: Kind = "browser"


class SecondFactor(Body):
    """The proof that a challenge asks for."""

    challenge: Token
    kind: Literal["totp", "recovery", "passkey"]
    code: Annotated[str, StringConstraints(min_length=1, max_length=64)] | None = Field(
        default=None, description="For `totp` and `recovery`."
    )
    passkey: dict[str, Any] | None = Field(default=None, description="What the browser's `navigator.credentials` gave.")


class RefreshRequest(Body):
    """The newest refresh token of a session."""

    refresh_token: Token


class PasswordChange(Body):
    """The present password, and another one."""

    present: Password | None = Field(default=None, description="Left out by who has none yet.")
    new: Password


class PasswordForgot(Body):
    """Whose password was forgotten."""

    email: Email


class PasswordReset(Body):
    """The token of the link in the mail, and a new password."""

    token: Token
    password: Password


class EmailVerify(Body):
    """The token of the link in the mail."""

    token: Token


class SecondFactorAsked(Reply):
    """What is still to be proved: `POST /api/v1/auth/second-factor`."""

    challenge: str
    kinds: list[str] = Field(description="`totp`, `recovery`, `passkey`: those that this person has.")
    expires_at: datetime
    passkey: dict[str, Any] | None = Field(description="For `navigator.credentials.get`, where there is a passkey.")


class SessionOpened(Reply):
    """A session that was just opened."""

    id: UUID
    user_id: UUID
    organization_id: UUID
    restricted: bool = Field(description="True: it may only set up the second factor that the organization asks for.")
    ends_at: datetime
    csrf_token: str | None = Field(description="For the header X-CSRF-Token; kind `browser` only.")
    access_token: str | None = Field(description="For the Authorization header; kind `token` only.")
    expires_in_s: int | None = Field(description="Of the access token.")
    refresh_token: str | None = Field(description="Good once: POST /api/v1/auth/token/refresh; kind `token` only.")


class SignInReply(Reply):
    """Either a session, or the second factor that is asked for."""

    session: SessionOpened | None
    second_factor: SecondFactorAsked | None


class CsrfReply(Reply):
    """What a page of this server sends along with its changes."""

    csrf_token: str


class TicketReply(Reply):
    """Good for one WebSocket within 30 seconds: `?ticket=`."""

    ticket: str
    expires_at: datetime


class Done(Reply):
    """Taken. Where a mail is due, it is on its way if there is such an account and a mail server is set."""

    accepted: bool = True


class VerificationReply(Reply):
    """Whether a mail is on its way."""

    mailed: bool = Field(description="False: no mail server is set (SHOPFLOOR_MAIL__HOST).")


class SessionReply(Reply):
    """A session of yours."""

    id: UUID
    kind: str
    methods: list[str] = Field(description="How it was opened: `password`, `totp`, `passkey`, `oidc:<name>`.")
    restricted: bool
    address: str
    agent: str = Field(description="The program, as it called itself.")
    created_at: datetime
    signed_in_at: datetime
    last_seen_at: datetime = Field(description="Exact to a minute.")
    ends_at: datetime
    current: bool = Field(description="The one that asks.")


class SessionsEnded(Reply):
    """How many there were."""

    ended: int


class Profile(Reply):
    """A person's own account."""

    id: UUID
    organization_id: UUID
    email: str
    name: str
    role: str
    has_password: bool
    email_verified_at: datetime | None
    created_at: datetime


class ProfileChange(Body):
    """What to change. What is left out stays."""

    name: Name = ""


class InvitationNew(Body):
    """Who may come in, and as what."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"email": "new@example.org", "role": "developer"}]})

    email: Email
    role: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "developer"
    teams: list[Annotated[str, StringConstraints(min_length=1, max_length=64)]] = Field(
        default=[], max_length=20, description="Teams to join as a member: slugs or ids. Wants `team.edit`."
    )


class InvitationReply(Reply):
    """An invitation. Its link is not known any more."""

    id: UUID
    email: str
    role: str
    team_ids: list[UUID]
    invited_by: UUID
    created_at: datetime
    expires_at: datetime
    accepted_at: datetime | None
    withdrawn_at: datetime | None


class InvitationMade(InvitationReply):
    """A new invitation."""

    link: str | None = Field(description="To pass on, shown this once; null: it went out by mail.")


class OwnerLinkNew(Body):
    """Whose owner is to get in."""

    organization_id: UUID


class LinkReply(Reply):
    """A one-time link to pass on."""

    link: str = Field(description="Shown this once; one made before it is void.")
    expires_at: datetime


class InvitationAccept(Body):
    """The token of the link, and who it is."""

    token: Token
    name: Name
    password: Password
    kind: Kind = "browser"
