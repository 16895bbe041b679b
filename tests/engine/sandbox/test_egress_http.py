"""Whatever request can be read can be written anew, with one host and one length."""

from __future__ import annotations

import h11
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shopfloor.engine.sandbox.egress_http import _rewritten
from shopfloor.engine.sandbox.egress_rules import RequestRefused, absolute_target

NAMES = [
    "Host",
    "Connection",
    "Transfer-Encoding",
    "Content-Length",
    "Upgrade",
    "TE",
    "Via",
    "Proxy-Connection",
    "X-Other",
]
VALUES = [
    "chunked",
    "5",
    "close, host",
    "keep-alive, x-other",
    "other.example",
    "",
    "te",
    "content-length",
    "a\tb",
    "é",
]
TARGETS = [
    "http://allowed.example/",
    "http://allowed.example:8080?q",
    "http://allowed.example/%0d%0a",
    "http://a.b/;~'\"<>",
]

lines = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES)), max_size=6)
methods = st.sampled_from(["GET", "POST", "HEAD", "OPTIONS", "M-SEARCH"])


@settings(max_examples=1500, deadline=None)
@given(methods, st.sampled_from(TARGETS), st.sampled_from(["1.0", "1.1", "2.0"]), lines)
@example("POST", TARGETS[0], "1.1", [("Host", "x"), ("Connection", "content-length"), ("Content-Length", "5")])
@example("POST", TARGETS[0], "1.1", [("Host", "x"), ("Connection", "host, via"), ("Transfer-Encoding", "chunked")])
def test_a_request_that_is_read_is_written_with_one_host_and_one_length(
    method: str, target: str, version: str, headers: list[tuple[str, str]]
):
    head = f"{method} {target} HTTP/{version}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers) + "\r\n"
    parser = h11.Connection(h11.SERVER)
    parser.receive_data(head.encode())
    try:
        request = parser.next_event()
        assert isinstance(request, h11.Request)
        place = absolute_target(request.target)
    except (h11.RemoteProtocolError, RequestRefused):
        return
    written = h11.Connection(h11.CLIENT).send(_rewritten(request, *place))
    names = [line.partition(b":")[0].lower() for line in (written or b"").split(b"\r\n")[1:-2]]
    assert names.count(b"host") == names.count(b"connection") == names.count(b"via") == 1
    assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
    framed = {b"content-length", b"transfer-encoding"}
    assert bool(framed & set(names)) == any(name in framed for name, _ in request.headers)
    assert not {b"upgrade", b"te", b"proxy-connection"} & set(names)
