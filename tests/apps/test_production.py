"""What production mode refuses to start with, and a start that passes."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

import pytest

from shopfloor.apps.api import serve_api
from shopfloor.apps.production import refuse_open_door, refuse_weak
from shopfloor.apps.settings import Settings, load
from shopfloor.apps.up import run_up
from shopfloor.apps.wiring import open_parts
from shopfloor.base.errors import SettingsError
from shopfloor.domain.access.sign_in import authenticate
from shopfloor.infra.secrets.master_key import why_weak

GOOD = {
    "mode": "production",
    "secrets": {"master_key": base64.b64encode(bytes(n * 37 % 256 for n in range(1, 33))).decode()},
    "web": {"allowed_hosts": ["shopfloor.example.com"], "https": True},
}


def settings(home: Path, **changes: object) -> Settings:
    return load({"SHOPFLOOR_HOME": str(home)}, **{**GOOD, **changes})


def database(url: str) -> dict[str, object]:
    return {"database": {"url": url}}


REFUSED = {
    "a master key in the data folder": ({"secrets": {}}, "SHOPFLOOR_SECRETS__KEEPER", "MASTER_KEY_FILE"),
    "no password": (database("postgresql://o@db.example.com/s"), "SHOPFLOOR_DATABASE__URL", "random password"),
    "an empty password": (database("postgresql://o:@db.example.com/s"), "SHOPFLOOR_DATABASE__URL", "random password"),
    "postgres": (database("postgresql://o:postgres@db.example.com/s"), "SHOPFLOOR_DATABASE__URL", "default"),
    "the user's name": (database("postgresql://shopkeeper:shopkeeper@db/s"), "SHOPFLOOR_DATABASE__URL", "default"),
    "a short password": (database("postgresql://o:x7Kq2@db.example.com/s"), "SHOPFLOOR_DATABASE__URL", "12 signs"),
    "a repeating password": (database("postgresql://o:abababababab@db/s"), "SHOPFLOOR_DATABASE__URL", "repeats"),
    "a role's password": (
        {"database": {"app_url": "postgresql://a:changeme@db/s", "system_url": "postgresql:///s"}},
        "SHOPFLOOR_DATABASE__APP_URL",
        "default",
    ),
    "any host": ({"web": {"allowed_hosts": ["*"], "https": True}}, "SHOPFLOOR_WEB__ALLOWED_HOSTS", "List the names"),
    "debug logs": ({"log": {"level": "debug"}}, "SHOPFLOOR_LOG__LEVEL", "Set it to info"),
    "debug sandboxes": ({"sandbox": {"debug": True}}, "SHOPFLOOR_SANDBOX__DEBUG", "Set it to false"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_production_refuses_by_the_settings_name_with_the_remedy(tmp_path: Path, name: str):
    changes, named, remedy = REFUSED[name]
    with pytest.raises(SettingsError) as refused:
        refuse_weak(settings(tmp_path, **changes))
    assert named in refused.value.detail
    assert remedy in refused.value.detail
    assert "Nothing was started" in refused.value.detail
    assert len(refused.value.facts["refusals"]) == 1  # type: ignore[arg-type]
    refuse_weak(settings(tmp_path, **{**changes, "mode": "development"}))  # the positive control


def test_every_refusal_is_told_at_once(tmp_path: Path):
    with pytest.raises(SettingsError) as refused:
        refuse_weak(settings(tmp_path, secrets={}, web={"allowed_hosts": ["*"]}, log={"level": "debug"}))
    assert len(refused.value.facts["refusals"]) == 3  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"secrets": {"allow_key_beside_data": True}},
        {"secrets": {"master_key_file": "/etc/shopfloor/master.key"}},
        {"secrets": {"keeper": "vault-transit"}},
        database("postgresql://o:uN2-gUessable-7kq@db.example.com/s"),
        database("postgresql:///shopfloor?host=/var/run/postgresql"),
    ],
    ids=str,
)
def test_what_is_strong_passes(tmp_path: Path, changes: dict[str, object]):
    refuse_weak(settings(tmp_path, **changes))


@pytest.mark.parametrize(
    ("key", "why"),
    [
        (bytes(range(32)), "test key"),
        (bytes(range(1, 33)), "test key"),
        (b"0123456789abcdef" * 2, "typed"),
        (b"correct-horse/battery.Staple 26!", "typed"),
        (bytes([1, 2, 3, 4, 5, 6, 7, 200]) * 4, "repeats"),
        (bytes(n * 5 % 256 for n in range(32)), "count up"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_weak_master_key_is_refused_at_the_start(tmp_path: Path, key: bytes, why: str):
    own = settings(tmp_path, secrets={"master_key": base64.b64encode(key).decode()})
    with pytest.raises(SettingsError, match=rf"SHOPFLOOR_SECRETS__MASTER_KEY.*{why}.*token_bytes"):
        async with open_parts(own):
            pass
    assert not (tmp_path / "postgres").exists()


def test_random_keys_are_not_called_weak():
    assert [why for _ in range(2_000) if (why := why_weak(secrets.token_bytes(32)))] == []


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "shopfloor.example.com"])
def test_a_public_address_without_tls_is_refused(tmp_path: Path, host: str):
    plain = settings(tmp_path, web={"allowed_hosts": ["shopfloor.example.com"]})
    with pytest.raises(SettingsError, match=r"SHOPFLOOR_WEB__HTTPS=true, or listen on 127\.0\.0\.1"):
        refuse_open_door(plain, host)
    refuse_open_door(settings(tmp_path), host)
    for loopback in ("127.0.0.1", "::1", "localhost"):
        refuse_open_door(plain, loopback)


async def test_both_doors_ask(tmp_path: Path):
    plain = settings(tmp_path, web={"allowed_hosts": ["shopfloor.example.com"]})
    with pytest.raises(SettingsError, match="SHOPFLOOR_WEB__HTTPS"):
        await serve_api(plain, host="0.0.0.0", port=0)
    with pytest.raises(SettingsError, match="SHOPFLOOR_WEB__HTTPS"):
        await run_up(plain, host="0.0.0.0", port=0, tell=print)


async def test_a_start_in_production_that_passes(home: Path, database_url: str):
    strong = {"secrets": {"master_key": base64.b64encode(secrets.token_bytes(32)).decode()}, **database(database_url)}
    async with open_parts(settings(home, **strong)) as parts:
        assert parts.new_key is not None
        assert (await authenticate(parts.store, parts.sealer, f"Bearer {parts.new_key}")).name == "key first"
    assert not (home / "master.key").exists()
