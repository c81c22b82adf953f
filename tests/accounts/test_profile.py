"""One's own profile."""

from datetime import timedelta
from typing import Any

import pytest

from cast import Api, alice, bob, faults, iris, log_of, person
from duely.core.clock import now

pytestmark = pytest.mark.django_db
DEFAULTS = {
    "display_name": "",
    "time_zone": "UTC",
    "locale": "en",
    "bio": "",
    "reminder_emails": True,
    "digest_hour": None,
}
FULL = {
    "display_name": "Alice A.",
    "time_zone": "Europe/Berlin",
    "locale": "de-DE",
    "bio": "Two\nlines",
    "reminder_emails": False,
    "digest_hour": 0,
}


@pytest.mark.parametrize("who", [alice, iris])
def test_a_profile_is_there_with_the_account(who: Any) -> None:
    user = who()
    response = Api(user).get("profile/")
    assert response.status_code == 200
    profile = response.json()
    assert {name: profile[name] for name in DEFAULTS} == DEFAULTS
    assert (profile["username"], profile["email"], profile["role"]) == (user.username, user.email, user.role)
    read_only = {"username", "email", "email_verified", "role", "created_at", "mail_status", "mail_hint", "days_moving"}
    assert profile.keys() == {*DEFAULTS, *read_only}


@pytest.mark.parametrize(
    "columns, status, part",
    [
        ({"email_verified": False}, "unverified", "POST auth/resend-verification/"),
        ({"email_verified": True}, "on", ""),
        ({"email_verified": True, "mail_paused_until": now() + timedelta(hours=1)}, "limited", "00:00 UTC"),
        ({"email_verified": True, "mail_paused_until": now() - timedelta(hours=1)}, "on", ""),
    ],
)
def test_a_profile_says_why_no_mail_comes(columns: dict[str, Any], status: str, part: str) -> None:
    profile = Api(person("alice", **columns)).get("profile/").json()
    assert profile["mail_status"] == status
    assert part in profile["mail_hint"]
    assert bool(profile["mail_hint"]) == (status != "on")


def test_patch_changes_what_the_body_holds() -> None:
    api = Api(alice())
    response = api.patch("profile/", {"time_zone": "Europe/Berlin", "digest_hour": 7})
    assert response.status_code == 200
    assert response.json() == api.get("profile/").json()
    assert {name: response.json()[name] for name in DEFAULTS} == {
        **DEFAULTS,
        "time_zone": "Europe/Berlin",
        "digest_hour": 7,
    }
    assert log_of(api.user) == [
        ("user.profile_updated", {"time_zone": ["UTC", "Europe/Berlin"], "digest_hour": [None, 7]})
    ]


@pytest.mark.parametrize("body", [{}, {"bio": ""}, {"time_zone": "UTC", "digest_hour": None}])
def test_what_is_so_already_is_no_change(body: dict[str, Any]) -> None:
    api = Api(alice())
    assert api.patch("profile/", body).status_code == 200
    assert log_of(api.user) == []


def test_null_clears_what_can_be_empty_and_nothing_else() -> None:
    api = Api(person("alice", digest_hour=5))
    assert api.patch("profile/", {"digest_hour": None}).json()["digest_hour"] is None
    response = api.patch("profile/", dict.fromkeys(["display_name", "time_zone", "locale", "bio", "reminder_emails"]))
    assert response.status_code == 400
    assert set(faults(response)) == {"display_name", "time_zone", "locale", "bio", "reminder_emails"}


def test_put_replaces_and_missing_fields_take_their_defaults() -> None:
    api = Api(alice())
    full = api.put("profile/", FULL).json()
    assert {name: full[name] for name in FULL} == FULL
    bare = api.put("profile/", {"bio": "kept"}).json()
    assert {name: bare[name] for name in DEFAULTS} == {**DEFAULTS, "bio": "kept"}
    assert [action for action, _ in log_of(api.user)] == ["user.profile_updated"] * 2


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    "name",
    [
        *("username", "email", "email_verified", "role", "created_at", "id", "is_active", "password"),
        *("mail_status", "mail_hint", "mail_paused_until", "days_moving", "days_moving_since"),
    ],
)
def test_read_only_fields_cannot_be_sent(method: str, name: str) -> None:
    api = Api(alice())
    response = api.call(method, "profile/", {name: "admin"})
    assert response.status_code == 400
    assert faults(response) == {name: "unknown_field"}
    api.user.refresh_from_db()
    assert (api.user.role, api.user.is_active, api.user.email) == ("member", True, "alice@example.org")


def test_every_bad_field_is_named_at_once() -> None:
    body = {
        "display_name": "a\x07b",
        "time_zone": "Mars/Olympus",
        "locale": "english",
        "bio": "x" * 2001,
        "reminder_emails": "yes",
        "digest_hour": 24,
    }
    assert faults(Api(alice()).patch("profile/", body)) == {
        "display_name": "invalid_format",
        "time_zone": "invalid_time_zone",
        "locale": "invalid_locale",
        "bio": "too_long",
        "reminder_emails": "invalid_type",
        "digest_hour": "out_of_range",
    }


@pytest.mark.parametrize("hour", [-1, 24, 2**63, 1.5, "7", True])
def test_bad_hours_are_refused(hour: Any) -> None:
    assert Api(alice()).patch("profile/", {"digest_hour": hour}).status_code == 400


@pytest.mark.parametrize("name", ["display_name", "bio"])
def test_nul_is_refused(name: str) -> None:
    assert Api(alice()).patch("profile/", {name: "a\0b"}).status_code == 400


def test_a_name_is_trimmed_and_a_bio_is_not() -> None:
    profile = Api(alice()).patch("profile/", {"display_name": "  Alice  ", "bio": "  text\n"}).json()
    assert (profile["display_name"], profile["bio"]) == ("Alice", "  text\n")


def test_a_profile_changes_for_oneself_only() -> None:
    other = bob()
    Api(alice()).put("profile/", FULL)
    other.refresh_from_db()
    assert other.bio == ""


def test_one_must_be_signed_in() -> None:
    for method in ("GET", "PUT", "PATCH"):
        assert Api().call(method, "profile/", {}).status_code == 401


def test_statements_are_few(django_assert_num_queries: Any, django_assert_max_num_queries: Any) -> None:
    api = Api(alice())
    with django_assert_num_queries(2):
        api.get("profile/")
    with django_assert_max_num_queries(7):
        api.patch("profile/", {"bio": "x"})
