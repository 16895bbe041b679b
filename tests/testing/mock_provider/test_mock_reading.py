"""Whatever is sent, reading it ends in a conversation or a refusal, never in an error of the server's own."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopfloor.testing.mock_provider.conversation import Conversation, RequestRefused, read_anthropic, read_openai

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["type", "text", "id"]), inner),
    max_leaves=6,
)
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "tool_use", "tool_result", "image"])},
    optional={"text": ANY, "id": ANY, "tool_use_id": ANY, "content": ANY, "input": ANY, "name": ANY},
)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool", "odd"]) | ANY},
    optional={"content": ANY | st.lists(BLOCK, max_size=3), "tool_calls": ANY, "tool_call_id": ANY},
)
PLAIN = st.just([{"role": "user", "content": "x"}])
OPTIONS = ("stream", "stream_options", "tools", "response_format", "system", "thinking", "output_config")
NESTED = st.dictionaries(st.sampled_from(["function", "json_schema", "format", "schema", "type", "name"]), ANY)
BODY = st.fixed_dictionaries(
    {"model": st.just("m"), "messages": PLAIN | st.lists(MESSAGE, min_size=1, max_size=4), "max_tokens": st.just(5)},
    optional=dict.fromkeys(OPTIONS, ANY | NESTED | st.lists(NESTED, max_size=2)),
)


@pytest.mark.parametrize("read", [read_openai, read_anthropic])
def test_any_body_is_read_or_refused(read):
    @given(BODY)
    def check(body):
        with contextlib.suppress(RequestRefused):
            assert isinstance(read(body), Conversation)

    check()
