"""How fast a key may be used: what is configured, and what the provider's own headers say. Pure.

What headers tell already counts everybody who uses the key, on whatever machine: it needs no sharing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

_MINUTE_S = 60.0
_LONGEST_S = 86_400.0  # a reset further away than this is a header that nobody should believe
# OpenAI: durations like `1s`, `6m0s`, `120ms`. Source: OpenAI API documentation, 'Rate limits', headers.
_NUMBER = r"(\d{1,9}(?:\.\d{1,9})?)"
_DURATION = re.compile(rf"(?:(\d{{1,6}})h)?(?:(\d{{1,6}})m(?!s))?(?:{_NUMBER}s)?(?:{_NUMBER}ms)?")
_HEADERS = {  # what is limited -> (remaining, reset). Source: OpenAI, 'Rate limits'; Anthropic API, 'Rate limits'
    "requests": [
        ("x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
        ("anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    ],
    "tokens": [
        ("x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
        ("anthropic-ratelimit-tokens-remaining", "anthropic-ratelimit-tokens-reset"),
        ("anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    ],
}


@dataclass(frozen=True, slots=True)
class CallLimits:
    """What an organization allows itself at one provider. None: no limit of our own."""

    concurrency: int | None = None  # calls at a time
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None

    @property
    def some(self) -> bool:
        """Whether there is one."""
        return any((self.concurrency, self.requests_per_minute, self.tokens_per_minute))


@dataclass(frozen=True, slots=True)
class Used:
    """What the calls of the last minute have used of a provider, over all workers."""

    in_flight: int = 0
    requests: int = 0
    tokens: int = 0
    oldest_s: float = 0.0  # age of the oldest call that counts


def wait_for(limits: CallLimits, used: Used, tokens: int) -> float | None:
    """None: a call of `tokens` may leave now. Else the seconds after which it may be worth asking again.

    A call that is larger than the whole limit goes when nothing else has been used: waiting longer wouldn't help it.
    """
    until_oldest_s = max(0.0, _MINUTE_S - used.oldest_s)
    waits: list[float] = []
    if limits.concurrency is not None and used.in_flight >= limits.concurrency:
        waits.append(1.0)
    if limits.requests_per_minute is not None and used.requests >= limits.requests_per_minute:
        waits.append(until_oldest_s)
    if limits.tokens_per_minute is not None and used.tokens and used.tokens + tokens > limits.tokens_per_minute:
        waits.append(until_oldest_s)
    return max(waits, default=None)


@dataclass(slots=True)
class Learned:
    """What a provider has said of one key and model; times on the clock's monotonic scale."""

    left: dict[str, int] = field(default_factory=dict[str, int])  # of `requests`, `tokens`
    resets_at: dict[str, float] = field(default_factory=dict[str, float])
    rests_until: float = 0.0  # it asked us to wait until then

    def hear(self, headers: Mapping[str, str], *, now: datetime, monotonic: float) -> None:
        """Take over what an answer's headers say. What can't be read is passed over."""
        for what, pairs in _HEADERS.items():
            told = [found for pair in pairs if (found := _told(headers, pair, now)) is not None]
            if told:
                remaining, reset_s = min(told)
                self.left[what] = remaining
                self.resets_at[what] = monotonic + reset_s

    def rest(self, wait_s: float, *, monotonic: float) -> None:
        """The provider asked for `wait_s` seconds without a call."""
        self.rests_until = max(self.rests_until, monotonic + wait_s)

    def wait_s(self, tokens: int, *, monotonic: float) -> float:
        """Seconds until a call of so many input tokens fits; 0: now."""
        waits = [self.rests_until - monotonic]
        for what, needed in (("requests", 1), ("tokens", tokens)):
            until = self.resets_at.get(what, 0.0)
            left = self.left.get(what)
            if left is not None and until > monotonic and left < needed and (what == "requests" or left <= 0):
                waits.append(until - monotonic)
        return max(0.0, *waits)

    def spend(self, tokens: int) -> None:
        """A call leaves: until the next headers come it is our own count that holds."""
        for what, used in (("requests", 1), ("tokens", tokens)):
            if what in self.left:
                self.left[what] = max(0, self.left[what] - used)


def _told(headers: Mapping[str, str], pair: tuple[str, str], now: datetime) -> tuple[int, float] | None:
    remaining, reset = headers.get(pair[0], ""), headers.get(pair[1], "")
    if not re.fullmatch(r"\d{1,12}", remaining):
        return None
    seconds = reset_s(reset, now)
    return None if seconds is None else (int(remaining), seconds)


def reset_s(text: str, now: datetime) -> float | None:
    """Seconds from now of a reset header: a duration (`6m0s`), plain seconds, or an RFC 3339 time. None: unreadable."""
    text = text.strip()
    seconds: float | None = None
    if re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text):
        seconds = float(text)
    elif text and (match := _DURATION.fullmatch(text)):
        hours, minutes, whole, milli = (float(part) if part else 0.0 for part in match.groups())
        seconds = hours * 3600 + minutes * 60 + whole + milli / 1000
    elif "T" in text:
        try:
            then = datetime.fromisoformat(text)
        except ValueError:
            return None
        seconds = ((then if then.tzinfo else then.replace(tzinfo=UTC)) - now).total_seconds()
    if seconds is None or seconds > _LONGEST_S:
        return None
    return max(0.0, seconds)
