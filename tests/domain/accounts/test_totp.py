"""Codes from an app, against the vectors of the RFC."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from shopfloor.domain.accounts import totp

RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()
NOW = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("unix_s", "code"),
    [
        (59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"),
        (2000000000, "279037"), (20000000000, "353130"),
    ],
)  # fmt: skip
def test_the_codes_are_those_of_the_rfc(unix_s: int, code: str):
    """RFC 6238, appendix B; the last six digits of its eight (RFC 4226, section 5.3)."""
    moment = datetime.fromtimestamp(unix_s, UTC)
    assert totp.matching_step(RFC_SECRET, code, moment) == unix_s // 30


@pytest.mark.parametrize(("steps", "passes"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_code_of_the_step_before_or_after_passes_and_no_other(steps: int, passes: bool):
    code = pyotp.TOTP(RFC_SECRET).at(NOW + timedelta(seconds=30 * steps))
    expected = totp.step_of(NOW) + steps if passes else None
    assert totp.matching_step(RFC_SECRET, code, NOW) == expected


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", " 28708", "-28708", "28708\n"])
def test_what_is_no_code_is_refused(code: str):
    assert totp.matching_step(RFC_SECRET, code, NOW) is None


def test_secrets_are_160_bits_and_never_the_same():
    made = {totp.new_secret() for _ in range(50)}
    assert len(made) == 50
    assert {len(base64.b32decode(each)) for each in made} == {20}


def test_the_uri_for_the_app_holds_what_it_needs():
    uri = urlsplit(totp.enrolment_uri(RFC_SECRET, account="dev@example.org", issuer="Shopfloor (shop.example.org)"))
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    query = {name: values[0] for name, values in parse_qs(uri.query).items()}
    assert query["secret"] == RFC_SECRET
    assert query["issuer"] == "Shopfloor (shop.example.org)"
    assert pyotp.parse_uri(uri.geturl()).now() == pyotp.TOTP(RFC_SECRET).now()
