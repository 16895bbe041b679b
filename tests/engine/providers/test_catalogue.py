from __future__ import annotations

import subprocess
import sys

import pytest

from shopfloor.base.errors import InvalidInput
from shopfloor.engine.providers.catalogue import _BUILDERS, connect, credentials_from_env, environment_variables, kinds
from shopfloor.engine.providers.port import Credentials

SDKS = ("openai", "anthropic", "google.genai", "groq", "mistralai", "boto3", "botocore", "httpx")


def imported_by(code: str) -> set[str]:
    """Which of the SDKs are loaded after `code` in a fresh process."""
    script = f"{code}\nimport sys\nprint(*[name for name in {SDKS!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


def test_the_room_imports_no_sdk():
    modules = "catalogue", "chain", "errors", "model_list", "pricing", "probe", "profiles", "seed", "usage"
    code = "\n".join(f"import shopfloor.engine.providers.{name}" for name in modules)
    assert imported_by(code) - {"httpx"} == set()  # pydantic-ai loads httpx where it is installed


@pytest.mark.parametrize(("kind", "sdk"), [("anthropic", "anthropic"), ("openai", "openai"), ("xai", "openai")])
def test_only_the_sdk_in_use_is_imported(kind: str, sdk: str):
    code = (
        "from shopfloor.engine.providers.catalogue import connect\n"
        "from shopfloor.engine.providers.port import Credentials\n"
        f"connect(Credentials('main', {kind!r}, 'key-fake'), 'm')"
    )
    assert imported_by(code) - {"httpx"} == {sdk}


def test_every_kind_has_a_builder():
    assert set(_BUILDERS) == set(kinds())


def test_credentials_never_show_their_key():
    creds = Credentials("main", "openai", "sk-fake-do-not-show")
    assert "sk-fake" not in f"{creds!r} {creds}"


@pytest.mark.parametrize(
    ("provider", "environ", "expected"),
    [
        ("anthropic", {"ANTHROPIC_API_KEY": "k"}, Credentials("anthropic", "anthropic", "k")),
        (
            "openai",
            {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:1/v1"},
            Credentials("openai", "openai", "k", "http://127.0.0.1:1/v1"),
        ),
        ("google", {"GOOGLE_API_KEY": "b", "GEMINI_API_KEY": "a"}, Credentials("google", "google", "a")),
        ("gemini", {"GOOGLE_API_KEY": "b"}, Credentials("gemini", "google", "b")),
        ("xai", {"XAI_API_KEY": "k"}, Credentials("xai", "xai", "k")),
        ("groq", {"GROQ_API_KEY": "k"}, Credentials("groq", "groq", "k")),
        ("mistral", {"MISTRAL_API_KEY": "k"}, Credentials("mistral", "mistral", "k")),
        ("openrouter", {"OPENROUTER_API_KEY": "k"}, Credentials("openrouter", "openrouter", "k")),
        ("ollama", {}, Credentials("ollama", "openai-compatible", "", "http://127.0.0.1:11434/v1")),
        ("mock", {}, Credentials("mock", "mock", "sk-mock-local", "http://127.0.0.1:8399")),
        (
            "bedrock",
            {"AWS_BEARER_TOKEN_BEDROCK": "t", "AWS_REGION": "eu-central-1"},
            Credentials("bedrock", "bedrock", "t", region="eu-central-1"),
        ),
        (
            "bedrock",
            {"AWS_ACCESS_KEY_ID": "i", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"},
            Credentials("bedrock", "bedrock", "i:s", region="us-east-1"),
        ),
    ],
)
def test_the_environment_of_a_person_names_the_credentials(
    provider: str, environ: dict[str, str], expected: Credentials
):
    assert credentials_from_env(provider, environ) == expected


@pytest.mark.parametrize(
    ("provider", "environ", "says"),
    [
        ("anthropic", {}, "set ANTHROPIC_API_KEY"),
        ("anthropic", {"ANTHROPIC_API_KEY": ""}, "set ANTHROPIC_API_KEY"),
        ("google", {}, "GEMINI_API_KEY or GOOGLE_API_KEY"),
        ("bedrock", {"AWS_ACCESS_KEY_ID": "only-half", "AWS_REGION": "eu-central-1"}, "AWS_SECRET_ACCESS_KEY"),
        ("bedrock", {"AWS_BEARER_TOKEN_BEDROCK": "t"}, "AWS_REGION"),
        ("openai-compatible", {}, "set OPENAI_COMPATIBLE_BASE_URL"),
        ("skynet", {}, "no provider that the environment can name. Known: anthropic"),
    ],
)
def test_what_is_missing_in_the_environment_is_named(provider: str, environ: dict[str, str], says: str):
    with pytest.raises(InvalidInput, match=says):
        credentials_from_env(provider, environ)


def test_every_provider_of_the_environment_lists_its_variables():
    assert environment_variables()["anthropic"] == ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")
    assert "AWS_REGION" in environment_variables()["bedrock"]


@pytest.mark.parametrize(
    ("creds", "says"),
    [
        (Credentials("box", "openai-compatible", ""), "needs a base URL"),
        (Credentials("main", "anthropic", ""), "has no key"),
    ],
)
def test_a_connection_that_can_not_work_is_refused_before_anything_is_sent(creds: Credentials, says: str):
    with pytest.raises(InvalidInput, match=says):
        connect(creds, "m")


def test_a_model_name_that_the_client_refuses_is_bad_input():
    with pytest.raises(InvalidInput, match="prefixed with the upstream provider"):
        connect(Credentials("main", "openrouter", "key-fake"), "gpt-x")
