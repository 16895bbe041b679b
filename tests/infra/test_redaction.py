"""Secrets in use, however many: bounded, struck out whole, and no dearer with thousands."""

from __future__ import annotations

import base64
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from shopfloor.infra.redaction import MASK, Redactor

SECRETS = st.lists(st.text(alphabet="abAB01/+ é", min_size=8, max_size=30), min_size=1, max_size=20)


@given(secrets=SECRETS, chosen=st.integers(0, 10**6))
def test_every_secret_in_use_is_struck_out_in_every_form(secrets: list[str], chosen: int):
    redactor = Redactor()
    for secret in secrets:
        redactor.remember(secret)
    secret = secrets[chosen % len(secrets)]
    for form in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()):
        text = redactor.text(f"<{form}>")
        assert form not in text
        assert text.startswith("<")


@given(secrets=SECRETS)
def test_what_is_forgotten_leaves_nothing_behind(secrets: list[str]):
    redactor = Redactor()
    for secret in secrets:
        redactor.remember(secret)
    for secret in secrets:
        redactor.forget(secret)
    assert (redactor._in_use, redactor._forms) == ({}, {})
    assert redactor.text("ab" + secrets[0]) == "ab" + secrets[0]


def test_the_one_not_named_for_longest_goes_when_there_are_too_many():
    redactor = Redactor(most=2)
    first, second, third = (f"visibly-fake-{name}-secret" for name in ("first", "second", "third"))
    for secret in (first, second, first, third):
        redactor.remember(secret)
    assert redactor.text(f"{first} {second} {third}") == f"{MASK} {second} {MASK}"


def test_two_secrets_that_begin_alike_are_told_apart():
    redactor = Redactor()
    short, long = "visibly-fake", "visibly-fake-and-longer"
    redactor.remember(short)
    redactor.remember(long)
    assert redactor.text(f"{long}!") == f"{MASK}!"
    redactor.forget(long)
    assert redactor.text(f"{long}!") == f"{MASK}-and-longer!"
