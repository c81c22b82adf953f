"""Addresses, request ids and paths, as functions (security.md V14)."""

import ipaddress
import random
from typing import Any

import pytest
from django.core.exceptions import DisallowedHost
from django.test import RequestFactory
from hypothesis import given
from hypothesis import strategies as st

from duely.guard.rules import (
    LimitStatus,
    Rate,
    Scope,
    api_path,
    client_address,
    counted_address,
    is_api,
    is_document,
    is_host,
    parse_address,
    printable,
    sane_request_id,
)

PROXIES = [ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("fd00::/8")]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("203.0.113.7", "203.0.113.7"),
        (" 203.0.113.7 ", "203.0.113.7"),
        ("203.0.113.7:51234", "203.0.113.7"),
        ('"203.0.113.7:51234"', "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0:0:0:0:1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ('"[2001:db8::1]:443"', "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:443", "fe80::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:80", "203.0.113.7"),
    ],
)
def test_addresses_are_parsed_in_the_forms_of_proxies(text: str, expected: str) -> None:
    assert parse_address(text) == ipaddress.ip_address(expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "unknown",
        "_hidden",
        "localhost",
        "203.0.113",
        "203.0.113.256",
        "203.0.113.07",
        "0x7f.0.0.1",
        "2130706433",
        "[",
        "[]",
        "%eth0",
        "203.0.113.7\x00",
        "203.0.113.7;203.0.113.8",
        "for=203.0.113.7",
        "٢٠٣.0.113.7",
        "1" * 10_000,
        ":" * 10_000,
    ],
)
def test_invalid_text_is_no_address(text: str) -> None:
    assert parse_address(text) is None


@pytest.mark.parametrize("allowed", [(), ("localhost", "[::1]"), (".example.com", "tasks.example.org"), ("*",)])
@pytest.mark.parametrize(
    "host",
    ["", "localhost", "LOCALHOST:80", "[::1]:8000", "a.example.com", "example.com.", "tasks.example.org.evil", "a b"],
)
def test_a_host_is_allowed_where_django_allows_it(host: str, allowed: tuple[str, ...], settings: Any) -> None:
    settings.ALLOWED_HOSTS, settings.DEBUG = list(allowed), False
    try:
        RequestFactory().get("/", headers={"host": host}).get_host()
    except DisallowedHost:
        assert not is_host(host, allowed)
    else:
        assert is_host(host, allowed)


@given(st.text())
def test_any_text_is_an_address_or_none(text: str) -> None:
    found = parse_address(text)
    assert found is None or ipaddress.ip_address(str(found)) == found


@pytest.mark.parametrize(
    "peer, forwarded, expected",
    [
        # Without a proxy that we trust the header means nothing.
        ("203.0.113.7", "", "203.0.113.7"),
        ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
        ("203.0.113.7", "10.0.0.1", "203.0.113.7"),
        # With one: the right-most hop that is none of our proxies.
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "203.0.113.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "10.9.9.9, 198.51.100.1, 10.0.0.2", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1:8080", "198.51.100.1"),
        ("fd00::1", "[2001:db8::5]:443", "2001:db8::5"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "fe80::1%eth0", "fe80::1"),
        # Only proxies: the farthest of them.
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "", "10.0.0.1"),
        # Garbage ends the chain at the last hop that was understood.
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, ", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, rubbish, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "x" * 10_000 + ", 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", ", " * 5_000, "10.0.0.1"),
        # A socket without an address, such as a Unix socket.
        ("", "198.51.100.1", None),
    ],
)
def test_the_client_is_the_nearest_untrusted_hop(peer: str, forwarded: str, expected: str | None) -> None:
    found = client_address(peer, forwarded, PROXIES)
    assert found == (ipaddress.ip_address(expected) if expected else None)


def test_without_trusted_proxies_the_header_is_ignored() -> None:
    dice = random.Random(14)
    for _ in range(1000):
        hops = [
            dice.choice(
                [
                    str(ipaddress.IPv4Address(dice.getrandbits(32))),
                    str(ipaddress.IPv6Address(dice.getrandbits(128))),
                    "127.0.0.1",
                    "unknown",
                    "",
                    f"for={dice.getrandbits(16)}",
                ]
            )
            for _ in range(dice.randint(0, 5))
        ]
        assert client_address("203.0.113.7", ",".join(hops), []) == ipaddress.ip_address("203.0.113.7")


@given(st.lists(st.ip_addresses(), max_size=4), st.ip_addresses())
def test_forged_hops_on_the_left_are_ignored(forged: list[object], client: object) -> None:
    written_by_proxy = str(client)
    header = ", ".join([*map(str, forged), written_by_proxy])
    alone = client_address("10.0.0.1", written_by_proxy, PROXIES)
    if not any(alone in network for network in PROXIES):
        assert client_address("10.0.0.1", header, PROXIES) == alone


@pytest.mark.parametrize("text", ["a", "0198c3a0-0000-7000-8000-000000000000", "Root=1-67891233-abc:9/x+y=", "x" * 128])
def test_sane_request_ids_are_kept(text: str) -> None:
    assert sane_request_id(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "a b", "x" * 129, "a\n", "a\r\nX-Evil: 1", "a\x00", "\x1b[31m", "é", "<script>", "a,b", '"a"', "a\u2028"],
)
def test_other_request_ids_are_not(text: str) -> None:
    assert not sane_request_id(text)


def test_header_text_for_the_log_is_cut_and_cleaned() -> None:
    assert printable("curl/8.5", 255) == "curl/8.5"
    assert printable("a\r\nb\x1b[31m\x00\ud800\x85", 255) == "a??b?[31m???"
    assert printable("x" * 300, 255) == "x" * 255


@pytest.mark.parametrize(
    "path, expected",
    [
        ("/api/", "/api/v1/"),
        ("/api", "/api/v1/"),
        ("/api/v1", "/api/v1/"),
        ("/api/v1/", "/api/v1/"),
        ("/api/tasks", "/api/v1/tasks/"),
        ("/api/tasks/", "/api/v1/tasks/"),
        ("/api/v1/tasks", "/api/v1/tasks/"),
        ("/api/v1/tasks/", "/api/v1/tasks/"),
        ("/api/v10/tasks", "/api/v1/v10/tasks/"),
        ("/api/v2/tasks/", "/api/v1/v2/tasks/"),
        ("/api/v1x", "/api/v1/v1x/"),
    ],
)
def test_every_form_of_a_path_has_one_canonical_form(path: str, expected: str) -> None:
    assert api_path(path) == expected


@given(st.text(alphabet="av1/", max_size=12))
def test_the_canonical_form_is_its_own_canonical_form(rest: str) -> None:
    once = api_path("/api/" + rest)
    assert api_path(once) == once
    assert once.startswith("/api/v1/")
    assert once.endswith("/")


@pytest.mark.parametrize(
    "path, api, document",
    [
        ("/api", True, False),
        ("/api/", True, False),
        ("/api/tasks", True, False),
        ("/api/docs", True, True),
        ("/api/v1/docs/", True, True),
        ("/api/v1/docs/more/", True, False),
        ("/apis", False, False),
        ("/v1/docs/", False, False),
        ("/docs/", False, False),
        ("/", False, False),
    ],
)
def test_api_paths_are_distinguished_from_pages(path: str, api: bool, document: bool) -> None:
    assert (is_api(path), is_document(path)) == (api, document)


@pytest.mark.parametrize(
    "text, limit, seconds",
    [
        ("50/min", 50, 60),
        ("5/10min", 5, 600),
        ("5/10 min", 5, 600),
        (" 1000/Day ", 1000, 86_400),
        ("1/s", 1, 1),
        ("1/2seconds", 1, 2),
        ("7/hour", 7, 3600),
        ("999999/24h", 999_999, 86_400),
    ],
)
def test_rates_are_parsed_in_every_form(text: str, limit: int, seconds: int) -> None:
    assert Rate.parse(text) == Rate(limit, seconds)


def test_zero_is_no_rate() -> None:
    assert Rate.parse(" 0 ") is None


@pytest.mark.parametrize(
    "text",
    ["", "5", "5/", "/min", "0/min", "05/min", "-1/min", "5/0min", "5/week", "1000000/s", "2/2d", "1/25h", "٥/min"],
)
def test_invalid_text_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}$"):
        Rate.parse(text)


@pytest.mark.parametrize("wait, told", [(0.0, 1), (0.2, 1), (1.0, 1), (1.01, 2), (59.5, 60)])
def test_retry_after_is_long_enough(wait: float, told: int) -> None:
    status = LimitStatus(Scope.LOGIN, Rate(5, 60), False, 0, wait)
    assert status.retry_after == told
    assert dict(status.headers()) == {"RateLimit-Policy": '"login";q=5;w=60', "RateLimit": f'"login";r=0;t={told}'}


@pytest.mark.parametrize(
    "address, counted",
    [
        ("203.0.113.7", "203.0.113.7"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::", "2001:db8:1:3::/64"),
        ("localhost", "unknown"),
        ("", "unknown"),
        (None, "unknown"),
    ],
)
def test_all_addresses_of_one_customer_are_one_caller(address: str | None, counted: str) -> None:
    assert counted_address(address) == counted
