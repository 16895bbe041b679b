"""The allow-list and the spellings of a target: what is not written plainly is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopfloor.engine.sandbox.egress_rules import (
    AllowList,
    PlaceMalformed,
    RequestRefused,
    Target,
    absolute_target,
    connect_target,
)


@pytest.mark.parametrize(
    ("entry", "target"),
    [
        ("pip.test", Target("pip.test", 443)),
        ("pip.test:8443", Target("pip.test", 8443)),
        ("PiP.test", Target("pip.test", 443)),
        ("*.example.org", Target("a.example.org", 443)),
        ("*.example.org", Target("a.b.example.org", 443)),
        ("*.example.org:80", Target("a.example.org", 80)),
        ("192.0.2.7", Target("192.0.2.7", 443)),
        ("[2001:db8::7]:8443", Target("2001:db8::7", 8443)),
        ("localhost:5000", Target("localhost", 5000)),
        ("_srv.example.org", Target("_srv.example.org", 443)),
    ],
)
def test_an_entry_lets_its_place_through(entry: str, target: Target):
    assert target in AllowList([entry])


@pytest.mark.parametrize(
    ("entry", "target"),
    [
        ("host.example", Target("evilhost.example", 443)),
        ("host.example", Target("host.example.evil", 443)),
        ("host.example", Target("host.example", 80)),
        ("host.example", Target("sub.host.example", 443)),
        ("*.host.example", Target("host.example", 443)),
        ("*.host.example", Target("evilhost.example", 443)),
        ("*.host.example", Target("a.host.example.evil", 443)),
        ("*.host.example", Target("a.host.example", 80)),
        ("192.0.2.7", Target("192.0.2.8", 443)),
    ],
)
def test_an_entry_lets_nothing_else_through(entry: str, target: Target):
    assert target not in AllowList([entry])


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "*",
        "*.",
        "a b",
        "https://a.example",
        "a.example/x",
        "a.example.",
        "user@a.example",
        "a.example:0",
        "a.example:65536",
        "a.*.example",
        "**.a",
        "0x7f.1",
        "2130706433",
        "127.1",
        "*.192.0.2.7",
        "bücher.example",
        "[::1",
        "::1",
        "a..b",
        "-a.example",
    ],
)
def test_an_entry_that_is_no_place_is_told(entry: str):
    with pytest.raises(PlaceMalformed, match=r"is not a place|before an address"):
        AllowList([entry])


@pytest.mark.parametrize(
    "text",
    [
        "a.example",
        "a.example:",
        "a.example:0",
        "a.example:65536",
        "a.example:443:443",
        "a.example:443 ",
        "x@a.example:443",
        "a.example.:443",
        "a..example:443",
        "[a.example]:443",
        "::1:443",
        "[::1%25lo]:443",
        "0x7f000001:443",
        "017700000001:443",
        "127.1:443",
        "2130706433:443",
        "a.example:४४३",
        "/etc",
        "*",
        "*:443",
        "https://a.example:443",
        "a.example:+443",
        "a_b.-c:443",
    ],
)
def test_a_target_in_another_spelling_is_refused(text: str):
    with pytest.raises(RequestRefused):
        connect_target(text.encode())


def test_an_ipv6_address_has_one_spelling():
    assert connect_target(b"[2001:DB8:0:0::7]:443") == Target("2001:db8::7", 443)


@pytest.mark.parametrize(
    ("text", "place", "path"),
    [
        ("http://a.example", Target("a.example", 80), b"/"),
        ("HTTP://A.example:8080/x?y=http://b.example/", Target("a.example", 8080), b"/x?y=http://b.example/"),
        ("http://a.example?q", Target("a.example", 80), b"/?q"),
    ],
)
def test_an_absolute_request_is_split(text: str, place: Target, path: bytes):
    assert absolute_target(text.encode()) == (place, path)


@pytest.mark.parametrize(
    "text",
    [
        "/path",
        "*",
        "https://a.example/",
        "ftp://a.example/",
        "http:///x",
        "http://a.example@b.example/",
        "http://a.example#@b/",
        "http://a.example\\@b.example/",
        "http://a.example:80:80/",
        "http://a.example%2eevil/",
        "//a.example/",
    ],
)
def test_an_absolute_request_in_another_spelling_is_refused(text: str):
    with pytest.raises(RequestRefused):
        absolute_target(text.encode())


@given(st.binary(max_size=300))
def test_no_bytes_of_a_target_do_harm(data: bytes):
    for read in (connect_target, absolute_target):
        try:
            found = read(data)
        except RequestRefused:
            continue
        target = found if isinstance(found, Target) else found[0]
        assert target.host == target.host.lower()
        assert 0 < target.port < 65_536
        assert target.host.isascii()


@given(st.from_regex(r"\A[a-z]{1,8}(\.[a-z]{1,8}){0,3}\Z"), st.from_regex(r"\A[a-z]{1,8}(\.[a-z]{1,8}){0,3}\Z"))
def test_a_wildcard_means_below_and_nothing_else(name: str, base: str):
    allowed = Target(name, 443) in AllowList([f"*.{base}"])
    assert allowed == (name.endswith(f".{base}") and len(name) > len(base) + 1)
