from __future__ import annotations

import pytest
from pydantic import ValidationError

from shopfloor.base.errors import InvalidInput
from shopfloor.engine.providers.port import ModelRef
from shopfloor.engine.providers.profiles import ModelProfiles

SET = ModelProfiles(profiles={"strong": ["anthropic/claude-x", "openrouter/a/b"], "fast": ["openai/gpt-mini"]})


def test_a_profile_is_a_chain_and_fallbacks_follow_each_once():
    assert SET.resolve("strong", fallbacks=["fast", "anthropic/claude-x"]) == [
        ModelRef("anthropic", "claude-x"),
        ModelRef("openrouter", "a/b"),
        ModelRef("openai", "gpt-mini"),
    ]


def test_a_model_by_its_own_name_needs_no_profile():
    assert ModelProfiles().resolve("ollama/qwen3:8b") == [ModelRef("ollama", "qwen3:8b")]


def test_a_later_layer_goes_over_an_earlier_one():
    project = ModelProfiles(profiles={"fast": ["groq/llama"]})
    merged = project.over(SET)
    assert merged.resolve("fast") == [ModelRef("groq", "llama")]
    assert merged.resolve("strong")[0] == ModelRef("anthropic", "claude-x")


def test_an_unset_profile_says_how_to_set_it():
    with pytest.raises(InvalidInput, match=r"profile 'cheap' \(set: fast, strong\).*SHOPFLOOR_PROVIDERS__PROFILES"):
        SET.resolve("cheap")


@pytest.mark.parametrize("profiles", [{"strong": []}, {"strong": ["no-slash"]}, {"Not A Name": ["a/b"]}, {"x": ["/b"]}])
def test_settings_that_can_not_be_read_are_refused(profiles: dict[str, list[str]]):
    with pytest.raises(ValidationError):
        ModelProfiles(profiles=profiles)


@pytest.mark.parametrize("text", ["", "openai", "openai/", "/gpt", " / "])
def test_a_model_is_written_with_its_provider(text: str):
    with pytest.raises(InvalidInput, match="provider/model"):
        ModelRef.parse(text)
