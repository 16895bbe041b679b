"""Passkeys against a software authenticator: what an honest one makes passes, everything else is refused."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.accounts.software_authenticator import Device, b64, unb64
from shopfloor.base.errors import NotSignedIn, SettingsError
from shopfloor.base.ids import new_id
from shopfloor.domain.accounts import passkeys
from shopfloor.domain.accounts.passkeys import KnownPasskey, PasskeyNotTaken, relying_party

SITE = relying_party("https://shop.example.org")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
USER = new_id()


def registered(device: Device, sealer) -> KnownPasskey:
    challenge = passkeys.new_challenge(sealer, "add", NOW)
    new = passkeys.verified_registration(SITE, challenge, device.create(creation_options(challenge)))
    return KnownPasskey(new.credential_id, new.public_key, new.sign_count)


def creation_options(challenge: bytes) -> dict[str, Any]:
    return passkeys.registration_options(SITE, challenge, user_id=USER, user_name="dev@example.org", existing=[])


def request_options(challenge: bytes) -> dict[str, Any]:
    return passkeys.authentication_options(SITE, challenge, verify_user=True)


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_a_passkey_is_added_and_signs_in(sealer, algorithm):
    device = Device(algorithm)
    known = registered(device, sealer)
    assert known.credential_id == device.credential_id
    challenge = passkeys.new_challenge(sealer, "in", NOW)
    answer = device.get(request_options(challenge))
    assert passkeys.challenge_of(answer) == challenge
    assert passkeys.credential_id_of(answer) == device.credential_id
    assert passkeys.user_handle_of(answer) == USER
    assert passkeys.verified_authentication(SITE, challenge, answer, known, verify_user=True) == 1


def test_a_new_passkey_is_asked_to_be_discoverable_and_to_verify_its_owner(sealer):
    options = creation_options(passkeys.new_challenge(sealer, "add", NOW))
    assert options["rp"] == {"id": "shop.example.org", "name": "Shopfloor"}
    assert options["authenticatorSelection"]["residentKey"] == "required"
    assert options["authenticatorSelection"]["userVerification"] == "required"
    assert options["attestation"] == "none"
    assert unb64(options["user"]["id"]) == USER.bytes
    assert {each["alg"] for each in options["pubKeyCredParams"]} == {-7, -8, -257}


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "https://shop.example.org.attacker.example"},
        {"origin": "http://shop.example.org"},
        {"origin": "https://shop.example.org:8443"},
        {"rp_id": "attacker.example"},
        {"verifies_user": False},
        {"present": False},
    ],
    ids=str,
)
def test_a_passkey_made_elsewhere_or_without_its_owner_is_not_taken(sealer, change: dict[str, Any]):
    with pytest.raises(PasskeyNotTaken):
        registered(replace(Device(), **change), sealer)


def test_a_passkey_made_for_another_challenge_is_not_taken(sealer):
    answer = Device().create(creation_options(passkeys.new_challenge(sealer, "add", NOW)))
    with pytest.raises(PasskeyNotTaken):
        passkeys.verified_registration(SITE, passkeys.new_challenge(sealer, "add", NOW), answer)


@pytest.mark.parametrize(
    "change",
    [
        {"origin": "https://attacker.example"},
        {"origin": "http://shop.example.org"},
        {"rp_id": "attacker.example"},
        {"rp_id": "example.org"},
        {"verifies_user": False},
        {"present": False},
        {"count": -1},  # 0 after 0 would be a device that doesn't count; it counted before
        {"count": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_an_answer_that_does_not_hold_signs_nobody_in(sealer, algorithm, change: dict[str, Any]):
    device = Device(algorithm)
    known = replace(registered(device, sealer), sign_count=4)
    device.count = 4
    challenge = passkeys.new_challenge(sealer, "in", NOW)
    good = passkeys.verified_authentication(
        SITE, challenge, device.get(request_options(challenge)), known, verify_user=True
    )
    assert good == 5  # the positive control
    for name, value in change.items():
        setattr(device, name, value)
    device.count = change.get("count", 6)
    with pytest.raises(NotSignedIn):
        passkeys.verified_authentication(
            SITE, challenge, device.get(request_options(challenge)), known, verify_user=True
        )


def test_the_counter_of_a_clone_that_stayed_behind_is_noticed(sealer):
    device = Device()
    known = registered(device, sealer)
    challenge = passkeys.new_challenge(sealer, "in", NOW)
    answer = device.get(request_options(challenge))
    passkeys.verified_authentication(SITE, challenge, answer, known, verify_user=True)
    with pytest.raises(NotSignedIn):
        passkeys.verified_authentication(SITE, challenge, answer, replace(known, sign_count=1), verify_user=True)


def test_a_synchronised_passkey_that_never_counts_goes_on_working(sealer):
    device = Device(counts=False)
    known = registered(device, sealer)
    for _ in range(2):
        challenge = passkeys.new_challenge(sealer, "in", NOW)
        answer = device.get(request_options(challenge))
        assert passkeys.verified_authentication(SITE, challenge, answer, known, verify_user=True) == 0


def test_an_answer_signed_with_another_key_is_refused(sealer):
    device, thief = Device(), Device()
    known = registered(device, sealer)
    thief.credential_id = device.credential_id
    challenge = passkeys.new_challenge(sealer, "in", NOW)
    with pytest.raises(NotSignedIn):
        passkeys.verified_authentication(
            SITE, challenge, thief.get(request_options(challenge)), known, verify_user=True
        )


@pytest.mark.parametrize("part", ["signature", "authenticatorData", "clientDataJSON"])
@pytest.mark.parametrize("bit", [0, 7])
def test_one_bit_changed_is_refused(sealer, part: str, bit: int):
    device = Device()
    known = registered(device, sealer)
    challenge = passkeys.new_challenge(sealer, "in", NOW)
    answer = device.get(request_options(challenge))
    changed = bytearray(unb64(answer["response"][part]))
    changed[len(changed) // 2] ^= 1 << bit
    answer["response"][part] = b64(bytes(changed))
    with pytest.raises(NotSignedIn):
        passkeys.verified_authentication(SITE, challenge, answer, known, verify_user=True)


@pytest.mark.parametrize(
    "broken",
    [
        {"rawId": "AAAA"},
        {"id": "AAAA"},
        {"type": "password"},
        {"response": {}},
        {"response": {"clientDataJSON": "AA", "authenticatorData": "AA", "signature": "AA"}},
        {"response": {"clientDataJSON": b64(b"[]"), "authenticatorData": "AA", "signature": "AA"}},
        {"response": {"clientDataJSON": b64(b'{"type": 7}'), "authenticatorData": "AA", "signature": "AA"}},
    ],
    ids=str,
)
def test_what_is_no_answer_at_all_is_refused_without_a_crash(sealer, broken: dict[str, Any]):
    device = Device()
    known = registered(device, sealer)
    challenge = passkeys.new_challenge(sealer, "in", NOW)
    answer = device.get(request_options(challenge)) | broken
    with pytest.raises(NotSignedIn):
        passkeys.verified_authentication(SITE, challenge, answer, known, verify_user=True)


@pytest.mark.parametrize(
    "data", [b"", b"\x01", b"\x00" * 36, b"\xff" * 37, b"\x00" * 32 + b"\x45" + b"\x00" * 4 + b"\xa1"]
)
def test_authenticator_data_that_is_none_is_refused_without_a_crash(sealer, data: bytes):
    device = Device()
    known = registered(device, sealer)
    challenge = passkeys.new_challenge(sealer, "in", NOW)
    answer = device.get(request_options(challenge))
    answer["response"]["authenticatorData"] = b64(data)
    with pytest.raises(NotSignedIn):
        passkeys.verified_authentication(SITE, challenge, answer, known, verify_user=True)
    made = Device().create(creation_options(challenge))
    made["response"]["attestationObject"] = b64(data)
    with pytest.raises(PasskeyNotTaken):
        passkeys.verified_registration(SITE, challenge, made)


def test_a_challenge_opens_for_its_purpose_within_five_minutes(sealer):
    challenge = passkeys.new_challenge(sealer, "in", NOW)
    soon = NOW + timedelta(minutes=4, seconds=59)
    assert passkeys.open_challenge(sealer, "in", challenge, soon) == NOW + timedelta(minutes=5)


@pytest.mark.parametrize("forged", ["purpose", "late", "changed", "longer life", "short", "empty"])
def test_a_challenge_of_another_purpose_too_old_or_made_up_is_refused(sealer, forged: str):
    challenge, purpose, now = passkeys.new_challenge(sealer, "in", NOW), "in", NOW
    match forged:
        case "purpose":
            purpose = "add"
        case "late":
            now = NOW + timedelta(minutes=5)
        case "changed":
            challenge = bytes([challenge[0] ^ 1]) + challenge[1:]
        case "longer life":
            challenge = challenge[:16] + b"\xff" * 8 + challenge[24:]
        case "short":
            challenge = challenge[:30]
        case _:
            challenge = b""
    with pytest.raises(NotSignedIn):
        passkeys.open_challenge(sealer, purpose, challenge, now)


@pytest.mark.parametrize("url", ["", "shop.example.org", "ftp://shop.example.org", "https://"])
def test_an_address_that_is_no_site_is_refused(url: str):
    with pytest.raises(SettingsError):
        relying_party(url)


def test_the_origin_keeps_its_port_and_the_site_does_not():
    site = relying_party("http://localhost:8321")
    assert (site.id, site.origin) == ("localhost", "http://localhost:8321")
