"""How Redis is reached. Loaded where one is configured: the client takes an eighth of a second, and most go without."""

from __future__ import annotations

from typing import Any, cast

from limits.aio.storage import RedisStorage
from limits.errors import ConfigurationError
from limits.storage import storage_from_string
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from shopfloor.base.errors import SettingsError
from shopfloor.infra.redis import RedisSettings

_PREFIX = "shopfloor"
_MOST_CONNECTIONS = 16
_BACKSTOP = 5


def redis_storage(settings: RedisSettings) -> RedisStorage | None:
    """A client for the Redis of the settings, not connected yet; None without one.

    It asks once: by default redis-py tries ten times, and a Redis that is gone without a word would hold every request
    for ten seconds. Raises: SettingsError for a URL that can't be read.
    """
    if settings.url is None:
        return None
    url = settings.url.get_secret_value()
    # Whoever asks stops waiting after `timeout_s`; these end what is left of it.
    impatient: dict[str, Any] = {
        "socket_timeout": _BACKSTOP * settings.timeout_s,
        "socket_connect_timeout": _BACKSTOP * settings.timeout_s,
        "retry": Retry(NoBackoff(), 0),
    }
    options: dict[str, Any] = {"implementation": "redispy", "key_prefix": _PREFIX}
    if url.startswith("redis+sentinel://"):
        options |= {**impatient, "sentinel_kwargs": impatient}
    elif url.startswith("redis+cluster://"):
        options |= impatient
    try:
        if "+" not in url.partition("://")[0] or url.startswith("redis+unix://"):
            # The plain pool raises when all its connections are in use.
            plain = url.replace("redis+unix://", "unix://", 1)
            pool = cast("Any", BlockingConnectionPool).from_url(
                plain, max_connections=_MOST_CONNECTIONS, timeout=1, **impatient
            )
            options["connection_pool"] = pool
        return cast("RedisStorage", storage_from_string(f"async+{url}", **options))
    except (ConfigurationError, ValueError):
        raise SettingsError(
            "SHOPFLOOR_REDIS__URL can't be read. Give host and port of each place, e.g. redis://10.0.0.5:6379/0 or "
            "redis+sentinel://10.0.0.5:26379,10.0.0.6:26379/primary."
        ) from None  # its text holds the URL, and that a password


def client_of(storage: RedisStorage) -> Any:
    """The redis-py client behind it: of one server, of Sentinel's primary, of a cluster."""
    return cast("Any", storage.bridge).get_connection()


async def close_storage(storage: RedisStorage) -> None:
    """Close its connections."""
    client = client_of(storage)
    await client.aclose()
    if (pool := getattr(client, "connection_pool", None)) is not None:
        await pool.disconnect()
