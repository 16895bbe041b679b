"""Which Redis: URLs that mean something, and nothing of them in what is printed."""

from __future__ import annotations

import pytest
from pydantic import SecretStr, ValidationError

from shopfloor.base.errors import SettingsError
from shopfloor.infra.redis import RedisSettings
from shopfloor.infra.redis_client import redis_storage

SECRET = "visibly-fake-0000"


@pytest.mark.parametrize(
    "url", ["", "redis", "redis://", "http://127.0.0.1", "memory://", "async+redis://127.0.0.1:6379"]
)
def test_a_url_that_is_none_of_redis_stops_the_start(url: str):
    with pytest.raises(ValidationError, match="redis://"):
        RedisSettings(url=SecretStr(url))


@pytest.mark.parametrize("url", ["redis+sentinel://127.0.0.1/primary", "redis+cluster://host:port", "redis://h:port"])
def test_places_without_a_port_stop_the_start_and_the_password_is_not_told(url: str):
    with pytest.raises(SettingsError, match="SHOPFLOOR_REDIS__URL") as refused:
        redis_storage(RedisSettings(url=SecretStr(url.replace("://", f"://:{SECRET}@"))))
    assert SECRET not in str(refused.value)


def test_the_settings_never_show_the_password():
    assert SECRET not in repr(RedisSettings(url=SecretStr(f"redis://:{SECRET}@127.0.0.1:6379")))


def test_without_a_url_there_is_no_redis():
    assert redis_storage(RedisSettings()) is None
