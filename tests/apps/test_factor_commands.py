"""`shopfloor mfa` and `identity-provider`, typed against this machine's database and a fake provider on loopback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyotp
import pytest

from domain.accounts.fake_identity_provider import FakeIdentityProvider
from shopfloor.apps.cli.root import run


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path, database_url: str) -> None:
    """Commands ask this database themselves, as its owner."""
    for name in ("SHOPFLOOR_URL", "SHOPFLOOR_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SHOPFLOOR_HOME", str(home))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("SHOPFLOOR_DATABASE__URL", database_url)
    monkeypatch.setenv("SHOPFLOOR_ACCOUNTS__IDENTITY_ALLOW_PRIVATE", "true")


def typed(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """What the command answers as JSON."""
    code = run([*words, "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out)


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(list(words)) != 0
    return capsys.readouterr().err


def test_an_app_is_set_up_and_removed(capsys: pytest.CaptureFixture[str]):
    assert typed(capsys, "mfa", "status")["enrolled"] == []
    secret = typed(capsys, "mfa", "enrol")["secret"]
    assert "not right" in refused(
        capsys, "mfa", "confirm", "000000" if pyotp.TOTP(secret).now() != "000000" else "1" * 6
    )
    codes = typed(capsys, "mfa", "confirm", pyotp.TOTP(secret).now())["recovery_codes"]
    assert len(codes) == 10
    assert typed(capsys, "mfa", "status")["enrolled"] == ["recovery", "totp"]
    assert set(typed(capsys, "mfa", "recovery-codes")["recovery_codes"]).isdisjoint(codes)
    required = typed(capsys, "mfa", "require", "--grace-days", "0")
    assert (required["mfa_required"], required["mfa_grace_days"]) == (True, 0)
    assert "your only one" in refused(capsys, "mfa", "remove", "totp")
    assert typed(capsys, "mfa", "require", "--off")["mfa_required"] is False
    assert typed(capsys, "mfa", "remove", "totp") == {"removed": "totp"}


def test_a_provider_is_added_tried_and_removed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    provider = FakeIdentityProvider()
    try:
        named = ["--issuer", provider.issuer, "--client-id", provider.client_id, "--secret-from", "CORP_SECRET"]
        assert "CORP_SECRET" in refused(capsys, "identity-provider", "add", "corp", *named)
        monkeypatch.setenv("CORP_SECRET", provider.client_secret)
        made = typed(capsys, "identity-provider", "add", "corp", *named, "--makes-accounts")
        assert (made["has_secret"], made["makes_accounts"], made["default_role"]) == (True, True, "viewer")
        assert typed(capsys, "identity-provider", "test", "corp")["keys"] == 3
        assert [each["name"] for each in typed(capsys, "identity-provider", "list")] == ["corp"]
        assert typed(capsys, "identity-provider", "remove", "corp") == {"removed": "corp"}
        assert "no identity provider corp" in refused(capsys, "identity-provider", "test", "corp")
    finally:
        provider.close()


def test_a_domain_is_listed_and_proved_by_the_operator(capsys: pytest.CaptureFixture[str]):
    made = typed(capsys, "identity-provider", "add-domain", "Example.org")
    assert made["record_name"] == "_shopfloor-challenge.example.org"
    assert typed(capsys, "identity-provider", "verify-domain", "example.org", "--operator")["domain"] == "example.org"
    assert [each["verified_by"] for each in typed(capsys, "identity-provider", "domains")] == ["operator"]
    assert typed(capsys, "identity-provider", "remove-domain", "example.org") == {"removed": "example.org"}
    assert typed(capsys, "identity-provider", "domains") == []
