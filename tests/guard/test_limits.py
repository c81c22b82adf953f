"""Rate limits over HTTP: who is counted as whom, what they are told, and what a refusal costs."""

import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from cast import PASSWORD, V1, Api, adam, alice, bearer, bob
from duely.guard import limits
from duely.guard.rules import Rate, Scope

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nobody_has_come_yet() -> Iterator[None]:
    limits.reset()
    yield
    limits.reset()


@pytest.fixture
def rates(settings: Any) -> dict[str, Rate | None]:
    """All limits off; a test sets those it wants."""
    settings.RATE_LIMITS = dict.fromkeys(("login", "anonymous", "user"))
    found: dict[str, Rate | None] = settings.RATE_LIMITS
    return found


def log_in(name: str = "nobody", password: str = "wrong", **extra: Any) -> Any:
    body = {"username": name, "password": password}
    return Client().post(f"{V1}auth/login/", body, content_type="application/json", **extra)


def test_a_user_is_refused_beyond_the_limit(rates: dict[str, Rate | None]) -> None:
    rates["user"] = Rate(3, 60)
    me = Api(alice())
    left = []
    for _ in range(3):
        answer = me.get("tasks/")
        assert answer.status_code == 200
        assert answer["RateLimit-Policy"] == '"user";q=3;w=60'
        left.append(answer["RateLimit"])
    assert left == ['"user";r=2;t=60', '"user";r=1;t=60', '"user";r=0;t=60']
    refused = me.post("tasks/", {"title": "Milk"})
    assert refused.status_code == 429
    assert refused["Content-Type"] == "application/problem+json"
    assert refused.json()["code"] == "rate_limited"
    assert 1 <= int(refused["Retry-After"]) <= 60
    assert refused["RateLimit"].startswith('"user";r=0;t=')
    assert me.get("categories/").status_code == 429
    assert Api(bob()).get("tasks/").status_code == 200


def test_every_refusal_says_how_long_to_wait(rates: dict[str, Rate | None]) -> None:
    rates["login"] = Rate(1, 60)
    assert log_in().status_code == 401
    refusals = [log_in() for _ in range(3)]
    for refused in refusals:
        assert refused.status_code == 429
        assert refused["RateLimit"] == f'"login";r=0;t={refused["Retry-After"]}'
        assert 50 <= int(refused["Retry-After"]) <= 60


def test_remembered_refusals_are_bounded(rates: dict[str, Rate | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_REMEMBERED_KEYS", 3)
    rates["user"] = Rate(1, 60)
    most = 0
    for who in "abcdefgh":
        statuses = [limits.spend(Scope.USER, who) for _ in range(2)]
        assert [status.is_allowed for status in statuses if status] == [True, False]
        most = max(most, len(limits._refused_until))
    assert most == 3


def test_a_repeated_refusal_evicts_no_others(rates: dict[str, Rate | None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_REMEMBERED_KEYS", 3)
    rates["user"] = Rate(1, 60)
    for who in "abc":
        for _ in range(3):
            limits.spend(Scope.USER, who)
    assert len(limits._refused_until) == 3
    limits.spend(Scope.USER, "c")
    assert len(limits._refused_until) == 3


def test_all_sessions_of_a_user_count_together(rates: dict[str, Rate | None]) -> None:
    rates["user"] = Rate(2, 60)
    user = alice()
    assert [Api(user).get("tasks/").status_code for _ in range(3)] == [200, 200, 429]


def test_a_refused_user_costs_no_query(rates: dict[str, Rate | None]) -> None:
    rates["user"] = Rate(1, 60)
    me = Api(alice())
    me.get("tasks/")
    with CaptureQueriesContext(connection) as statements:
        assert me.get("tasks/").status_code == 429
    assert len(statements) == 0


def test_a_remembered_refusal_of_sign_in_costs_no_query(rates: dict[str, Rate | None]) -> None:
    rates["login"] = Rate(1, 60)
    assert [log_in().status_code for _ in range(2)] == [401, 429]
    with CaptureQueriesContext(connection) as statements:
        assert log_in().status_code == 429
    assert len(statements) == 0


def test_sign_in_is_limited_by_address_alone(rates: dict[str, Rate | None]) -> None:
    rates["login"] = Rate(3, 60)
    alice()
    codes = [log_in("alice", PASSWORD), log_in("alice"), log_in("bob"), log_in("alice", PASSWORD)]
    assert [answer.status_code for answer in codes] == [200, 401, 401, 429]
    assert log_in("alice", PASSWORD, REMOTE_ADDR="198.51.100.7").status_code == 200


def test_the_admin_page_counts_as_sign_in(rates: dict[str, Rate | None]) -> None:
    rates["login"] = Rate(2, 60)
    adam()

    def try_page(password: str) -> Any:
        return Client().post("/admin/login/?next=/admin/", {"username": "adam", "password": password})

    assert [try_page("wrong").status_code for _ in range(2)] == [200, 200]
    refused = try_page(PASSWORD)
    assert refused.status_code == 200
    assert "Try again in" in refused.content.decode()
    assert log_in("adam", PASSWORD).status_code == 429
    limits.reset()
    rates["login"] = None
    assert try_page(PASSWORD).status_code == 302


def test_each_scope_has_its_own_count(rates: dict[str, Rate | None]) -> None:
    rates["login"] = rates["anonymous"] = rates["user"] = Rate(1, 60)
    me = Api(alice())
    assert me.get("tasks/").status_code == 200
    assert log_in().status_code == 401
    signed_up = Client().post(f"{V1}auth/signup/", {}, content_type="application/json")
    assert signed_up.status_code == 400
    assert signed_up["RateLimit-Policy"] == '"anonymous";q=1;w=60'


@pytest.mark.parametrize("token", ["", "Bearer x", "Bearer a.b.c", "Basic eA=="])
def test_requests_without_a_valid_token_count_by_address(token: str, rates: dict[str, Rate | None]) -> None:
    rates["anonymous"] = Rate(2, 60)
    headers = {"Authorization": token} if token else {}
    answers = [Client().get(f"{V1}tasks/", headers=headers) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [401, 401, 429]
    assert Api(alice()).get("tasks/").status_code == 200


def test_a_thousand_forged_hops_are_one_caller(rates: dict[str, Rate | None]) -> None:
    rates["login"] = Rate(5, 60)
    codes = [
        log_in(headers={"X-Forwarded-For": f"203.0.113.{number % 256}, 10.{number // 256}.0.1"}).status_code
        for number in range(1000)
    ]
    assert codes == [401] * 5 + [429] * 995


FORGED = [
    {"X-Forwarded-For": "203.0.113.1"},
    {"X-Forwarded-For": "127.0.0.1"},
    {"X-Forwarded-For": "203.0.113.1, 198.51.100.1"},
    {"X-Forwarded-For": "x" * 10_000},
    {"X-Forwarded-For": ", " * 5_000},
    {"X-Forwarded-For": "fe80::1%eth0"},
    {"X-Forwarded-For": "[2001:db8::1]:443"},
    {"X-Forwarded-For": "203.0.113.1:8080"},
    {"X-Forwarded-For": "unknown"},
    {"X-Forwarded-For": "\x00"},
    {"X_Forwarded_For": "203.0.113.1"},
    {"X-Real-IP": "203.0.113.1"},
    {"X-Client-IP": "203.0.113.1"},
    {"X-Cluster-Client-IP": "203.0.113.1"},
    {"True-Client-IP": "203.0.113.1"},
    {"CF-Connecting-IP": "203.0.113.1"},
    {"Forwarded": "for=203.0.113.1"},
    {"Forwarded": 'for="[2001:db8::1]:443";proto=https;by=127.0.0.1'},
    {"Via": "1.1 203.0.113.1"},
    {"Remote-Addr": "203.0.113.1"},
    {"X-Remote-Addr": "203.0.113.1"},
]
"""Ways to name another address than one's own (security.md V14)."""


@pytest.mark.parametrize("proxies", [[], ["10.0.0.0/8"]])
def test_forwarded_headers_of_a_client_are_ignored(
    proxies: list[str], rates: dict[str, Rate | None], settings: Any
) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network(network) for network in proxies]
    rates["login"] = Rate(2, 60)
    codes = [log_in(headers=headers).status_code for headers in FORGED]
    assert codes == [401] * 2 + [429] * (len(FORGED) - 2)


@pytest.mark.parametrize("headers", [headers for headers in FORGED if not any("orwarded" in name for name in headers)])
def test_only_x_forwarded_for_of_a_trusted_proxy_counts(
    headers: dict[str, str], rates: dict[str, Rate | None], settings: Any
) -> None:
    """What else a client adds goes through many proxies as it is."""
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("127.0.0.0/8")]
    rates["login"] = Rate(1, 60)
    assert log_in(headers={**headers, "X-Forwarded-For": "198.51.100.7"}).status_code == 401
    assert log_in(headers={"X-Forwarded-For": "198.51.100.7"}).status_code == 429


@pytest.mark.parametrize(
    "hops, counted",
    [
        ("198.51.100.7:51234", "198.51.100.7"),
        ("203.0.113.9, 198.51.100.7", "198.51.100.7"),
        ("[2001:db8:1:2::9]:443", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::8%eth0", "2001:db8:1:2::/64"),
        ("x" * 10_000 + ", 198.51.100.7", "198.51.100.7"),
        ("198.51.100.7, rubbish", "127.0.0.1"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
    ],
)
def test_every_spelling_of_a_forwarded_address_is_one_caller(
    hops: str, counted: str, rates: dict[str, Rate | None], settings: Any
) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("127.0.0.0/8")]
    rates["login"] = Rate(1, 60)
    limits.spend(Scope.LOGIN, counted)
    assert log_in(headers={"X-Forwarded-For": hops}).status_code == 429


def test_behind_a_trusted_proxy_each_client_has_its_own_count(rates: dict[str, Rate | None], settings: Any) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("127.0.0.0/8")]
    rates["login"] = Rate(1, 60)

    def through_proxy(hops: str) -> int:
        code: int = log_in(headers={"X-Forwarded-For": hops}).status_code
        return code

    assert through_proxy("203.0.113.1") == 401
    assert through_proxy("203.0.113.2") == 401
    assert through_proxy("198.51.100.9, 203.0.113.1") == 429


def test_an_ipv6_customer_is_one_caller(rates: dict[str, Rate | None]) -> None:
    rates["login"] = Rate(2, 60)
    codes = [log_in(REMOTE_ADDR=f"2001:db8:1:2::{number:x}").status_code for number in range(3)]
    assert codes == [401, 401, 429]
    assert log_in(REMOTE_ADDR="2001:db8:1:3::1").status_code == 401


def test_an_unreadable_address_is_limited(rates: dict[str, Rate | None]) -> None:
    rates["login"] = Rate(1, 60)
    assert [log_in(REMOTE_ADDR="").status_code for _ in range(2)] == [401, 429]


@pytest.mark.slow
def test_a_request_is_allowed_after_the_window(rates: dict[str, Rate | None]) -> None:
    import time

    rates["user"] = rates["login"] = Rate(1, 1)
    me = Api(alice())
    assert [me.get("tasks/").status_code for _ in range(2)] == [200, 429]
    assert [log_in().status_code for _ in range(2)] == [401, 429]
    end = time.monotonic() + 30
    while me.get("tasks/").status_code == 429 or log_in().status_code == 429:
        assert time.monotonic() < end


@pytest.mark.parametrize("path", ["schema/", "docs/", "schema/?format=yaml"])
def test_the_documents_are_limited_like_anonymous_calls(rates: dict[str, Rate | None], path: str) -> None:
    rates["anonymous"] = Rate(2, 60)
    first = Client().get(V1 + path)
    assert [Client().get(V1 + path).status_code for _ in range(2)] == [200, 429]
    # Who has it already costs next to nothing.
    assert Client().get(V1 + path, headers={"If-None-Match": first["ETag"]}).status_code == 304


def test_pages_and_health_are_not_limited(rates: dict[str, Rate | None]) -> None:
    rates["anonymous"] = Rate(1, 60)
    for _ in range(3):
        for path in (V1, "/healthz", "/readyz", "/"):
            answer = Client().get(path)
            assert answer.status_code == 200
            assert "RateLimit" not in answer


def test_zero_disables_a_limit(rates: dict[str, Rate | None]) -> None:
    me = Api(alice())
    answers = [me.get("tasks/") for _ in range(60)]
    assert {answer.status_code for answer in answers} == {200}
    assert "RateLimit" not in answers[0]


def test_admins_are_limited_like_users(rates: dict[str, Rate | None]) -> None:
    rates["user"] = Rate(1, 60)
    admin = Api(adam())
    assert [admin.get("users/").status_code for _ in range(2)] == [200, 429]


def test_an_ended_session_is_counted_before_any_query(rates: dict[str, Rate | None]) -> None:
    rates["user"] = Rate(1, 60)
    user = alice()
    headers = bearer(user)
    user.is_active = False
    type(user).objects.filter(pk=user.pk).update(is_active=False)
    assert [Client().get(f"{V1}tasks/", headers=headers).status_code for _ in range(2)] == [401, 429]


def test_a_restarted_process_starts_counting_at_zero(rates: dict[str, Rate | None]) -> None:
    rates["anonymous"] = Rate(1, 60)
    assert [Client().get(f"{V1}tasks/").status_code for _ in range(2)] == [401, 429]
    limits.reset()
    assert Client().get(f"{V1}tasks/").status_code == 401
