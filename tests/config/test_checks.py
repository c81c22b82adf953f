from ipaddress import ip_network
from pathlib import Path

import pytest

from duely.config import checks
from duely.config.env import SettingError


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.9.1", "::1", "[::1]"])
def test_loopback_addresses_are_recognised(host: str) -> None:
    assert checks.is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "localhost.example.org", "", "127.0.0.1.example.org"])
def test_other_addresses_are_not_loopback(host: str) -> None:
    assert not checks.is_loopback(host)


@pytest.mark.parametrize(
    "key",
    [
        "short",
        "x" * 64,
        "abcabcabcabcabcabcabcabcabcabcabcabcabc",
        "django-insecure-kZ4vT8xQ2mW6nB0cR5yH9jL3pF7gD1sA",
        "change-me-kZ4vT8xQ2mW6nB0cR5yH9jL3pF7gD1sA",
        "CHANGEME-kZ4vT8xQ2mW6nB0cR5yH9jL3pF7gD1sA",
        "your-secret-key-kZ4vT8xQ2mW6nB0cR5yH9jL3",
    ],
)
def test_a_weak_or_known_key_is_refused_with_a_way_to_make_a_good_one(key: str) -> None:
    with pytest.raises(SettingError, match=r"SECRET_KEY: is weak or known; .*token_urlsafe"):
        checks.refuse_weak_keys(key, [], debug=False)
    with pytest.raises(SettingError, match=r"SECRET_KEY_FALLBACKS: is weak or known"):
        checks.refuse_weak_keys(None, [key], debug=False)
    checks.refuse_weak_keys(key, [key], debug=True)


def test_a_random_key_is_accepted() -> None:
    checks.refuse_weak_keys("kZ4vT8xQ2mW6nB0cR5yH9jL3pF7gD1sA", [], debug=False)


@pytest.mark.parametrize("key", ["short", "x" * 64, "change-me-kZ4vT8xQ2mW6nB0cR5yH9jL3pF7gD1sA"])
def test_a_weak_key_in_the_file_is_refused_too(key: str) -> None:
    path = Path("/srv/duely/secret_key")
    with pytest.raises(SettingError, match=r"DATA_DIR: /srv/duely/secret_key holds a weak or known key\. Remove"):
        checks.refuse_weak_key_file(key, path, debug=False)
    checks.refuse_weak_key_file(key, path, debug=True)
    checks.refuse_weak_key_file("kZ4vT8xQ2mW6nB0cR5yH9jL3pF7gD1sA", path, debug=False)


@pytest.mark.parametrize("network", ["0.0.0.0/0", "0.0.0.0/1", "128.0.0.0/1", "32.0.0.0/7", "::/0", "2000::/3"])
def test_proxies_in_a_range_full_of_strangers_are_refused(network: str) -> None:
    with pytest.raises(SettingError, match=r"TRUSTED_PROXIES: .* holds clients, not only proxies"):
        checks.refuse_wide_proxies([ip_network("127.0.0.1/32"), ip_network(network)])


@pytest.mark.parametrize("network", ["10.0.0.0/8", "fc00::/7", "127.0.0.0/8", "104.16.0.0/13", "2400:cb00::/32", "::1"])
def test_ranges_of_proxies_are_accepted(network: str) -> None:
    checks.refuse_wide_proxies([ip_network(network)])


@pytest.mark.parametrize("host,public", [("0.0.0.0", "localhost"), ("127.0.0.1", "tasks.example.org")])
def test_debug_is_refused_where_others_can_see_it(host: str, public: str) -> None:
    with pytest.raises(SettingError, match="DEBUG: shows private data"):
        checks.refuse_public_debug(debug=True, host=host, public_host=public)
    checks.refuse_public_debug(debug=False, host=host, public_host=public)


def test_debug_is_accepted_on_this_machine_alone() -> None:
    checks.refuse_public_debug(debug=True, host="127.0.0.1", public_host="localhost")


def test_every_host_name_at_once_is_refused() -> None:
    with pytest.raises(SettingError, match="ALLOWED_HOSTS: may not be"):
        checks.refuse_open_hosts(["a.example", "*"], debug=False)
    checks.refuse_open_hosts(["*"], debug=True)
    checks.refuse_open_hosts([".example.org"], debug=False)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::]"])
def test_listening_everywhere_needs_an_address_for_people(host: str) -> None:
    with pytest.raises(SettingError, match="PUBLIC_URL: is needed"):
        checks.refuse_unknown_address(host=host, public_url=None, allowed=[])
    checks.refuse_unknown_address(host=host, public_url="http://a.example", allowed=[])
    checks.refuse_unknown_address(host=host, public_url=None, allowed=["a.example"])
    checks.refuse_unknown_address(host="192.0.2.1", public_url=None, allowed=[])
