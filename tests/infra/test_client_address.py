"""Whose request it is: forged headers change nothing, a trusted proxy's are read from the right."""

from __future__ import annotations

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopfloor.infra.client_address import client_address, one_customer

PROXIES = tuple(ip_network(text) for text in ("10.0.0.0/8", "192.0.2.7/32", "2001:db8:ff::/48"))
PROXY = "10.0.0.1"
CLIENT = "203.0.113.9"


@pytest.mark.parametrize("peer", [CLIENT, "2001:db8::1", "11.0.0.1", "::ffff:203.0.113.9"])
@pytest.mark.parametrize("header", ["198.51.100.1", "10.0.0.2", "127.0.0.1", "for=198.51.100.1", ""])
def test_nobody_but_a_trusted_proxy_is_believed(peer: str, header: str):
    assert client_address(peer, [header], [], PROXIES) == client_address(peer, [], [], PROXIES)
    assert client_address(peer, [], [header], PROXIES) == client_address(peer, [], [], PROXIES)


def test_without_trusted_proxies_the_peer_counts():
    assert client_address(PROXY, [CLIENT], [], ()) == PROXY


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ([CLIENT], CLIENT),
        ([f"{CLIENT}, 10.0.0.2"], CLIENT),
        (["198.51.100.1, 127.0.0.1, " + CLIENT], CLIENT),  # what the client wrote itself stands left of it
        ([f"not an address, {CLIENT}, 10.9.9.9"], CLIENT),
        ([CLIENT, "10.0.0.2", "192.0.2.7"], CLIENT),  # one header for each proxy
        (["198.51.100.1", CLIENT], CLIENT),
        ([f"{CLIENT}:4711"], CLIENT),
        (["[2001:db8::9]:4711"], "2001:db8::9"),
        (["[2001:db8::9]"], "2001:db8::9"),
        (["2001:db8::9"], "2001:db8::9"),
        (["2001:db8::9, 2001:db8:ff::1"], "2001:db8::9"),
        (["::ffff:203.0.113.9"], CLIENT),
        (["::ffff:203.0.113.9, ::ffff:10.1.1.1"], CLIENT),
        (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),  # everybody is trusted: the farthest
    ],
)
def test_the_first_hop_from_the_right_that_is_no_proxy_is_the_client(headers: list[str], address: str):
    assert client_address(PROXY, headers, [], PROXIES) == address
    assert client_address("::ffff:10.0.0.1", headers, [], PROXIES) == address
    assert client_address("2001:db8:ff::2", headers, [], PROXIES) == address


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ([f"for={CLIENT}"], CLIENT),
        ([f"For={CLIENT};proto=https;by=10.0.0.1"], CLIENT),
        ([f'for="{CLIENT}:4711"'], CLIENT),
        (['proto=http; for="[2001:db8::9]:4711"'], "2001:db8::9"),
        ([f'for=198.51.100.1;host="a,b;c\\"d", for={CLIENT} , for=10.0.0.2'], CLIENT),
        ([f"for=unknown, for={CLIENT}"], CLIENT),
        (["for=198.51.100.1", f"for={CLIENT}"], CLIENT),
    ],
)
def test_forwarded_is_read_as_its_rfc_writes_it(headers: list[str], address: str):
    assert client_address(PROXY, [], headers, PROXIES) == address


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ",", "unknown", "203.0.113.9.1", "203.0.113", "0x7f000001", "203.0.113.9:", "203.0.113.9:port",
        "203.0.113.9:123456", "[203.0.113.9]", "[2001:db8::9", "2001:db8::9]:1", "[2001:db8::9]x", "fe80::1%eth0",
        "203.0.113.9, ", "203.0.113.9 10.0.0.2", "203.0.113.9\x00", "٢٠٣.0.113.9",
        ",".join(["10.0.0.2"] * 33), "1" * 3_000,
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_not_believed(text: str):
    assert client_address(PROXY, [text], [], PROXIES) == PROXY


@pytest.mark.parametrize(
    "text",
    [
        CLIENT, "for", "for=", "for=_hidden", "for=unknown", f"proto=https, by={CLIENT}", f'for="{CLIENT}',
        f"for={CLIENT} for=10.0.0.2", "for=2001:db8::9", "for=[2001:db8::9]", f"for = {CLIENT}",
        "a=" + "b" * 3_000, 'a="' + "\\" * 2_000,
    ],
)  # fmt: skip
def test_a_forwarded_that_cannot_be_read_is_not_believed(text: str):
    assert client_address(PROXY, [], [text], PROXIES) == PROXY


def test_both_headers_at_once_are_not_believed_since_a_proxy_sets_one_of_them():
    assert client_address(PROXY, [CLIENT], ["for=198.51.100.1"], PROXIES) == PROXY


@given(st.lists(st.text(max_size=60), max_size=4), st.lists(st.text(max_size=60), max_size=4))
def test_no_header_makes_it_fail_or_tell_something_that_is_no_address(forwarded_for, forwarded):
    for peer in (PROXY, CLIENT):
        assert client_address(client_address(peer, forwarded_for, forwarded, PROXIES), [], [], ())


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        (CLIENT, CLIENT),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", CLIENT),
        ("", ""),
    ],
)
def test_an_address_of_ipv6_is_counted_with_its_64(address: str, counted: str):
    assert one_customer(address) == counted
