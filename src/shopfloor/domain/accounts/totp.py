"""One-time codes from a shared secret and the time. Source: RFC 6238, RFC 4226."""

from __future__ import annotations

import base64
import hmac
import secrets
from datetime import datetime
from typing import Final

import pyotp

STEP_S: Final = 30  # RFC 6238, section 5.2
_DRIFT_STEPS: Final = 1  # each way: RFC 6238, section 5.2 allows one step of delay
_SECRET_BYTES: Final = 20  # 160 bits: RFC 4226, section 4, R6


def new_secret() -> str:
    """160 random bits in base 32, as authenticator apps take them."""
    return base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def enrolment_uri(secret: str, *, account: str, issuer: str) -> str:
    """`otpauth://totp/...`: what a QR code for an authenticator app holds. Source: the Key Uri Format of its apps."""
    return pyotp.TOTP(secret).provisioning_uri(name=account, issuer_name=issuer)


def step_of(moment: datetime) -> int:
    """The number of the 30 seconds that `moment` lies in."""
    return int(moment.timestamp()) // STEP_S


def matching_step(secret: str, code: str, now: datetime) -> int | None:
    """The newest step, of the present one and its neighbours, whose code this is; None: of no one.

    Every candidate is compared, so the time taken does not tell which it was.
    """
    if not (code.isascii() and code.isdecimal()):
        return None
    generator, present, found = pyotp.TOTP(secret), step_of(now), None
    for step in range(present - _DRIFT_STEPS, present + _DRIFT_STEPS + 1):
        if hmac.compare_digest(generator.generate_otp(step), code):
            found = step
    return found
