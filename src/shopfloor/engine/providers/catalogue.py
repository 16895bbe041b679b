"""The kinds of provider: how to connect to each, and where a person's environment keeps its key."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import get_args

from pydantic_ai.exceptions import UserError
from pydantic_ai.models import Model

from shopfloor.base.errors import InvalidInput
from shopfloor.engine.providers import builders
from shopfloor.engine.providers.builders import Access, Built, Close
from shopfloor.engine.providers.http_client import Transport
from shopfloor.engine.providers.port import Credentials, ProviderKind

DEFAULT_TIMEOUT_S = 600.0

_BUILDERS: dict[ProviderKind, Callable[[Access], Built]] = {
    "openai": builders.openai,
    "anthropic": builders.anthropic,
    "google": builders.google,
    "xai": builders.xai,
    "groq": builders.groq,
    "mistral": builders.mistral,
    "bedrock": builders.bedrock,
    "openrouter": builders.openrouter,
    "openai-compatible": builders.openai_compatible,
    "mock": builders.mock,
}
_MODULES: dict[ProviderKind, tuple[str, ...]] = {
    "anthropic": ("pydantic_ai.models.anthropic",),
    "google": ("pydantic_ai.models.google",),
    "groq": ("pydantic_ai.models.groq",),
    "mistral": ("pydantic_ai.models.mistral",),
    "bedrock": ("pydantic_ai.models.bedrock", "boto3"),
    "openrouter": ("pydantic_ai.models.openrouter",),
    "mock": ("pydantic_ai.models.openai", "pydantic_ai.models.anthropic"),
}
_NEEDS_ADDRESS: tuple[ProviderKind, ...] = ("openai-compatible", "mock")


@dataclass(frozen=True, slots=True)
class Connection:
    """A model that can be called, and how to let go of its sockets."""

    model: Model
    close: Close


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an environment keeps what a provider needs. The first variable that is set counts."""

    kind: ProviderKind
    keys: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    default_address: str | None = None


_PLACES: dict[str, _Place] = {
    "anthropic": _Place("anthropic", ("ANTHROPIC_API_KEY",), ("ANTHROPIC_BASE_URL",)),
    "openai": _Place("openai", ("OPENAI_API_KEY",), ("OPENAI_BASE_URL",)),
    "google": _Place("google", ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
    "gemini": _Place("google", ("GEMINI_API_KEY", "GOOGLE_API_KEY")),
    "xai": _Place("xai", ("XAI_API_KEY",)),
    "groq": _Place("groq", ("GROQ_API_KEY",)),
    "mistral": _Place("mistral", ("MISTRAL_API_KEY",)),
    "openrouter": _Place("openrouter", ("OPENROUTER_API_KEY",)),
    "ollama": _Place("openai-compatible", (), ("OLLAMA_BASE_URL",), "http://127.0.0.1:11434/v1"),
    "openai-compatible": _Place("openai-compatible", ("OPENAI_COMPATIBLE_API_KEY",), ("OPENAI_COMPATIBLE_BASE_URL",)),
    "mock": _Place("mock", ("MOCK_PROVIDER_API_KEY",), ("MOCK_PROVIDER_URL",), "http://127.0.0.1:8399"),
}
_KEYLESS: tuple[ProviderKind, ...] = ("openai-compatible", "mock")
_MOCK_KEY = "sk-mock-local"


def connect(
    credentials: Credentials,
    model: str,
    *,
    timeout_s: float = DEFAULT_TIMEOUT_S,
    transport: Transport | None = None,
) -> Connection:
    """A connection to one model with an organization's key; nothing is sent yet. The caller closes it.

    `transport` carries every request: give one that guards addresses wherever users can name a base URL.
    The SDK of this kind is imported here (0.3 to 2 s the first time): see `preload`. Raises: InvalidInput.
    """
    if credentials.kind in _NEEDS_ADDRESS and not credentials.base_url:
        raise InvalidInput(
            f"Provider {credentials.name!r} of kind {credentials.kind} needs a base URL, e.g. http://127.0.0.1:11434/v1",
            provider=credentials.name,
        )
    if credentials.kind not in _KEYLESS and not credentials.api_key:
        raise InvalidInput(f"Provider {credentials.name!r} has no key: set one", provider=credentials.name)
    try:
        built, close = _BUILDERS[credentials.kind](Access(credentials, model, timeout_s, transport))
        _ = built.profile  # some kinds refuse a model's name only when asked for what it can do
    except UserError as error:
        raise InvalidInput(f"{credentials.name}/{model} can't be used: {error.message}", model=model) from error
    return Connection(built, close)


async def preload(kinds: Collection[ProviderKind]) -> None:
    """Import the SDKs of these kinds in a thread, so that the first call doesn't hold up the event loop."""
    for kind in kinds:
        for module in _MODULES.get(kind, ("pydantic_ai.models.openai",)):
            await asyncio.to_thread(importlib.import_module, module)


def credentials_from_env(provider: str, environ: Mapping[str, str]) -> Credentials:
    """What the environment of a person at a terminal says about `provider`, the first half of `provider/model`.

    Raises: InvalidInput if the provider is unknown or its key is not set, naming the variable.
    """
    if provider == "bedrock":
        return _bedrock_from_env(environ)
    place = _PLACES.get(provider)
    if place is None:
        known = ", ".join(sorted({*_PLACES, "bedrock"}))
        raise InvalidInput(f"{provider!r} is no provider that the environment can name. Known: {known}", known=known)
    key = _first(place.keys, environ)
    if not key and place.kind not in _KEYLESS:
        raise InvalidInput(
            f"No key for {provider}: set {' or '.join(place.keys)} in the environment", variables=list(place.keys)
        )
    address = _first(place.addresses, environ) or place.default_address
    if not address and place.kind in _NEEDS_ADDRESS:
        raise InvalidInput(f"No address for {provider}: set {place.addresses[0]}", variables=list(place.addresses))
    return Credentials(provider, place.kind, key or (_MOCK_KEY if place.kind == "mock" else ""), address)


def environment_variables() -> dict[str, tuple[str, ...]]:
    """Provider name -> the variables that `credentials_from_env` reads, for help texts and `doctor`."""
    named = {name: (*place.keys, *place.addresses) for name, place in _PLACES.items()}
    return named | {"bedrock": (*_BEDROCK_TOKENS, *_BEDROCK_KEYS, *_BEDROCK_REGIONS)}


def kinds() -> tuple[ProviderKind, ...]:
    """All kinds."""
    return get_args(ProviderKind)


_BEDROCK_TOKENS = ("AWS_BEARER_TOKEN_BEDROCK",)
_BEDROCK_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_BEDROCK_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")


def _bedrock_from_env(environ: Mapping[str, str]) -> Credentials:
    pair = [environ[name] for name in _BEDROCK_KEYS if environ.get(name)]
    whole = all(environ.get(name) for name in _BEDROCK_KEYS[:2])  # the session token is for temporary keys only
    key = _first(_BEDROCK_TOKENS, environ) or (":".join(pair) if whole else None)
    region = _first(_BEDROCK_REGIONS, environ)
    if not key or not region:
        raise InvalidInput(
            "No key or region for bedrock: set AWS_BEARER_TOKEN_BEDROCK, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, and AWS_REGION",
            variables=[*_BEDROCK_TOKENS, *_BEDROCK_KEYS, *_BEDROCK_REGIONS],
        )
    return Credentials("bedrock", "bedrock", key, region=region)


def _first(names: tuple[str, ...], environ: Mapping[str, str]) -> str | None:
    return next((environ[name] for name in names if environ.get(name)), None)
