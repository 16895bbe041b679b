"""Passkeys: what a browser is asked, and whether its answer holds. Source: W3C Web Authentication, Level 3."""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast
from urllib.parse import urlsplit
from uuid import UUID

from shopfloor.base.errors import InvalidInput, NotSignedIn, SettingsError
from shopfloor.infra.secrets import Sealer

if TYPE_CHECKING:
    from webauthn.helpers.cose import COSEAlgorithmIdentifier

# `webauthn` brings OpenSSL's bindings along, a tenth of a second: whoever uses a passkey loads it, no start does.

T = TypeVar("T")
Json = dict[str, Any]

CHALLENGE_LIFE: Final = timedelta(minutes=5)
_RANDOM_BYTES: Final = 16  # W3C Web Authentication, section 13.4.3
REFUSAL: Final = (
    "This passkey was not accepted. Ask for new options and try again; it has to be one that was added here, used on "
    "this site's own address."
)


class PasskeyNotTaken(InvalidInput):
    """The browser's answer does not fit what it was asked."""

    title = "The passkey could not be added"


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """The site that passkeys are bound to."""

    id: str  # a host name: passkeys work for it and the names below it
    origin: str  # `https://shop.example.org`, as the browser reports it
    name: str = "Shopfloor"


@dataclass(frozen=True, slots=True)
class NewPasskey:
    """What an authenticator made."""

    credential_id: bytes
    public_key: bytes  # COSE
    sign_count: int
    aaguid: str  # the model of the authenticator; zeros where it doesn't say
    backed_up: bool  # it is synchronised between devices
    transports: list[str]


@dataclass(frozen=True, slots=True)
class KnownPasskey:
    """What is needed to check an answer."""

    credential_id: bytes
    public_key: bytes
    sign_count: int


def relying_party(public_url: str) -> RelyingParty:
    """Of the address that people open. Raises: SettingsError."""
    parts = urlsplit(public_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise SettingsError(f"{public_url!r} is not the address of a site. Write it like https://shop.example.org.")
    return RelyingParty(parts.hostname, f"{parts.scheme}://{parts.netloc}")


def new_challenge(sealer: Sealer, purpose: str, now: datetime) -> bytes:
    """Random, dated and bound to `purpose` (who may do what with it, in which browser). Nothing is stored yet.

    Using it once is up to who takes the answer: `open_challenge`, then the hash goes into a table, or is there already.
    """
    body = secrets.token_bytes(_RANDOM_BYTES) + struct.pack(">Q", int((now + CHALLENGE_LIFE).timestamp()))
    return body + _mac(sealer, purpose, body)


def challenge_of(credential: Mapping[str, Any]) -> bytes:
    """The challenge that an answer says it is for. Raises: NotSignedIn."""
    try:
        data = json.loads(_decoded(credential["response"]["clientDataJSON"]))
        return _decoded(data["challenge"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise NotSignedIn(REFUSAL) from error


def open_challenge(sealer: Sealer, purpose: str, challenge: bytes, now: datetime) -> datetime:
    """When it ends. Raises: NotSignedIn for one that is not ours, of another purpose, or over."""
    body, mac = challenge[: _RANDOM_BYTES + 8], challenge[_RANDOM_BYTES + 8 :]
    if len(body) < _RANDOM_BYTES + 8 or not hmac.compare_digest(mac, _mac(sealer, purpose, body)):
        raise NotSignedIn(REFUSAL)
    ends_at = datetime.fromtimestamp(struct.unpack(">Q", body[_RANDOM_BYTES:])[0], now.tzinfo)
    if ends_at <= now:
        raise NotSignedIn(REFUSAL)
    return ends_at


def registration_options(
    site: RelyingParty, challenge: bytes, *, user_id: UUID, user_name: str, existing: Sequence[bytes]
) -> Json:
    """For `navigator.credentials.create()`: a discoverable key that asks its owner for a PIN or finger."""
    import webauthn
    from webauthn.helpers import options_to_json, structs

    options = webauthn.generate_registration_options(
        rp_id=site.id,
        rp_name=site.name,
        user_name=user_name,
        user_id=user_id.bytes,
        challenge=challenge,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.REQUIRED,
            user_verification=structs.UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=[structs.PublicKeyCredentialDescriptor(each) for each in existing],
        supported_pub_key_algs=_algorithms(),
    )
    return cast("Json", json.loads(options_to_json(options)))


def verified_registration(site: RelyingParty, challenge: bytes, credential: Mapping[str, Any]) -> NewPasskey:
    """Raises: PasskeyNotTaken."""
    import webauthn

    try:
        found = webauthn.verify_registration_response(
            credential=dict(credential),
            expected_challenge=challenge,
            expected_rp_id=site.id,
            expected_origin=site.origin,
            require_user_verification=True,
            supported_pub_key_algs=_algorithms(),
        )
    except _unreadable() as error:
        raise PasskeyNotTaken(f"The passkey was not added: {error}. Ask for new options and try again.") from error
    return NewPasskey(
        credential_id=found.credential_id,
        public_key=found.credential_public_key,
        sign_count=found.sign_count,
        aaguid=found.aaguid,
        backed_up=found.credential_backed_up,
        transports=_transports(credential),
    )


def authentication_options(
    site: RelyingParty, challenge: bytes, *, allowed: Sequence[bytes] = (), verify_user: bool
) -> Json:
    """For `navigator.credentials.get()`. `allowed` empty: whichever passkey its owner picks names the owner, too."""
    import webauthn
    from webauthn.helpers import options_to_json, structs

    options = webauthn.generate_authentication_options(
        rp_id=site.id,
        challenge=challenge,
        allow_credentials=[structs.PublicKeyCredentialDescriptor(each) for each in allowed] or None,
        user_verification=structs.UserVerificationRequirement.REQUIRED
        if verify_user
        else structs.UserVerificationRequirement.PREFERRED,
    )
    return cast("Json", json.loads(options_to_json(options)))


def credential_id_of(credential: Mapping[str, Any]) -> bytes:
    """Which key answers. Raises: NotSignedIn."""
    return _read(lambda: _decoded(credential["rawId"]))


def user_handle_of(credential: Mapping[str, Any]) -> UUID | None:
    """Whose key it says it is, if it does. Raises: NotSignedIn."""
    handle = credential["response"].get("userHandle")
    return _read(lambda: UUID(bytes=_decoded(handle))) if handle else None


def verified_authentication(
    site: RelyingParty, challenge: bytes, credential: Mapping[str, Any], known: KnownPasskey, *, verify_user: bool
) -> int:
    """The key's counter after this use. Raises: NotSignedIn, the same whichever part was wrong."""
    import webauthn

    found = _read(
        lambda: webauthn.verify_authentication_response(
            credential=dict(credential),
            expected_challenge=challenge,
            expected_rp_id=site.id,
            expected_origin=site.origin,
            credential_public_key=known.public_key,
            credential_current_sign_count=known.sign_count,
            require_user_verification=verify_user,
        )
    )
    if not hmac.compare_digest(found.credential_id, known.credential_id):
        raise NotSignedIn(REFUSAL)
    return found.new_sign_count


def _read(ask: Callable[[], T]) -> T:
    try:
        return ask()
    except _unreadable() as error:
        raise NotSignedIn(REFUSAL) from error


def _mac(sealer: Sealer, purpose: str, body: bytes) -> bytes:
    return sealer.fingerprint("passkey challenge", f"{purpose}/{_encoded(body)}")


def _transports(credential: Mapping[str, Any]) -> list[str]:
    """Those the browser reports, of those there are."""
    from webauthn.helpers.structs import AuthenticatorTransport

    known = {each.value for each in AuthenticatorTransport}
    given: Any = credential["response"].get("transports") or []
    return sorted({str(each) for each in given} & known)


def _algorithms() -> list[COSEAlgorithmIdentifier]:
    from webauthn.helpers.cose import COSEAlgorithmIdentifier as Cose

    return [Cose.EDDSA, Cose.ECDSA_SHA_256, Cose.RSASSA_PKCS1_v1_5_SHA_256]


def _unreadable() -> tuple[type[Exception], ...]:
    """What the library raises for bytes that are not what they claim to be, beside its own errors."""
    from webauthn.helpers.exceptions import WebAuthnException

    return (WebAuthnException, ValueError, KeyError, TypeError, IndexError, OverflowError, struct.error)


def _decoded(text: str) -> bytes:
    """Of base64url without padding. Raises: ValueError."""
    return base64.urlsafe_b64decode(f"{text}===")


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
