"""One mapping from what provider clients raise to our errors, and whether the request may have been billed.

A request that never left, or that was answered with an error status, isn't billed by any provider of the catalogue. A
time-out, a connection lost while the answer was awaited and an answer nobody can read leave it open.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx2
from pydantic_ai.exceptions import (
    AgentRunError,
    ModelAPIError,
    ModelAuthenticationError,
    ModelConnectionError,
    ModelContextWindowExceededError,
    ModelHTTPError,
    ModelNotFoundError,
    ModelQuotaExceededError,
    ModelRateLimitError,
    ModelRequestRejectedError,
    ModelRequestTimeout,
    ModelServerError,
    ModelTimeoutError,
    ModelUnavailableError,
    UserError,
)

from shopfloor.base.errors import InvalidInput, ShopfloorError, TooLarge
from shopfloor.engine.providers.port import (
    ContextTooLong,
    Credentials,
    ModelUnknown,
    ProviderError,
    ProviderOverloaded,
    ProviderRefused,
    ProviderTimeout,
)
from shopfloor.infra.outbound import ResponseTooSlow

# What a model's `request` may raise for reasons outside: Pydantic AI's own errors, the HTTP client's where an SDK lets
# them through, ValueError for replies that fit no schema (pydantic's and json's errors are ValueErrors), TimeoutError.
# ShopfloorError is what the guard of a transport says; some clients wrap it, some let it through.
_FAILURES = (
    ShopfloorError,
    AgentRunError,
    UserError,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    ValueError,
    TimeoutError,
    OSError,
)
# An SDK's own errors can't be named without importing it.
_CLIENTS = frozenset({"anthropic", "boto3", "botocore", "google", "groq", "httpx", "mistralai", "openai", "urllib3"})

_NEVER_LEFT = ("pool", "connect")
_TEXT_CHARS = 400


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed call, in our terms."""

    error: ShopfloorError
    may_be_billed: bool


def is_call_failure(raised: BaseException) -> bool:
    """Whether it came from the provider, the way there or its client; otherwise it is ours and rises as it is."""
    if not isinstance(raised, Exception):
        return False
    return isinstance(raised, _FAILURES) or type(raised).__module__.partition(".")[0] in _CLIENTS


def translate(raised: BaseException, credentials: Credentials, model: str, *, now: datetime) -> Failure:
    """What `raised` means for a call of `model`. The error's text never holds the key.

    An error of ours among its causes is the answer: the guard of the transport refused the address, or cut the reply.
    """
    for cause in _causes(raised):
        if isinstance(cause, ShopfloorError):
            return Failure(cause, may_be_billed=isinstance(cause, TooLarge | ResponseTooSlow))
    says = _what_it_says(raised, credentials)
    facts: dict[str, object] = {"provider": credentials.name, "model": model, "says": says}
    if isinstance(raised, ModelHTTPError):
        facts["http_status"] = raised.status_code
    return Failure(_error(raised, credentials, model, facts, now), _may_be_billed(raised))


def translate_status(status: int, body: str, credentials: Credentials) -> ShopfloorError:
    """What an error status means when nothing but the key was at stake: a list of models, a look at an account."""
    facts: dict[str, object] = {"provider": credentials.name, "http_status": status}
    says = _one_line(f"{status} {body}", credentials)
    if status in {401, 403}:
        return ProviderRefused(
            f"Provider {credentials.name!r} ({credentials.kind}) refuses its key: {says}. "
            "Check that the key is whole and active, and set it again",
            reason="key",
            **facts,
        )
    if status in {429, 503, 529}:
        return ProviderOverloaded(f"Provider {credentials.name!r} is overloaded or limits this key: {says}", **facts)
    return ProviderError(f"Provider {credentials.name!r} answered with an error: {says}. Check its base URL", **facts)


def _causes(raised: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = raised
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _error(  # noqa: PLR0911 - one return for each kind of error
    raised: BaseException, credentials: Credentials, model: str, facts: dict[str, object], now: datetime
) -> ShopfloorError:
    ref, says = f"{credentials.name}/{model}", facts["says"]
    match raised:
        case ModelContextWindowExceededError():
            return ContextTooLong(f"The conversation no longer fits the context of {ref}: {says}", **facts)
        case ModelQuotaExceededError():
            return ProviderRefused(
                f"The account behind provider {credentials.name!r} is out of money or quota: {says}. "
                "Add credit or raise the limit at the provider, or give the job another model; then retry it",
                reason="money",
                **facts,
            )
        case ModelAuthenticationError():
            return ProviderRefused(
                f"Provider {credentials.name!r} ({credentials.kind}) refuses its key: {says}. "
                "Check that the key is whole, active and allowed to use this model, and set it again",
                reason="key",
                **facts,
            )
        case ModelNotFoundError():
            return ModelUnknown(
                f"Provider {credentials.name!r} does not offer {model!r} to this key: {says}. "
                f"List what it offers (shopfloor models {credentials.name}) and check the provider's base URL",
                **facts,
            )
        case ModelRequestRejectedError():
            return ProviderRefused(
                f"{ref} rejects the request as it stands: {says}. Sending it again won't help; "
                "check that the model takes tools and the limits asked for",
                reason="request",
                **facts,
            )
        case UserError():
            return InvalidInput(f"{ref} can't be called like this: {says}", **facts)
        case _:
            return _passing_error(raised, ref, facts, now)


def _passing_error(raised: BaseException, ref: str, facts: dict[str, object], now: datetime) -> ProviderError:
    says = facts["says"]
    match raised:
        case ModelRateLimitError() | ModelUnavailableError():
            if (wait := retry_after_s(raised, now=now)) is not None:
                facts["retry_after_s"] = wait
            return ProviderOverloaded(f"{ref} is overloaded or limits this key: {says}", **facts)
        case ModelTimeoutError() | ModelRequestTimeout() | TimeoutError() | httpx2.TimeoutException():
            return ProviderTimeout(f"{ref} did not answer in time: {says}", **facts)
        case ModelServerError() | ModelHTTPError():
            return ProviderError(f"{ref} failed: {says}", **facts)
        case ModelConnectionError() | httpx2.TransportError() | OSError():
            return ProviderError(f"The connection to {ref} failed: {says}", **facts)
        case ModelAPIError() | AgentRunError() | ValueError():
            return ProviderError(f"{ref} sent an answer that nobody can read: {says}", **facts)
        case _:
            return ProviderError(f"The client of {ref} failed: {type(raised).__name__}: {says}", **facts)


def _may_be_billed(raised: BaseException) -> bool:
    match raised:
        case ModelHTTPError():
            return raised.in_stream
        case ModelConnectionError():
            return raised.phase not in _NEVER_LEFT
        case UserError() | httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.PoolTimeout() | httpx2.InvalidURL():
            return False
        case _:
            return True


def retry_after_s(raised: BaseException, *, now: datetime) -> float | None:
    """Seconds the provider asks to wait, or None. Source: RFC 9110, 10.2.3 (seconds or an HTTP date)."""
    if not isinstance(raised, ModelAPIError):
        return None
    headers: Mapping[str, str] = (raised.headers or {}) if isinstance(raised, ModelHTTPError) else {}
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    said = headers.get("retry-after")
    seconds = _seconds(said)
    if seconds is not None:
        return seconds
    return _seconds_until(said, now) if said else raised.retry_after


def _seconds(text: str | None) -> float | None:
    if text is None or not re.fullmatch(r"\d{1,9}(\.\d{1,9})?", text.strip()):
        return None
    return float(text)


def _seconds_until(http_date: str, now: datetime) -> float | None:
    try:
        then = parsedate_to_datetime(http_date)
    except ValueError:
        return None
    aware = then if then.tzinfo else then.replace(tzinfo=UTC)
    return max((aware - now).total_seconds(), 0.0)


def _what_it_says(raised: BaseException, credentials: Credentials) -> str:
    """The provider's own words: one line, bounded, and without the key, which some servers echo."""
    text = _message_in(raised.body) if isinstance(raised, ModelHTTPError) else str(raised)
    if isinstance(raised, ModelHTTPError):
        text = f"{raised.status_code} {text}"
    return _one_line(text, credentials)


def _one_line(text: str, credentials: Credentials) -> str:
    if credentials.api_key:
        text = text.replace(credentials.api_key, "[key]")
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _TEXT_CHARS else f"{line[:_TEXT_CHARS]}..."


def _message_in(body: object) -> str:
    """`message` of an error body, which providers nest differently, else the body as it is."""
    inner: object = body
    for _ in range(2):
        if isinstance(inner, Mapping) and isinstance(nested := inner.get("error"), Mapping | str):  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
            inner = nested  # pyright: ignore[reportUnknownVariableType]
    if isinstance(inner, Mapping):
        message = inner.get("message") or inner.get("Message") or inner.get("detail")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        if isinstance(message, str):
            return message
    return str(inner) if inner else "(no explanation)"  # pyright: ignore[reportUnknownArgumentType]
