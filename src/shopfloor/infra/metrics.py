"""Prometheus metrics: one registry per process, names with units, the text for `/metrics`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from shopfloor.base.errors import SettingsError

REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

# Base units. Source: Prometheus documentation, 'Metric and label naming'.
_UNITS = ("seconds", "bytes", "tokens", "usd", "ratio")
_NAME = re.compile(r"^shopfloor_[a-z][a-z0-9_]*$")
LATENCY_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
SIZE_BUCKETS_BYTES = (256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216)


def render() -> tuple[bytes, str]:
    """The body and content type of `/metrics`."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


def counter(name: str, what: str, labels: Sequence[str] = ()) -> Counter:
    """A counter; `name` ends with `_total`."""
    _check(name, endings=("_total",))
    return Counter(name, what, labels, registry=REGISTRY)


def gauge(name: str, what: str, labels: Sequence[str] = ()) -> Gauge:
    """A value that goes up and down; never called `_total`."""
    _check(name)
    return Gauge(name, what, labels, registry=REGISTRY)


def histogram(
    name: str, what: str, labels: Sequence[str] = (), *, buckets: Sequence[float] = LATENCY_BUCKETS_S
) -> Histogram:
    """A distribution; `name` ends with its base unit (`_seconds`, `_bytes`, `_tokens`, `_usd`, `_ratio`)."""
    _check(name, endings=tuple(f"_{unit}" for unit in _UNITS))
    return Histogram(name, what, labels, buckets=buckets, registry=REGISTRY)


def _check(name: str, *, endings: tuple[str, ...] = ()) -> None:
    if not _NAME.match(name):
        raise SettingsError(f"the metric {name!r} must start with shopfloor_ and be lower case", metric=name)
    if endings and not name.endswith(endings):
        raise SettingsError(f"the metric {name!r} must end with one of {', '.join(endings)}", metric=name)
    if not endings and name.endswith("_total"):
        raise SettingsError(f"the gauge {name!r} must not end with _total: that says counter", metric=name)
