"""What goes in and out about second factors and sign-in policies over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import ConfigDict, Field, StringConstraints

from shopfloor.domain.accounts.factors_enrol import Factors
from shopfloor.domain.accounts.models_factors import FactorKind, Passkey, SignInPolicy
from shopfloor.infra.web.json_body import Body, Reply
from shopfloor.infra.web.wording import worded

_DAY_S = 86_400

Base64Url = Annotated[str, StringConstraints(min_length=1, max_length=16_384, pattern=r"^[A-Za-z0-9_-]+$")]
Code = Annotated[str, StringConstraints(pattern=worded(r"^[0-9]{6}$", "Write the six digits that the app shows now."))]
PasskeyName = Annotated[str, StringConstraints(min_length=1, max_length=100, strip_whitespace=True)]
Word = Annotated[str, StringConstraints(max_length=64)]


class PasskeyReply(Reply):
    """A passkey, as its owner knows it."""

    id: UUID
    name: str
    backed_up: bool = Field(description="Its maker keeps it on several devices.")
    created_at: datetime
    last_used_at: datetime | None


class FactorsReply(Reply):
    """What you have to prove who you are beside the first factor."""

    required: bool = Field(description="Your organization asks for a second factor today.")
    enrolled: list[FactorKind]
    totp_since: datetime | None = Field(description="Null: no authenticator app.")
    passkeys: list[PasskeyReply]
    recovery_codes_left: int


class TotpReply(Reply):
    """For an authenticator app, shown this once. It counts from `POST /api/v1/me/factors/totp/confirm` on."""

    secret: str = Field(description="Base 32, to type.")
    uri: str = Field(description="`otpauth://totp/...`, to show as a QR code.")


class TotpCode(Body):
    """A code that the app shows."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"code": "123456"}]})

    code: Code


class FactorAdded(Reply):
    """Done. With the first factor come recovery codes, shown this once; empty: you have some already."""

    recovery_codes: list[str]


class PasskeyAdded(FactorAdded):
    """The passkey, too."""

    passkey: PasskeyReply


class _Attestation(Body):
    """The response of a new credential; what browsers add beside is not used."""

    client_data_json: Base64Url = Field(alias="clientDataJSON")
    attestation_object: Base64Url = Field(alias="attestationObject")
    transports: list[Word] = Field(default=[], max_length=20)
    authenticator_data: Base64Url | None = Field(default=None, alias="authenticatorData")
    public_key: Base64Url | None = Field(default=None, alias="publicKey")
    public_key_algorithm: int | None = Field(default=None, alias="publicKeyAlgorithm")


class _Assertion(Body):
    """The response of a credential that is there."""

    client_data_json: Base64Url = Field(alias="clientDataJSON")
    authenticator_data: Base64Url = Field(alias="authenticatorData")
    signature: Base64Url
    user_handle: Base64Url | None = Field(default=None, alias="userHandle")


class _Credential(Body):
    """`PublicKeyCredential.toJSON()` of the browser. Source: W3C Web Authentication, Level 3, section 5.1."""

    id: Base64Url
    raw_id: Base64Url = Field(alias="rawId")
    kind: Literal["public-key"] = Field(alias="type")
    authenticator_attachment: Word | None = Field(default=None, alias="authenticatorAttachment")
    client_extension_results: dict[Word, Any] = Field(default={}, alias="clientExtensionResults", max_length=20)

    def as_json(self) -> dict[str, Any]:
        """As the browser sent it."""
        return self.model_dump(by_alias=True, exclude_none=True, exclude={"client_extension_results"})


class NewCredential(_Credential):
    """The browser's answer to the options of a new passkey."""

    response: _Attestation


class ShownCredential(_Credential):
    """The browser's answer to the options of a sign-in."""

    response: _Assertion


class PasskeyNew(Body):
    """A passkey to add."""

    name: PasskeyName = Field(description="For you: which device.")
    credential: NewCredential


class SignInPolicyBody(Body):
    """What the organization asks of those who sign in, as a whole."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"mfa_required": True, "mfa_grace_days": 14}]})

    mfa_required: bool = Field(default=False, description="Everybody has a second factor.")
    mfa_grace_days: int = Field(
        default=0, ge=0, le=90, description="So long members may go on without, from now or from joining."
    )
    password_allowed: bool = Field(default=True, description="False: by identity provider or passkey only.")
    link_by_verified_domain: bool = Field(
        default=False,
        description="An identity provider's verified address of a proved domain takes over the account that has it.",
    )
    session_idle_s: int | None = Field(default=None, ge=60, le=30 * _DAY_S, description="Null: the installation's.")
    session_absolute_s: int | None = Field(default=None, ge=300, le=90 * _DAY_S, description="As above.")


class SignInPolicyReply(Reply):
    """What the organization asks of those who sign in."""

    mfa_required: bool
    mfa_required_since: datetime | None
    mfa_grace_days: int
    password_allowed: bool
    link_by_verified_domain: bool
    session_idle_s: int | None
    session_absolute_s: int | None
    version: int


def factors_reply(factors: Factors) -> FactorsReply:
    """As HTTP shows them."""
    return FactorsReply(
        required=factors.standing.required,
        enrolled=sorted(factors.standing.enrolled),
        totp_since=factors.totp_since,
        passkeys=[passkey_reply(each) for each in factors.passkeys],
        recovery_codes_left=factors.recovery_codes_left,
    )


def passkey_reply(passkey: Passkey) -> PasskeyReply:
    """As HTTP shows it: keys and counters stay inside."""
    return PasskeyReply(
        id=passkey.id,
        name=passkey.name,
        backed_up=passkey.backed_up,
        created_at=passkey.created_at,
        last_used_at=passkey.last_used_at,
    )


def policy_reply(policy: SignInPolicy) -> SignInPolicyReply:
    """As HTTP shows it."""
    return SignInPolicyReply.model_validate(policy)
