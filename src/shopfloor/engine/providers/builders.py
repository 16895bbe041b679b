"""How each kind of provider becomes a Pydantic AI model. SDKs are imported inside, so only the ones in use are.

SDKs read the environment for keys, organizations, headers and addresses. A worker serves many organizations, so every
one of those is given here or taken out again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx2
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings

from shopfloor.base.errors import InvalidInput
from shopfloor.engine.providers.http_client import (
    CONNECT_TIMEOUT_S,
    USER_AGENT,
    Transport,
    http_client,
    legacy_client,
    time_limits,
)
from shopfloor.engine.providers.port import Credentials, ProviderKind

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from openai import AsyncOpenAI

# Where a kind's own service is. Sources: the providers' API references.
OWN_ADDRESS: dict[ProviderKind, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
    "xai": "https://api.x.ai/v1",
    "groq": "https://api.groq.com",
    "mistral": "https://api.mistral.ai",
    "openrouter": "https://openrouter.ai/api/v1",
}
# Sent with every request. Caching on: an agent's conversation is one growing prefix. What a model does not know of
# these is left out by Pydantic AI.
_SETTINGS = ModelSettings(cache=True)

Close = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Access:
    """What a builder needs."""

    credentials: Credentials
    model: str
    timeout_s: float
    transport: Transport | None

    @property
    def base_url(self) -> str:
        """The user's, else the kind's own."""
        return self.credentials.base_url or OWN_ADDRESS[self.credentials.kind]

    @property
    def root_url(self) -> str:
        """Without a `/v1` at its end, for SDKs that add it themselves."""
        return self.base_url.rstrip("/").removesuffix("/v1")

    def client(self) -> httpx2.AsyncClient:
        """A fresh HTTP client."""
        return http_client(self.timeout_s, self.transport)


Built = tuple[Model, Close]


def openai(access: Access) -> Built:
    """OpenAI's own service by its Responses API, which alone takes reasoning together with tools on newer models.

    Any other address under this kind is a proxy: those speak chat completions.
    """
    from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel, OpenAIResponsesModelSettings
    from pydantic_ai.providers.openai import OpenAIProvider

    client = _openai_client(access)
    provider = OpenAIProvider(openai_client=client)
    if access.credentials.base_url:
        return OpenAIChatModel(access.model, provider=provider, settings=_SETTINGS), client.close
    # Nothing is kept at the provider: the conversation travels whole, and its reasoning encrypted.
    settings = OpenAIResponsesModelSettings(**_SETTINGS, openai_store=False)
    return OpenAIResponsesModel(access.model, provider=provider, settings=settings), client.close


def anthropic(access: Access) -> Built:
    """Anthropic messages."""
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    client = _anthropic_client(access)
    provider = AnthropicProvider(anthropic_client=client)
    return AnthropicModel(access.model, provider=provider, settings=_SETTINGS), client.close


def google(access: Access) -> Built:
    """Gemini API."""
    from google.genai.types import HttpRetryOptions
    from pydantic_ai.models.google import GoogleModel
    from pydantic_ai.providers.google import GoogleProvider

    client = access.client()
    provider = GoogleProvider(
        api_key=access.credentials.api_key,
        base_url=access.base_url,
        http_client=client,
        retry_options=HttpRetryOptions(attempts=1),
    )
    return GoogleModel(access.model, provider=provider, settings=_SETTINGS), client.aclose


def xai(access: Access) -> Built:
    """The OpenAI-compatible endpoint of xAI. `x-ai` is what genai-prices calls it, who reads its count of thoughts."""
    from pydantic_ai.profiles.grok import grok_model_profile

    return _chat(access, name="x-ai", profile=grok_model_profile)


def groq(access: Access) -> Built:
    """Groq."""
    from groq import AsyncGroq
    from pydantic_ai.models.groq import GroqModel
    from pydantic_ai.providers.groq import GroqProvider

    client = AsyncGroq(
        api_key=access.credentials.api_key,
        base_url=access.base_url,
        timeout=access.timeout_s,
        max_retries=0,
        http_client=legacy_client(access.timeout_s, access.transport),
    )
    _forget_environment(client)
    return GroqModel(access.model, provider=GroqProvider(groq_client=client), settings=_SETTINGS), client.close


def mistral(access: Access) -> Built:
    """Mistral."""
    from mistralai.client import Mistral
    from pydantic_ai.models.mistral import MistralModel
    from pydantic_ai.providers.mistral import MistralProvider

    client = access.client()
    sdk = Mistral(
        api_key=access.credentials.api_key,
        server_url=access.root_url,
        async_client=client,
        retry_config=None,
        timeout_ms=int(access.timeout_s * 1000),
    )
    provider = MistralProvider(mistral_client=sdk)
    return MistralModel(access.model, provider=provider, settings=_SETTINGS), client.aclose


def bedrock(access: Access) -> Built:
    """Amazon Bedrock. Key: a Bedrock API key, or `access_key_id:secret_access_key[:session_token]`.

    botocore has its own network code that no guard can enter, so an address given by a user is refused where there is
    a guard. Source of the key's form: ours; AWS writes the three apart.
    """
    import boto3
    from botocore.config import Config
    from pydantic_ai.models.bedrock import BedrockConverseModel
    from pydantic_ai.providers.bedrock import BedrockProvider

    from shopfloor.engine.providers.bedrock_session import bearer_session

    if access.credentials.base_url and access.transport:
        raise InvalidInput(
            "A Bedrock provider takes a region, not a base URL, on an installation that guards addresses",
            provider=access.credentials.name,
        )
    options: dict[str, Any] = {
        "retries": {"total_max_attempts": 1},
        "connect_timeout": min(CONNECT_TIMEOUT_S, access.timeout_s),
        "read_timeout": access.timeout_s,
        "user_agent_extra": USER_AGENT,
        "proxies": {},
    }
    aws: Any = boto3  # its stubs are a package of their own
    region = _region(access.credentials)
    key_id, colon, rest = access.credentials.api_key.partition(":")
    if colon:
        secret, _, token = rest.partition(":")
        session = aws.Session(
            aws_access_key_id=key_id, aws_secret_access_key=secret, aws_session_token=token or None, region_name=region
        )
    else:
        session = aws.Session(botocore_session=bearer_session(key_id), region_name=region)
        options["signature_version"] = "bearer"
    client = session.client("bedrock-runtime", config=Config(**options), endpoint_url=access.credentials.base_url)
    provider = BedrockProvider(bedrock_client=client)

    async def close() -> None:
        client.close()

    return BedrockConverseModel(access.model, provider=provider, settings=_SETTINGS), close


def openrouter(access: Access) -> Built:
    """OpenRouter."""
    from pydantic_ai.models.openrouter import OpenRouterModel
    from pydantic_ai.providers.openrouter import OpenRouterProvider

    client = _openai_client(access)
    provider = OpenRouterProvider(openai_client=client)
    return OpenRouterModel(access.model, provider=provider, settings=_SETTINGS), client.close


def openai_compatible(access: Access) -> Built:
    """Ollama, vLLM, LM Studio, llama.cpp, gateways: chat completions at the user's address.

    `max_tokens` rather than `max_completion_tokens`: servers that know only the older name ignore the newer one, and
    then nothing would bound a reply.
    """
    from pydantic_ai.profiles.openai import OpenAIModelProfile

    return _chat(
        access, name="openai-compatible", profile=OpenAIModelProfile(openai_chat_supports_max_completion_tokens=False)
    )


def mock(access: Access) -> Built:
    """Our mock server, in Anthropic's dialect for models named `claude...`, in OpenAI's for all others."""
    if access.model.startswith("claude"):
        return anthropic(access)
    return _chat(access, name="mock", base_url=f"{access.root_url}/v1")


def _chat(access: Access, *, name: str, profile: Any = None, base_url: str | None = None) -> Built:
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider

    client = _openai_client(access, base_url)
    provider = OpenAICompatibleProvider(name, openai_client=client, profile=profile)
    return OpenAIChatModel(access.model, provider=provider, settings=_SETTINGS), client.close


def _openai_client(access: Access, base_url: str | None = None) -> AsyncOpenAI:
    from openai import AsyncOpenAI

    client = AsyncOpenAI(
        api_key=access.credentials.api_key or "no-key-needed",  # self-hosted servers ask for none, the client for one
        base_url=base_url or access.base_url,
        timeout=time_limits(access.timeout_s),
        max_retries=0,
        http_client=access.client(),
    )
    client.organization = client.project = client.admin_api_key = None
    _forget_environment(client)
    return client


def _anthropic_client(access: Access) -> AsyncAnthropic:
    from anthropic import AsyncAnthropic

    client = AsyncAnthropic(
        api_key=access.credentials.api_key,
        base_url=access.root_url,
        timeout=time_limits(access.timeout_s),
        max_retries=0,
        http_client=access.client(),
    )
    _forget_environment(client)
    return client


def _forget_environment(client: Any) -> None:
    """`*_CUSTOM_HEADERS` of the worker's environment are nothing that an organization's requests should carry."""
    client._custom_headers = {}  # noqa: SLF001 - the SDKs offer no other way


def _region(credentials: Credentials) -> str:
    region = credentials.region or ""
    if not region.replace("-", "").isalnum() or not region.isascii():
        raise InvalidInput(
            f"Provider {credentials.name!r} needs the AWS region its models run in, e.g. eu-central-1",
            provider=credentials.name,
        )
    return region
