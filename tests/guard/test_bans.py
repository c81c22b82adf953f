"""Bans from the caller's side: refusals, their cost, and automatic bans."""

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from cast import PASSWORD, V1, Api, adam, alice, bob, person, refresh_token_of, session_of
from duely.accounts.tokens import mint_access, new_refresh
from duely.core import clock
from duely.guard import bans, rules
from duely.guard.bans import PERMANENT, Snapshot
from duely.guard.models import Ban
from duely.guard.rules import Rate
from duely.guard.watch import watch

pytestmark = pytest.mark.django_db

THEIRS = "198.51.100.7"


def keep_out(network: str, until: datetime | None = None) -> None:
    """As if a ban of it stood and this process knew."""
    bans.manual.put(ipaddress.ip_network(network), until)


def come(path: str = f"{V1}tasks/", address: str = THEIRS, **extra: Any) -> Any:
    return Client().get(path, REMOTE_ADDR=address, **extra)


FORGED = {"Authorization": "Bearer forged"}


def fail(times: int, address: str = THEIRS) -> set[int]:
    """The statuses of that number of calls with an unknown token."""
    return {come(address=address, headers=FORGED).status_code for _ in range(times)}


def post(path: str, body: Any, address: str = THEIRS, **extra: Any) -> Any:
    return Client().post(f"{V1}{path}", body, content_type="application/json", REMOTE_ADDR=address, **extra)


# Refusals


def test_a_banned_address_gets_403_and_no_reason_from_the_api() -> None:
    keep_out(THEIRS)
    answer = come()
    assert answer.status_code == 403
    assert answer["Content-Type"] == "application/problem+json"
    assert (answer.json()["code"], answer.json()["detail"]) == ("address_banned", "Ask an administrator.")
    assert answer["Cache-Control"] == "no-store"
    assert answer["X-Request-ID"] in answer.json()["instance"]


def test_the_refusal_says_when_the_ban_ends() -> None:
    until = datetime(2099, 1, 31, 9, tzinfo=UTC)
    keep_out(THEIRS, until)
    assert "2099-01-31T09:00:00.000Z" in come().json()["detail"]


@pytest.mark.parametrize("path", ["/", "/admin/login/", "/healthz", "/nowhere"])
def test_pages_answer_a_banned_address_with_plain_text(path: str) -> None:
    keep_out(THEIRS)
    answer = come(path)
    assert answer.status_code == 403
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.content == b"Your address is banned. Ask an administrator.\n"
    assert come(path, "198.51.100.8").status_code != 403


def test_head_has_no_body() -> None:
    keep_out(THEIRS)
    answer = Client().head(f"{V1}tasks/", REMOTE_ADDR=THEIRS)
    assert (answer.status_code, answer.content) == (403, b"")


def test_an_admins_ban_refuses_signed_in_users_and_admins() -> None:
    me, boss = Api(alice()), Api(adam())
    keep_out("198.51.100.0/24")
    for api in (me, boss):
        assert come(headers=api.headers).json()["code"] == "address_banned"
        assert come(address="203.0.113.1", headers=api.headers).status_code == 200


def test_a_banned_caller_costs_no_query() -> None:
    me = Api(alice())
    keep_out(THEIRS)
    with CaptureQueriesContext(connection) as statements:
        for path in (f"{V1}tasks/", "/admin/", "/"):
            assert come(path, headers=me.headers).status_code == 403
    assert len(statements) == 0


def test_the_body_of_a_banned_caller_is_not_read() -> None:
    class Trap:
        def read(self, *_: Any) -> bytes:
            raise AssertionError("the body was read")

        readline = read

    keep_out(THEIRS)
    environ = {"wsgi.input": Trap(), "CONTENT_LENGTH": "10", "REMOTE_ADDR": THEIRS}
    assert Client().post(f"{V1}auth/login/", **environ).status_code == 403


def test_a_ban_ends_at_its_time_without_a_query() -> None:
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock_hand:
        keep_out(THEIRS, clock.now() + timedelta(minutes=5))
        assert come().status_code == 403
        clock_hand.shift(timedelta(minutes=4, seconds=59))
        assert come().status_code == 403
        clock_hand.shift(timedelta(seconds=1))
        assert come().status_code == 401


def test_behind_a_trusted_proxy_the_client_is_banned(settings: Any) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("192.0.2.0/24")]
    keep_out(THEIRS)

    def through_proxy(hops: str) -> int:
        status: int = come(address="192.0.2.1", headers={"X-Forwarded-For": hops}).status_code
        return status

    assert through_proxy(THEIRS) == 403
    assert through_proxy(f"203.0.113.9, {THEIRS}") == 403
    assert through_proxy("203.0.113.9") == 401
    # Nobody gets around a ban, or another banned, by what they write themselves.
    assert through_proxy(f"{THEIRS}, 203.0.113.9") == 401
    assert come(headers={"X-Forwarded-For": "203.0.113.9"}).status_code == 403


def test_loopback_and_trusted_proxies_are_never_refused(settings: Any) -> None:
    """Settings change after a ban was made: whoever can reach the machine itself can always mend it."""
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("192.0.2.0/24")]
    for network in ("127.0.0.0/8", "::1/128", "192.0.2.1/32"):
        keep_out(network)
    for address in ("127.0.0.1", "::1", "192.0.2.1", "::ffff:127.0.0.1"):
        assert come("/admin/login/", address).status_code == 200


def test_an_unreadable_address_is_not_refused() -> None:
    keep_out(THEIRS)
    assert come(address="").status_code == 401


# The snapshot

NETWORKS = st.one_of(
    st.builds(
        lambda n, size: ipaddress.ip_network((n, size), strict=False), st.integers(0, 2**32 - 1), st.integers(8, 32)
    ),
    st.builds(
        lambda n, size: ipaddress.ip_network((n << 96, size), strict=False),
        st.integers(0, 2**32 - 1),
        st.integers(16, 128),
    ),
)
NOW = datetime(2030, 1, 1, tzinfo=UTC)
ENDS = st.sampled_from([None, NOW - timedelta(hours=1), NOW, NOW + timedelta(hours=1), NOW + timedelta(hours=2)])


@given(st.lists(st.tuples(NETWORKS, ENDS), max_size=12), st.data())
def test_the_snapshot_agrees_with_a_scan_of_all_bans(bans_put: list[Any], data: Any) -> None:
    snapshot = Snapshot()
    for network, until in bans_put:
        snapshot.put(network, until)
    ends = dict(bans_put)
    for network in ends:
        address = network[data.draw(st.integers(0, network.num_addresses - 1))]
        active_ends = [
            until or PERMANENT for other, until in ends.items() if address in other and (until or PERMANENT) > NOW
        ]
        assert snapshot.end_of(address, NOW) == max(active_ends, default=None)


@given(st.lists(NETWORKS, max_size=8), NETWORKS)
def test_dropping_a_network_removes_only_its_ban(others: list[Any], network: Any) -> None:
    snapshot = Snapshot()
    snapshot.put(network, None)
    for other in others:
        snapshot.put(other, None)
    snapshot.drop(network)
    address = network[0]
    expected = PERMANENT if any(address in other for other in others if other != network) else None
    assert snapshot.end_of(address, NOW) == expected
    snapshot.drop(network)


def test_a_hundred_thousand_bans_cost_a_request_a_few_microseconds() -> None:
    import time

    many = [
        (f"{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}.0/{24 + number % 9}", None)
        for number in range(2**16, 2**16 + 100_000)
    ]
    bans.manual.replace(many)
    address = ipaddress.ip_address("203.0.113.7")
    started = time.perf_counter()
    for _ in range(1000):
        bans.manual.end_of(address, NOW)
    assert (time.perf_counter() - started) / 1000 < 0.000_5


# Bans that come by themselves


def test_the_hundredth_refused_call_bans_the_address() -> None:
    assert fail(99) == {401}
    assert come(f"{V1}schema/").status_code == 200
    assert fail(1) == {401}
    assert come(f"{V1}schema/").json()["code"] == "address_banned"
    assert come(address="198.51.100.8").status_code == 401


def test_a_ban_applies_at_once_and_is_stored_by_the_next_run() -> None:
    with CaptureQueriesContext(connection) as statements:
        assert fail(100) == {401}
        assert come().status_code == 403
    assert len(statements) == 0
    assert not Ban.objects.exists()
    watch.run_once()
    ban = Ban.objects.get()
    assert (ban.network, ban.automatic, ban.created_by) == ("198.51.100.7/32", True, None)
    assert ban.until is not None
    assert ban.until - ban.created_at == timedelta(hours=1)
    assert ban.reason == "100 wrong tokens, passwords or codes within 10 minutes"
    watch.run_once()
    assert Ban.objects.count() == 1


def test_a_valid_token_passes_an_automatic_ban() -> None:
    me = Api(alice())
    fail(100)

    assert come(headers=me.headers).status_code == 200
    assert come(headers=FORGED).json()["code"] == "address_banned"
    assert come().json()["code"] == "address_banned"


def test_a_valid_token_passes_after_the_ban_is_stored() -> None:
    """Each process reads the table: what it reads must be the same as what it decided by itself."""
    me = Api(alice())
    fail(100)
    watch.run_once()
    watch.reset()
    watch.run_once()

    assert come("/").status_code == 403
    assert come(headers=me.headers).status_code == 200


def test_a_refresh_token_passes_an_automatic_ban() -> None:
    token = refresh_token_of(session_of(alice()))
    fail(100)

    for path in ("auth/token/refresh/", "token/refresh/"):
        answer = post(path, {"refresh": token})
        assert answer.status_code == 200
        token = answer.json()["refresh"]
    assert post("auth/logout/", {"refresh": token}).status_code == 204
    assert post("auth/token/refresh/", {"refresh": "dlr_" + "a" * 43}).status_code == 403


def test_a_token_does_not_open_sign_in_to_a_banned_address() -> None:
    """Otherwise anyone with an account would go on guessing the passwords of others."""
    me, session = Api(alice()), session_of(bob())
    fail(100)

    for path in ("auth/login/", "auth/request-otp/", "auth/signup/", "auth/verify-otp/", "auth/token/refresh/"):
        body = {"username": "bob", "password": PASSWORD, "email": "bob@example.org", "code": "1", "refresh": "dlr_x"}
        assert post(path, body, headers=me.headers).json()["code"] == "address_banned", path
    genuine = {"username": refresh_token_of(session), "password": PASSWORD}
    assert post("auth/login/", genuine).json()["code"] == "address_banned"
    assert come("/admin/login/", headers=me.headers).status_code == 403


def test_a_banned_stranger_costs_no_query_with_any_credentials() -> None:
    expired = expired_token(alice())
    fail(100)

    with CaptureQueriesContext(connection) as statements:
        for headers in ({}, FORGED, {"Authorization": f"Bearer {expired}"}, {"Authorization": "Basic eA=="}):
            assert come(headers=headers).status_code == 403
        for body in ({"refresh": "dlr_" + "a" * 43}, {"refresh": "x" * 2000}, {}):
            assert post("auth/token/refresh/", body).status_code == 403
    assert len(statements) == 0


def test_an_admins_ban_refuses_valid_tokens() -> None:
    me, admin = Api(alice()), Api(adam())
    fail(100)
    watch.run_once()

    assert admin.post("bans/", {"network": THEIRS}).status_code == 201
    watch.run_once()

    assert come(headers=me.headers).status_code == 403
    refresh = post("auth/token/refresh/", {"refresh": refresh_token_of(session_of(me.user))})
    assert refresh.json()["code"] == "address_banned"
    admin.delete(f"bans/{Ban.objects.get(automatic=False).id}/")
    watch.run_once()
    assert come(headers=me.headers).status_code == 200
    assert come().status_code == 403


def expired_token(user: Any) -> str:
    return mint_access(user.id, session_of(user).id, clock.now() - timedelta(hours=1))


def wrong_password() -> Any:
    return post("auth/login/", {"username": "nobody", "password": "wrong"})


def wrong_password_on_the_admins_page() -> Any:
    return Client().post("/admin/login/?next=/admin/", {"username": "adam", "password": "wrong"}, REMOTE_ADDR=THEIRS)


ATTACKS = {
    "unknown access token": lambda: come(headers=FORGED),
    "unknown refresh token": lambda: post("auth/token/refresh/", {"refresh": "dlr_" + "a" * 43}),
    "wrong password": wrong_password,
    "wrong password on the admin's page": wrong_password_on_the_admins_page,
    "wrong code": lambda: post("auth/verify-otp/", {"email": "nobody@example.org", "code": "000000"}),
    "wrong code to reset": lambda: post("auth/verify-reset-otp/", {"email": "nobody@example.org", "code": "000000"}),
    "forged link": lambda: post("auth/verify-email/", {"token": "dlc_" + "a" * 48}),
    "forged reset token": lambda: post(
        "auth/reset-password/", {"reset_token": "dlc_" + "a" * 48, "new_password": "a wholly new secret"}
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_each_kind_of_guess_counts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "REFUSALS", Rate(3, 600))
    for _ in range(2):
        ATTACKS[name]()
    assert come("/").status_code == 200

    ATTACKS[name]()

    assert come("/").status_code == 403


@pytest.mark.parametrize("name", ["unknown access token", "wrong password", "wrong password on the admin's page"])
def test_guesses_beyond_a_limit_count_too(name: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "REFUSALS", Rate(5, 600))
    settings.RATE_LIMITS = {"login": Rate(1, 600), "user": None, "anonymous": Rate(1, 600)}

    for _ in range(5):
        ATTACKS[name]()

    assert come("/").status_code == 403


def ended_session() -> Any:
    session = session_of(person("carol"))
    token = mint_access(session.user_id, session.id, clock.now())
    type(session).objects.update(ended_at=clock.now())
    return lambda: come(headers={"Authorization": f"Bearer {token}"})


def refresh_of_an_ended_session() -> Any:
    session = session_of(person("carol"))
    token = refresh_token_of(session)
    type(session).objects.update(ended_at=clock.now())
    return lambda: post("auth/token/refresh/", {"refresh": token})


def refresh_of_a_session_that_is_gone() -> Any:
    token = new_refresh()
    return lambda: post("auth/token/refresh/", {"refresh": token})


def expired_access() -> Any:
    token = expired_token(person("carol"))
    return lambda: come(headers={"Authorization": f"Bearer {token}"})


def sign_up_where_there_is_none() -> Any:
    body = {"username": "newcomer", "email": "newcomer@example.org", "password": PASSWORD}
    return lambda: post("auth/signup/", body)


MISTAKES = {
    "no token": lambda: come,
    "expired access token": expired_access,
    "access token of an ended session": ended_session,
    "refresh token of an ended session": refresh_of_an_ended_session,
    "refresh token of a session that is gone": refresh_of_a_session_that_is_gone,
    "sign-up where there is none": sign_up_where_there_is_none,
}


@pytest.mark.parametrize("limited", [False, True], ids=["", "beyond the limit"])
@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_of_a_client_bans_nobody(
    name: str, limited: bool, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "REFUSALS", Rate(3, 600))
    settings.SIGNUP_ENABLED = False
    rate = Rate(2, 600) if limited else None
    settings.RATE_LIMITS = {"login": None, "user": rate, "anonymous": rate}
    mistake = MISTAKES[name]()

    codes = [mistake().status_code for _ in range(6)]

    assert codes[:2] in ([401, 401], [403, 403])
    assert codes[-1] == (429 if limited else codes[0])
    assert come("/").status_code == 200


def test_an_office_refreshes_within_one_minute(settings: Any) -> None:
    settings.RATE_LIMITS = {"login": None, "user": Rate(50, 60), "anonymous": Rate(10, 60)}
    tokens = [refresh_token_of(session_of(person(f"member{number}"))) for number in range(14)]

    assert [post("auth/token/refresh/", {"refresh": token}).status_code for token in tokens] == [200] * 14


def test_expired_tokens_of_an_office_use_nobody_elses_limit(settings: Any) -> None:
    settings.RATE_LIMITS = {"login": None, "user": Rate(50, 60), "anonymous": Rate(10, 60)}
    expired = [expired_token(person(f"member{number}")) for number in range(14)]

    codes = [come(headers={"Authorization": f"Bearer {token}"}).status_code for token in expired]

    assert codes == [401] * 14


def test_a_session_that_refreshes_continuously_is_limited(settings: Any) -> None:
    settings.RATE_LIMITS = {"login": None, "user": Rate(3, 60), "anonymous": None}
    token, codes = refresh_token_of(session_of(alice())), []

    for _ in range(4):
        answer = post("auth/token/refresh/", {"refresh": token})
        codes.append(answer.status_code)
        token = answer.json().get("refresh", token)

    assert codes == [200, 200, 200, 429]


def test_one_refresh_token_repeated_costs_few_queries(settings: Any) -> None:
    settings.RATE_LIMITS = {"login": None, "user": Rate(3, 60), "anonymous": None}
    token = new_refresh()
    for _ in range(4):
        post("auth/token/refresh/", {"refresh": token})

    with CaptureQueriesContext(connection) as statements:
        assert post("auth/token/refresh/", {"refresh": token}).status_code == 429
    assert len(statements) == 0


def test_what_a_signed_in_user_is_refused_does_not_count(settings: Any) -> None:
    me = Api(alice())
    settings.RATE_LIMITS = {"login": None, "user": Rate(150, 600), "anonymous": None}
    codes = [come(f"{V1}users/", headers=me.headers).status_code for _ in range(300)]
    assert codes == [403] * 150 + [429] * 150
    assert come("/").status_code == 200


def test_other_refusals_do_not_count() -> None:
    for _ in range(101):
        assert come(f"{V1}nowhere/").status_code == 404
    assert (
        Client().post(f"{V1}auth/login/", "{", content_type="application/json", REMOTE_ADDR=THEIRS).status_code == 400
    )
    assert come("/").status_code == 200


def test_slow_refusals_do_not_lead_to_a_ban(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a window of no time at all, none is ever in it with another."""
    assert (rules.REFUSALS.limit, rules.REFUSALS.seconds) == (100, 600)
    monkeypatch.setattr(rules, "REFUSALS", Rate(2, 0))
    assert fail(5) == {401}
    assert come("/").status_code == 200


def test_an_ipv6_address_is_banned_with_its_64() -> None:
    for number in range(100):
        fail(1, address=f"2001:db8:1:2::{number:x}")
    watch.run_once()
    assert Ban.objects.get().network == "2001:db8:1:2::/64"
    assert come(address="2001:db8:1:2:ffff::1").status_code == 403
    assert come(address="2001:db8:1:3::1").status_code == 401


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "::1", "10.1.2.3", "172.16.9.9", "192.168.1.1", "169.254.1.1", "100.64.0.1"),
        *("fd00::1", "fe80::1", "::ffff:10.0.0.1", ""),
    ],
)
def test_private_addresses_are_never_banned_automatically(address: str) -> None:
    assert fail(150, address) == {401}
    watch.run_once()
    assert not Ban.objects.exists()


def test_a_trusted_proxy_is_never_banned_automatically(settings: Any) -> None:
    settings.TRUSTED_PROXIES = [ipaddress.ip_network("198.51.100.0/24")]
    assert fail(150) == {401}
    for _ in range(100):
        come(headers={**FORGED, "X-Forwarded-For": "203.0.113.9"})
    watch.run_once()
    assert Ban.objects.get().network == "203.0.113.9/32"
    assert come().status_code == 401


def test_a_forged_header_does_not_ban_another_address() -> None:
    for _ in range(100):
        come(headers={**FORGED, "X-Forwarded-For": "203.0.113.9"})
    assert come("/", "203.0.113.9").status_code == 200
    assert come("/").status_code == 403


def test_bans_within_a_week_double_up_to_a_day() -> None:
    lengths = []
    with time_machine.travel(datetime(2030, 1, 1, tzinfo=UTC), tick=False) as clock_hand:
        for _ in range(7):
            assert fail(99) == {401}
            assert come("/").status_code == 200
            fail(1)
            watch.run_once()
            ban = Ban.objects.latest("created_at")
            assert ban.until is not None
            lengths.append((ban.until - ban.created_at) / timedelta(hours=1))
            clock_hand.move_to(ban.until - timedelta(seconds=1))
            assert come("/").status_code == 403
            clock_hand.move_to(ban.until)
            assert come("/").status_code == 200
        clock_hand.shift(timedelta(days=8))
        fail(100)
        watch.run_once()
    assert lengths == [1, 2, 4, 8, 16, 24, 24]
    ban = Ban.objects.latest("created_at")
    assert ban.until is not None
    assert ban.until - ban.created_at == timedelta(hours=1)


def test_lifted_bans_do_not_lengthen_the_next_one() -> None:
    fail(100)
    watch.run_once()
    Api(adam()).delete(f"bans/{Ban.objects.get().id}/")
    watch.run_once()
    assert fail(99) == {401}
    assert come("/").status_code == 200
    fail(1)
    watch.run_once()
    ban = Ban.objects.latest("created_at")
    assert ban.until is not None
    assert ban.until - ban.created_at == timedelta(hours=1)


def test_two_processes_that_ban_one_network_write_one_row() -> None:
    """The second finds the ban of the first, and takes over its end."""
    fail(100)
    until = clock.now() + timedelta(hours=3)
    Ban.objects.create(
        id="0198c3a0-0000-7000-8000-000000000000",
        network="198.51.100.7/32",
        until=until,
        created_at=clock.now(),
        automatic=True,
    )
    watch.run_once()
    assert Ban.objects.count() == 1


def test_the_count_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    from duely.guard.stores import Memory

    monkeypatch.setattr(bans, "_refusals", Memory(max_keys=2))
    for address in ("203.0.113.1", "203.0.113.2", "203.0.113.3"):
        fail(99, address)
    assert fail(1, "203.0.113.1") == {401}
    assert come("/", "203.0.113.1").status_code == 200
    monkeypatch.setattr(bans, "MAX_PENDING_BANS", 1)
    for address in ("198.51.100.1", "198.51.100.2"):
        fail(100, address)
        assert come("/", address).status_code == 403
    watch.run_once()
    assert Ban.objects.count() == 1
