"""What a provider offers to a key: asked of the provider, remembered for a while, asked once at a time (CAC-1)."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import httpx2

from shopfloor.base.clock import Clock
from shopfloor.base.errors import InvalidInput, ShopfloorError
from shopfloor.engine.providers.builders import OWN_ADDRESS
from shopfloor.engine.providers.errors import translate_status
from shopfloor.engine.providers.http_client import Transport, http_client
from shopfloor.engine.providers.port import Credentials, ProviderError, ProviderKind, ProviderTimeout

_TIMEOUT_S = 20.0
_BARE_PATH = "/models"  # below an address that already names its version, as OpenAI-compatible ones do
_MAX_PAGES = 20  # of up to 1,000 models: far above what any provider lists
_MAX_MODELS = 5_000


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One entry of a provider's list; None where the provider doesn't say."""

    id: str
    name: str
    context_tokens: int | None = None
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class _Endpoint:
    """How one dialect lists models."""

    path: str
    headers: Callable[[str], dict[str, str]]
    read: Callable[[Mapping[str, Any]], tuple[list[ListedModel], dict[str, str] | None]]  # and the next page's query


class ModelLists:
    """The lists of many organizations' providers. One per process; a key's owner only ever sees that key's list."""

    def __init__(self, *, clock: Clock, ttl_s: float = 600.0, max_lists: int = 1_000) -> None:
        self._clock = clock
        self._ttl_s = ttl_s
        self._max_lists = max_lists
        self._lists: dict[str, tuple[float, list[ListedModel]]] = {}
        self._under_way: dict[str, asyncio.Task[list[ListedModel]]] = {}

    async def of(
        self, credentials: Credentials, *, transport: Transport | None = None, fresh: bool = False
    ) -> list[ListedModel]:
        """The models that these credentials may call, by id; at most `ttl_s` old unless `fresh`.

        Raises: ProviderRefused, ProviderError; InvalidInput for Bedrock, whose list is no part of its runtime.
        """
        key = _cache_key(credentials)
        known = self._lists.get(key)
        if known and not fresh and self._clock.monotonic() - known[0] < self._ttl_s:
            return known[1]
        task = self._under_way.get(key)
        if task is None:
            task = asyncio.create_task(self._fetch(key, credentials, transport))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._landed(key, done))
        return await asyncio.shield(task)  # one caller that leaves doesn't take the answer from the others

    def forget(self, credentials: Credentials) -> None:
        """Their key or address has changed."""
        self._lists.pop(_cache_key(credentials), None)

    async def _fetch(self, key: str, credentials: Credentials, transport: Transport | None) -> list[ListedModel]:
        models = await list_models(credentials, transport=transport)
        while len(self._lists) >= self._max_lists:
            del self._lists[next(iter(self._lists))]
        self._lists[key] = (self._clock.monotonic(), models)
        return models

    def _landed(self, key: str, task: asyncio.Task[list[ListedModel]]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen, also when every caller has left


async def list_models(credentials: Credentials, *, transport: Transport | None = None) -> list[ListedModel]:
    """Ask the provider now. Raises: as `ModelLists.of`."""
    endpoint = _ENDPOINTS.get(credentials.kind)
    if endpoint is None:
        raise InvalidInput(
            f"A {credentials.kind} provider can't list its models with this key: name them when you add it",
            provider=credentials.name,
        )
    client = http_client(_TIMEOUT_S, transport)
    try:
        async with asyncio.timeout(_TIMEOUT_S), client:
            return await _all_pages(client, credentials, endpoint)
    except TimeoutError as error:
        raise ProviderTimeout(
            f"Provider {credentials.name!r} did not list its models within {_TIMEOUT_S:g} s", provider=credentials.name
        ) from error


async def _all_pages(client: httpx2.AsyncClient, credentials: Credentials, endpoint: _Endpoint) -> list[ListedModel]:
    found: dict[str, ListedModel] = {}
    query: dict[str, str] | None = {}
    for _ in range(_MAX_PAGES):
        models, query = endpoint.read(await _page(client, credentials, endpoint, query))
        found |= {model.id: model for model in models}
        if query is None or len(found) >= _MAX_MODELS:
            break
    return sorted(found.values(), key=lambda model: model.id)


async def _page(
    client: httpx2.AsyncClient, credentials: Credentials, endpoint: _Endpoint, query: dict[str, str]
) -> Mapping[str, Any]:
    url = _url(credentials, endpoint)
    try:
        answer = await client.get(url, params=query, headers=endpoint.headers(credentials.api_key))
        if not answer.is_success:
            raise translate_status(answer.status_code, answer.text, credentials)
        body = answer.json()
    except (httpx2.HTTPError, ValueError) as error:
        raise _unreadable(error, credentials) from error
    if not isinstance(body, dict):
        raise ProviderError(f"Provider {credentials.name!r} sent no list of models", provider=credentials.name)
    return cast("dict[str, Any]", body)


def _unreadable(error: Exception, credentials: Credentials) -> ShopfloorError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ShopfloorError):  # the guard of the transport said no
            return cause
        cause = cause.__cause__
    return ProviderError(
        f"Provider {credentials.name!r} did not list its models: {type(error).__name__} {error}"[:400],
        provider=credentials.name,
    )


def _url(credentials: Credentials, endpoint: _Endpoint) -> str:
    """A path with a version of its own replaces a `/v1` that people write at the end of an address."""
    base = (credentials.base_url or OWN_ADDRESS[credentials.kind]).rstrip("/")
    return f"{base if endpoint.path == _BARE_PATH else base.removesuffix('/v1')}{endpoint.path}"


def _cache_key(credentials: Credentials) -> str:
    """Another key may see other models, so it is part of the name; hashed, as names of things end up in logs."""
    parts = (credentials.kind, credentials.base_url or "", credentials.region or "", credentials.api_key)
    return hashlib.sha256("\x00".join(parts).encode()).hexdigest()


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


def _entries(body: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    listed = body.get(name)
    rows: list[Any] = cast("list[Any]", listed) if isinstance(listed, list) else []
    return [cast("dict[str, Any]", row) for row in rows if isinstance(row, dict)]


def _read_openai(body: Mapping[str, Any]) -> tuple[list[ListedModel], dict[str, str] | None]:
    """`context_length` is OpenRouter's, `max_model_len` vLLM's, `context_window` Groq's."""
    models = [
        ListedModel(
            id=row["id"],
            name=str(row.get("name") or row["id"]),
            context_tokens=_whole(
                row.get("context_length")
                or row.get("max_model_len")
                or row.get("context_window")
                or row.get("max_context_length")
            ),
            max_output_tokens=_whole(row.get("max_completion_tokens")),
        )
        for row in _entries(body, "data")
        if isinstance(row.get("id"), str)
    ]
    return models, None


def _read_anthropic(body: Mapping[str, Any]) -> tuple[list[ListedModel], dict[str, str] | None]:
    models = [
        ListedModel(
            id=row["id"],
            name=str(row.get("display_name") or row["id"]),
            context_tokens=_whole(row.get("max_input_tokens")),
            max_output_tokens=_whole(row.get("max_tokens")),
        )
        for row in _entries(body, "data")
        if isinstance(row.get("id"), str)
    ]
    more = {"after_id": str(body.get("last_id"))} if body.get("has_more") and body.get("last_id") else None
    return models, more


def _read_google(body: Mapping[str, Any]) -> tuple[list[ListedModel], dict[str, str] | None]:
    models = [
        ListedModel(
            id=row["name"].removeprefix("models/"),
            name=str(row.get("displayName") or row["name"]),
            context_tokens=_whole(row.get("inputTokenLimit")),
            max_output_tokens=_whole(row.get("outputTokenLimit")),
        )
        for row in _entries(body, "models")
        if isinstance(row.get("name"), str) and "generateContent" in (row.get("supportedGenerationMethods") or [])
    ]
    token = body.get("nextPageToken")
    return models, {"pageToken": token} if isinstance(token, str) and token else None


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


_OPENAI = _Endpoint(_BARE_PATH, _bearer, _read_openai)
_VERSIONED = _Endpoint("/v1/models", _bearer, _read_openai)
# Sources: each provider's API reference, 'List models'; headers as the official clients send them (anthropic 2.12).
_ENDPOINTS: dict[ProviderKind, _Endpoint] = {
    "openai": _OPENAI,
    "xai": _OPENAI,
    "mistral": _VERSIONED,
    "openrouter": _OPENAI,
    "openai-compatible": _OPENAI,
    "mock": _VERSIONED,
    "groq": _Endpoint("/openai/v1/models", _bearer, _read_openai),
    "anthropic": _Endpoint(
        "/v1/models", lambda key: {**_bearer(key), "anthropic-version": "2026-10-21"}, _read_anthropic
    ),
    "google": _Endpoint("/v1beta/models", lambda key: {"x-goog-api-key": key}, _read_google),
}
