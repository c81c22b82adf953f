"""Guesses at passwords: how many there may be for one account, and that the owner is not kept out by them."""

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from cast import PASSWORD, V1, Api, adam, alice, bob, log_of, new_code, new_token, person
from duely.accounts import actions, password_checks
from duely.accounts.models import KnownAddress
from duely.accounts.rules import MAX_ADDRESSES
from duely.activity.models import Change
from duely.core import clock
from duely.guard import limits
from duely.guard.models import Hit
from duely.guard.rules import Rate
from duely.guard.watch import watch

pytestmark = pytest.mark.django_db

HOME, NEW = "198.51.100.7", "a wholly new secret"


@pytest.fixture(autouse=True)
def only_limits_per_account(settings: Any) -> Iterator[None]:
    """The limit per address is far away, and nobody has guessed yet."""
    settings.RATE_LIMITS = {"otp": None, "anonymous": None, "user": None, "login": Rate(100_000, 60)}
    limits.reset()
    yield
    limits.reset()


def sign_in(password: str, address: str = HOME, login: str = "alice") -> Any:
    body = {"username": login, "password": password}
    return Client().post(f"{V1}auth/login/", body, content_type="application/json", REMOTE_ADDR=address)


def statuses(number: int, address: Callable[[int], str], login: str = "alice") -> Counter[int]:
    return Counter(sign_in(f"guess {n}", address(n), login).status_code for n in range(number))


def scattered(number: int) -> str:
    """An address in another /24 each time."""
    return f"203.0.{number}.1"


def in_one_network(number: int) -> str:
    """Another /64 of one /48 each time."""
    return f"2001:db8:1:{number:x}::1"


# How many


def test_five_wrong_passwords_a_minute_from_one_address() -> None:
    alice()

    answers = [sign_in("wrong") for _ in range(8)]

    assert [answer.status_code for answer in answers] == [401] * 5 + [429] * 3
    assert 50 <= int(answers[-1]["Retry-After"]) <= 60
    assert "Too many wrong passwords" in answers[-1].json()["detail"]
    assert sign_in("wrong", login="bob").status_code == 401


def test_ten_an_hour_from_one_network() -> None:
    alice()

    assert statuses(60, in_one_network) == {401: 10, 429: 50}


def test_twenty_an_hour_from_all_strangers() -> None:
    alice()

    assert statuses(60, scattered) == {401: 20, 429: 40}


@pytest.mark.slow
def test_the_hours_pass() -> None:
    alice()
    with time_machine.travel(clock.now(), tick=True):
        statuses(30, scattered)
    Hit.objects.update(at=clock.now() - timedelta(minutes=61))
    limits.reset()

    assert statuses(30, scattered) == {401: 20, 429: 10}


@pytest.mark.parametrize("address", [in_one_network, scattered], ids=["one network", "many networks"])
def test_a_name_that_nobody_has_is_limited_alike(address: Callable[[int], str]) -> None:
    """Otherwise the limit tells who has an account."""
    alice()

    assert statuses(30, address, "alice") == statuses(30, address, "nobody")


@pytest.mark.parametrize("login", ["ALICE", " alice ", "\uff41lice"])
def test_every_spelling_of_a_name_counts_together(login: str) -> None:
    alice()
    statuses(30, scattered)

    assert sign_in("wrong", "192.0.2.1", login).status_code == 429


def test_a_refused_guess_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    alice()
    statuses(25, scattered)
    monkeypatch.setattr(password_checks.django.contrib.auth.hashers, "check_password", None)

    assert sign_in(PASSWORD, "192.0.2.1").status_code == 429


def test_right_passwords_do_not_count() -> None:
    alice()

    assert {sign_in(PASSWORD).status_code for _ in range(30)} == {200}


def test_a_right_password_gives_no_guesses_back() -> None:
    alice()
    for _ in range(5):
        sign_in("wrong")
    assert sign_in(PASSWORD, "192.0.2.1").status_code == 200

    assert sign_in("wrong").status_code == 429


def test_without_a_limit_of_sign_ins_there_is_none(settings: Any) -> None:
    alice()
    settings.RATE_LIMITS = {**settings.RATE_LIMITS, "login": None}

    assert statuses(30, lambda _: HOME) == {401: 30}


def test_a_refused_guess_at_a_full_account_is_on_record_once() -> None:
    user = alice()
    statuses(30, scattered)
    watch.run_once()

    entries = [changes for action, changes in log_of(user) if action == "security.rate_limited"]
    assert entries == [{"scope": [None, "login"], "limit": [None, 20], "seconds": [None, 3600]}]


# The owner gets in


def test_an_attacker_of_one_network_does_not_keep_the_owner_out() -> None:
    alice()
    statuses(60, in_one_network)

    assert sign_in(PASSWORD, "2001:db8:2::1").status_code == 200


def test_an_attacker_of_many_networks_does_not_keep_the_owner_out() -> None:
    alice()
    assert sign_in(PASSWORD, HOME).status_code == 200
    statuses(60, scattered)
    assert sign_in(PASSWORD, "192.0.2.1").status_code == 429

    for _ in range(3):
        assert sign_in(PASSWORD, HOME).status_code == 200
        assert sign_in("wrong", scattered(99)).status_code == 429


def test_the_owner_may_mistype_during_an_attack() -> None:
    alice()
    sign_in(PASSWORD, HOME)
    statuses(60, scattered)

    assert [sign_in("wrong", HOME).status_code for _ in range(5)] == [401] * 5
    assert sign_in(PASSWORD, HOME).status_code == 429  # within one minute


def test_a_known_address_has_twenty_an_hour_of_its_own() -> None:
    alice()
    sign_in(PASSWORD, HOME)
    statuses(60, scattered)

    codes: Counter[int] = Counter()
    for _ in range(6):
        codes.update(sign_in("wrong", HOME).status_code for _ in range(5))
        Hit.objects.filter(at__gt=clock.now() - timedelta(minutes=2)).update(at=clock.now() - timedelta(minutes=3))
        limits.reset()
    assert codes == {401: 20, 429: 10}


def test_a_code_by_mail_makes_an_address_known() -> None:
    user = alice()
    statuses(60, scattered)
    assert sign_in(PASSWORD, HOME).status_code == 429

    body = {"email": user.email, "code": new_code(user.email)}
    answer = Client().post(f"{V1}auth/verify-otp/", body, content_type="application/json", REMOTE_ADDR=HOME)
    assert answer.status_code == 200
    type(user).objects.update(password=user.password)  # the code proved the address, which ended the password

    assert sign_in(PASSWORD, HOME).status_code == 200


def test_an_address_is_known_to_its_own_account_alone() -> None:
    alice(), bob()
    sign_in(PASSWORD, HOME, "bob")
    statuses(60, scattered)

    assert sign_in(PASSWORD, HOME).status_code == 429


def test_a_forgotten_password_is_set_during_an_attack() -> None:
    user = person("alice", email_verified=True)
    statuses(60, scattered)

    body = {"reset_token": new_token(user, "reset_token"), "new_password": NEW}
    assert Api().post("auth/reset-password/", body).status_code == 200


def test_the_addresses_of_a_user_are_bounded_and_forgotten() -> None:
    user, now = alice(), clock.now()
    for number in range(MAX_ADDRESSES + 5):
        with time_machine.travel(now + timedelta(seconds=number)):
            sign_in(PASSWORD, f"2001:db8:1:{number:x}::1")
    known = KnownAddress.objects.filter(user=user)
    assert actions.purge_sessions(now=now) == 5
    assert known.count() == MAX_ADDRESSES
    assert not known.filter(network="2001:db8:1:4::/64").exists()
    assert known.filter(network="2001:db8:1:5::/64").exists()

    assert actions.purge_sessions(now=now + timedelta(days=91)) >= MAX_ADDRESSES
    assert not known.exists()


# Every place that looks at a password


def change_password(api: Api, guess: str) -> Any:
    return api.post("auth/change-password/", {"current_password": guess, "new_password": NEW})


def change_email(api: Api, guess: str) -> Any:
    return api.post("auth/change-email/", {"email": "new@example.org", "current_password": guess})


FORMS = pytest.mark.parametrize("form", [change_password, change_email])


@FORMS
@pytest.mark.parametrize("key", [None, "key"], ids=["", "with a key"])
def test_a_stolen_session_guesses_five_times_a_minute(form: Callable[[Api, str], Any], key: str | None) -> None:
    thief = Api(alice())
    codes = []
    for number in range(8):
        if key:
            thief.headers["Idempotency-Key"] = f"{key}-{number}"
        codes.append(form(thief, f"guess {number}").status_code)

    assert codes == [400] * 5 + [429] * 3
    assert len(log_of(thief.user)) == 5


@FORMS
def test_a_stolen_session_does_not_keep_the_owner_out(form: Callable[[Api, str], Any]) -> None:
    user = alice()
    thief, owner = Api(user), Api(user)
    for number in range(30):
        form(thief, f"guess {number}")
        Hit.objects.update(at=clock.now() - timedelta(minutes=3))
        limits.reset()
    assert Change.objects.filter(owner_id=user.id).count() == 10

    assert form(owner, PASSWORD).status_code in (200, 204)


def test_the_admins_page_counts_guesses_at_an_account() -> None:
    adam()

    def guess(password: str, address: str) -> Any:
        return Client().post("/admin/login/", {"username": "adam", "password": password}, REMOTE_ADDR=address)

    pages = [guess("wrong", HOME).content.decode() for _ in range(6)]
    assert ["Too many wrong passwords" in page for page in pages] == [False] * 5 + [True]
    assert sign_in("wrong", HOME, "adam").status_code == 429
    for number in range(30):
        guess("wrong", scattered(number))
    assert "Too many wrong passwords" in guess(PASSWORD, "192.0.2.1").content.decode()


def test_an_admin_signs_in_to_the_pages_during_an_attack() -> None:
    adam()
    form = {"username": "adam", "password": PASSWORD}
    assert Client().post("/admin/login/", form, REMOTE_ADDR=HOME).status_code == 302
    statuses(60, scattered, "adam")

    assert Client().post("/admin/login/", form, REMOTE_ADDR=HOME).status_code == 302


def test_the_admins_page_to_change_a_password_counts_guesses() -> None:
    user = adam()
    browser = Client()
    browser.post("/admin/login/", {"username": "adam", "password": PASSWORD})

    def change(old: str) -> Any:
        form = {"old_password": old, "new_password1": NEW, "new_password2": NEW}
        return browser.post("/admin/password_change/", form)

    pages = [change(f"guess {number}").content.decode() for number in range(7)]
    assert ["Too many wrong passwords" in page for page in pages] == [False] * 5 + [True] * 2
    failures = [action for action, _ in log_of(user) if action == "auth.password_change_failed"]
    assert len(failures) == 5


def test_a_refused_guess_is_cheap() -> None:
    alice()
    statuses(25, scattered)

    with CaptureQueriesContext(connection) as statements:
        assert sign_in("wrong", "192.0.2.1").status_code == 429
    # The limit of the address, the user, and whether the address is known.
    assert len(statements) <= 8
