"""One small real call, to tell whether a key, an address and a model work together (`shopfloor provider test`)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from pydantic_ai.messages import ModelRequest
from pydantic_ai.models import ModelRequestParameters
from pydantic_ai.settings import ModelSettings

from shopfloor.base.clock import Clock
from shopfloor.base.errors import ShopfloorError
from shopfloor.engine.providers.catalogue import connect, preload
from shopfloor.engine.providers.errors import is_call_failure, translate
from shopfloor.engine.providers.http_client import Transport
from shopfloor.engine.providers.port import Credentials, Usage
from shopfloor.engine.providers.usage import measure

_TIMEOUT_S = 30.0
# Thinking models spend some before the first visible word, and OpenAI's Responses API takes no fewer than 16.
_MAX_OUTPUT_TOKENS = 64


@dataclass(frozen=True, slots=True)
class Probe:
    """How it went. `error` says what to do when `ok` is False."""

    ok: bool
    latency_s: float
    usage: Usage | None = None  # None: the provider reported none
    error: ShopfloorError | None = None


async def probe(
    credentials: Credentials,
    model: str,
    *,
    clock: Clock,
    transport: Transport | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> Probe:
    """Send one short message, wait at most `timeout_s`. A refusal is a result, not an exception.

    It costs some dozen tokens outside every budget: for people who may see the provider's settings.
    """
    await preload({credentials.kind})
    started = clock.monotonic()
    try:
        connection = connect(credentials, model, timeout_s=timeout_s, transport=transport)
    except ShopfloorError as error:
        return Probe(ok=False, latency_s=0.0, error=error)
    try:
        async with asyncio.timeout(timeout_s):
            reply = await connection.model.request(
                [ModelRequest.user_text_prompt("Answer with the one word: ready")],
                ModelSettings(max_tokens=_MAX_OUTPUT_TOKENS),
                ModelRequestParameters(),
            )
    except Exception as error:
        if not is_call_failure(error):
            raise
        failure = translate(error, credentials, model, now=clock.now())
        return Probe(ok=False, latency_s=clock.monotonic() - started, error=failure.error)
    finally:
        await connection.close()
    measured = measure(reply.usage)
    return Probe(ok=True, latency_s=clock.monotonic() - started, usage=measured.usage if measured else None)
