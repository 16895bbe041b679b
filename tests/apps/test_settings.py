"""What may be set, from where, and what stops the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from shopfloor.apps.settings import load
from shopfloor.base.errors import SettingsError


def _environ(home: Path, **more: str) -> dict[str, str]:
    return {"SHOPFLOOR_HOME": str(home)} | more


def test_the_environment_goes_over_the_file_and_the_call_over_both(tmp_path: Path):
    (tmp_path / "shopfloor.toml").write_text("[jobs]\nslots = 2\ncheck_timeout_s = 11\nmax_crashes = 7\n")
    environ = _environ(tmp_path, SHOPFLOOR_JOBS__SLOTS="3", SHOPFLOOR_JOBS__CHECK_TIMEOUT_S="12")

    settings = load(environ, jobs={"slots": 4})

    assert (settings.jobs.slots, settings.jobs.check_timeout_s, settings.jobs.max_crashes) == (4, 12, 7)
    assert settings.sandbox.state_dir == tmp_path / "sandboxes"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SHOPFLOOR_JOBS__SLOTZ", "3", "SHOPFLOOR_JOBS__SLOTZ: there is no such setting"),
        ("SHOPFLOOR_NONSENSE", "3", "SHOPFLOOR_NONSENSE: there is no such setting"),
        ("SHOPFLOOR_JOBS__SLOTS", "many", "SHOPFLOOR_JOBS__SLOTS: Input should be a valid integer"),
        ("SHOPFLOOR_JOBS__SLOTS", "0", "SHOPFLOOR_JOBS__SLOTS: Input should be greater than or equal to 1"),
        ("SHOPFLOOR_PROVIDERS__PROFILES", '{"strong": ["nameless"]}', "SHOPFLOOR_PROVIDERS"),
        ("SHOPFLOOR_WEB__ALLOWED_HOSTS", "[not json", "SHOPFLOOR_WEB__ALLOWED_HOSTS"),
        ("SHOPFLOOR_ACCOUNTS__PUBLIC_URL", "shop.example.org", "SHOPFLOOR_ACCOUNTS__PUBLIC_URL: Value error, write it"),
        ("SHOPFLOOR_ACCOUNTS__ACCESS_TOKEN_S", "3600", "SHOPFLOOR_ACCOUNTS__ACCESS_TOKEN_S: Input should be less"),
        ("SHOPFLOOR_ACCOUNTS__IDLE_S", "5", "SHOPFLOOR_ACCOUNTS__IDLE_S: Input should be greater"),
        ("SHOPFLOOR_MAIL__HOST", "mail.example.org", "SHOPFLOOR_MAIL: Value error, set the sender too"),
        ("SHOPFLOOR_MAIL__TLS", "maybe", "SHOPFLOOR_MAIL__TLS"),
        ("SHOPFLOOR_MODE", "prod", "SHOPFLOOR_MODE: Input should be 'development' or 'production'"),
        ("SHOPFLOOR_SECRETS__KEEPER", "vault", "SHOPFLOOR_SECRETS__KEEPER: Input should be 'local'"),
        ("SHOPFLOOR_SECRETS__CALL_TIMEOUT_S", "0", "SHOPFLOOR_SECRETS__CALL_TIMEOUT_S: Input should be greater than 0"),
        ("SHOPFLOOR_SECRETS__CACHE_S", "100000", "SHOPFLOOR_SECRETS__CACHE_S: Input should be less than or equal"),
        ("SHOPFLOOR_SECRETS__VAULT__TOKENS", "x", "SHOPFLOOR_SECRETS__VAULT__TOKENS: there is no such setting"),
    ],
)
def test_a_setting_that_does_not_hold_stops_the_start_by_its_name(tmp_path: Path, name: str, value: str, told: str):
    with pytest.raises(SettingsError) as refused:
        load(_environ(tmp_path, **{name: value}))

    assert told in refused.value.detail
    assert "Nothing was started" in refused.value.detail


def test_a_file_that_is_not_toml_is_named(tmp_path: Path):
    (tmp_path / "shopfloor.toml").write_text("slots = = 3")
    with pytest.raises(SettingsError, match=r"shopfloor\.toml is not TOML"):
        load(_environ(tmp_path))


def test_no_settings_at_all_are_the_defaults(tmp_path: Path):
    settings = load(_environ(tmp_path))
    assert (settings.home, settings.database.url, settings.providers.allow_private) == (tmp_path, None, False)


def test_mail_without_an_address_for_its_links_stops_the_start(tmp_path: Path):
    mail = {"SHOPFLOOR_MAIL__HOST": "mail.example.org", "SHOPFLOOR_MAIL__SENDER": "shopfloor@example.org"}
    with pytest.raises(SettingsError, match=r"^set SHOPFLOOR_ACCOUNTS__PUBLIC_URL too"):
        load(_environ(tmp_path, **mail))
    settings = load(_environ(tmp_path, **mail, SHOPFLOOR_ACCOUNTS__PUBLIC_URL="https://shop.example.org/"))
    assert settings.accounts.public_url == "https://shop.example.org"
