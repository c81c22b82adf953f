"""The admin's pages."""

from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from cast import PASSWORD, Api, adam, alice, log_of, person, session_of
from duely.accounts.models import Session, User
from duely.activity.actions import SYSTEM_LOG
from duely.activity.models import Change
from duely.mail import limits
from duely.mail.rules import Allowance

pytestmark = pytest.mark.django_db


def log_in(name: str, password: str = PASSWORD) -> Client:
    client = Client()
    client.post("/admin/login/?next=/admin/", {"username": name, "password": password})
    return client


def is_in(client: Client) -> bool:
    return client.get("/admin/").status_code == 200


@pytest.mark.parametrize("name", ["adam", "ADAM", "adam@example.org"])
def test_admins_get_in_and_that_is_recorded(name: str) -> None:
    user = adam()
    assert is_in(log_in(name))
    assert log_of(user) == [("auth.login_succeeded", {"method": [None, "password"]})]


def test_nobody_else_gets_in_and_that_is_recorded() -> None:
    user, inactive, admin = alice(), person("former", role="admin", is_active=False), adam()
    assert not is_in(log_in("alice"))
    assert not is_in(log_in("former"))
    assert not is_in(log_in("adam", "wrong-password"))
    assert not is_in(log_in("nobody"))
    for owner in (user, inactive, admin):
        assert log_of(owner) == [("auth.login_failed", {"method": [None, "password"]})]
    assert Change.objects.filter(owner_id=SYSTEM_LOG, action="auth.login_failed").count() == 1


@pytest.mark.parametrize("columns", [{"is_active": False}, {"role": "member"}])
def test_who_is_no_admin_any_more_is_out_at_once(columns: dict[str, Any]) -> None:
    adam()
    client = log_in("adam")
    assert is_in(client)
    User.objects.update(**columns)
    assert not is_in(client)


def test_signing_out_everywhere_ends_the_pages_too() -> None:
    user = adam()
    client = log_in("adam")
    Api(user).post("auth/logout-all/")
    assert not is_in(client)


def test_a_new_password_ends_the_pages_too() -> None:
    user = adam()
    client = log_in("adam")
    Api(user).post("auth/change-password/", {"current_password": PASSWORD, "new_password": "another-fine-password"})
    assert not is_in(client)


def test_the_pages_survive_a_change_of_the_secret_key(settings: Any) -> None:
    adam()
    client = log_in("adam")
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another key, made for the rotation of keys 4711"
    assert is_in(client)


def test_every_page_opens() -> None:
    user = adam()
    session = session_of(user)
    client = log_in("adam")
    for path in (
        "user/",
        "user/?q=ad",
        "user/?role__exact=admin",
        f"user/{user.pk}/change/",
        "session/",
        "session/?q=ad",
        f"session/{session.pk}/change/",
    ):
        response = client.get(f"/admin/accounts/{path}")
        assert response.status_code == 200, path
        assert user.password.encode() not in response.content
    for path in ("user/add/", f"user/{user.pk}/delete/", f"session/{session.pk}/delete/"):
        assert client.get(f"/admin/accounts/{path}").status_code == 403


def act(client: Client, model: str, action: str, *rows: Any) -> Any:
    form = {"action": action, "_selected_action": [str(row.pk) for row in rows]}
    return client.post(f"/admin/accounts/{model}/", form, follow=True)


@pytest.mark.parametrize(
    "action, columns, entry",
    [
        ("make_admin", {"role": "admin"}, ("user.role_changed", {"role": ["member", "admin"]})),
        ("make_intern", {"role": "intern"}, ("user.role_changed", {"role": ["member", "intern"]})),
        ("deactivate", {"is_active": False}, ("user.deactivated", {"is_active": [True, False]})),
    ],
)
def test_users_change_through_the_same_actions(action: str, columns: dict[str, Any], entry: Any) -> None:
    admin, user = adam(), alice()
    act(log_in("adam"), "user", action, user)
    assert User.objects.filter(pk=user.pk, **columns).exists()
    assert log_of(user) == [entry]
    assert Change.objects.get(owner_id=user.id).actor_id == admin.id


def test_users_come_back_as_they_were() -> None:
    adam()
    user = person("ina", role="intern", is_active=False)
    client = log_in("adam")
    act(client, "user", "reactivate", user)
    act(client, "user", "make_member", user)
    user.refresh_from_db()
    assert (user.role, user.is_active) == ("member", True)


def test_the_last_admin_stays_and_the_page_says_why() -> None:
    user = adam()
    response = act(log_in("adam"), "user", "deactivate", user)
    user.refresh_from_db()
    assert user.is_active
    assert b"last active admin" in response.content


def test_a_session_ends_through_the_same_action() -> None:
    adam()
    api = Api(alice())
    act(log_in("adam"), "session", "end", Session.objects.get(user=api.user))
    assert api.get("users/me/").status_code == 401
    assert [action for action, _ in log_of(api.user)] == ["auth.session_ended"]


def change_password(client: Client, old: str, new: str, again: str | None = None) -> Any:
    form = {"old_password": old, "new_password1": new, "new_password2": again or new}
    return client.post("/admin/password_change/", form)


def test_a_password_changes_as_in_the_api() -> None:
    user = adam()
    api = Api(user)
    client, other = log_in("adam"), log_in("adam")
    new = "another-fine-password"
    assert change_password(client, PASSWORD, new).status_code == 302
    assert is_in(client)
    assert not is_in(other)
    assert api.get("users/me/").status_code == 401
    assert is_in(log_in("adam", new))
    assert ("auth.password_changed", {}) in log_of(user)


@pytest.mark.parametrize(
    "old, new, again",
    [
        ("wrong-password", "another-fine-password", None),
        (PASSWORD, PASSWORD, None),
        (PASSWORD, "short", None),
        (PASSWORD, "another-fine-password", "another-fine-passwort"),
    ],
)
def test_a_bad_change_of_password_is_refused(old: str, new: str, again: str | None) -> None:
    user = adam()
    client = log_in("adam")
    response = change_password(client, old, new, again)
    assert response.status_code == 200
    assert b"errorlist" in response.content
    assert User.objects.get(pk=user.pk).password == user.password


def test_groups_are_not_shown() -> None:
    adam()
    assert b"Groups" not in log_in("adam").get("/admin/").content


def test_the_api_takes_no_cookies() -> None:
    adam()
    client = log_in("adam")
    assert client.get("/api/v1/users/me/").status_code == 401


def test_what_is_no_sign_in_is_refused(rf: Any) -> None:
    from django.contrib.auth.models import AnonymousUser

    from duely.accounts.backends import AdminBackend, admin_actor

    request = rf.get("/admin/")
    assert AdminBackend().authenticate(request) is None
    assert AdminBackend().authenticate(None, username="adam", password=PASSWORD) is None
    request.user = AnonymousUser()
    with pytest.raises(TypeError):
        admin_actor(request)


def test_no_row_shows_a_token() -> None:
    from duely.accounts.models import RefreshToken

    row = RefreshToken(token_hash="a" * 64)
    assert "a" * 8 not in str(row)


def test_an_admin_ends_all_sessions_of_a_user() -> None:
    user = person("alice")
    sessions = [Api(user) for _ in range(2)]
    adam()
    log_in("adam").post("/admin/accounts/user/", {"action": "sign_out", "_selected_action": [str(user.id)]})
    assert [api.get("users/me/").status_code for api in sessions] == [401, 401]
    ((action, changes),) = log_of(user)
    assert (action, changes) == ("auth.logged_out_everywhere", {"sessions": [2, 0]})


@pytest.mark.parametrize(
    "elsewhere",
    [
        *("//evil.example", "https://evil.example", "///evil.example", "http:evil.example", "/\\evil.example"),
        *("\\\\evil.example", "https:/evil.example", "javascript:alert(1)", " //evil.example", "\t//evil.example"),
        *(
            "//127.0.0.1@evil.example",
            "http://testserver@evil.example",
            "//evil.example/%2f..",
            "/%09/evil.example\n//e",
        ),
        *("ftp://testserver/", "http://testserver.evil.example", "//evil%E3%80%82example", "https:///evil.example"),
    ],
)
def test_signing_in_leads_to_no_other_site(elsewhere: str) -> None:
    person("adam", role="admin")
    browser = Client()
    form = {"username": "adam", "password": PASSWORD, "next": elsewhere}
    answer = browser.post("/admin/login/?" + urlencode({"next": elsewhere}), form)
    assert answer.status_code == 302
    place = urlsplit(answer.headers["Location"])
    assert (place.scheme, place.netloc) == ("", "")
    assert not answer.headers["Location"].startswith(("//", "/\\", "\\"))


# What lists may be filtered by

LISTS = {model._meta.label_lower.replace(".", "/"): found for model, found in admin.site._registry.items()}
LOOKUPS = ["", "__exact", "__startswith", "__regex", "__iregex", "__gt", "__in", "__isnull", "__year"]


def filters_of(name: str) -> set[str]:
    """The parameters of the links beside a list."""
    names = list(LISTS[name].list_filter)
    return {f"{name}{ending}" for name in names for ending in ("", "__exact", "__isnull")}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_is_filtered_by_what_stands_beside_it_alone(name: str) -> None:
    """Anything else would tell what is in a column letter by letter, or run for minutes."""
    adam()
    client = log_in("adam")
    columns = [field.name for field in LISTS[name].model._meta.get_fields() if field.concrete]
    allowed = filters_of(name)
    for column in columns:
        for lookup in LOOKUPS:
            parameter = f"{column}{lookup}"
            status = client.get(f"/admin/{name}/", {parameter: "1"}).status_code
            assert (status == 400) == (parameter not in allowed), (parameter, status)


@pytest.mark.parametrize(
    "query",
    ["user__password__startswith=a", "user__username_key__regex=(a%2B)%2B$", "pk__gt=1", "password=a", "_to_field=x"],
)
def test_no_list_looks_into_passwords_or_other_tables(query: str) -> None:
    adam()
    client = log_in("adam")
    for name in ("accounts/session", "accounts/user"):
        assert client.get(f"/admin/{name}/?{query}").status_code == 400


NONSENSE = ["\x00", "\ufdd0", "x" * 5000, "-1", "99999999999999999999", "0000-00-00", "10000-01-01", "(a+)+$", "é"]


@pytest.mark.slow
@pytest.mark.parametrize("name", LISTS)
def test_nonsense_in_a_list_is_no_fault_of_ours(name: str) -> None:
    adam()
    client = log_in("adam")
    for value in NONSENSE:
        for parameter in ("q", "o", "p", "all", "e", *sorted(filters_of(name))):
            answer = client.get(f"/admin/{name}/", {parameter: value})
            assert answer.status_code in (200, 302, 400, 404), (parameter, value)
        for page in ("change", "delete", "history"):
            path = f"/admin/{name}/{quote(value, safe='')}/{page}/"
            assert client.get(path).status_code in (200, 302, 400, 403, 404), path
        form = {"action": "end", "_selected_action": [value], "index": value}
        assert client.post(f"/admin/{name}/", form).status_code in (200, 302, 400, 403), value


@pytest.mark.parametrize("value", ["\x00", "\ufdd0", "x" * 100_000, "0000-00-00", "10000-01-01 00:00", "é"])
def test_nonsense_in_a_form_is_no_fault_of_ours(value: str) -> None:
    adam()
    client = log_in("adam")
    ban = {"network": value, "reason": value, "until": value}
    assert client.post("/admin/guard/ban/add/", ban).status_code in (200, 400)
    assert change_password(client, value, value).status_code in (200, 400)
    assert Client().post("/admin/login/", {"username": value, "password": value}).status_code in (200, 400)
    assert Client().get("/admin/login/", {"next": value}).status_code in (200, 400)


@pytest.mark.parametrize("path", ["r/1/1/", "r/x/y/", "nope/", "accounts/nope/"])
def test_a_page_that_is_not_there_is_404(path: str) -> None:
    adam()
    assert log_in("adam").get(f"/admin/{path}").status_code == 404


# Who is named in the log


def users_in_log(caplog: pytest.LogCaptureFixture) -> list[str | None]:
    return [record.msg["user"] for record in caplog.records if record.name == "duely.request"]


def test_the_log_names_the_admin_of_each_request(caplog: pytest.LogCaptureFixture) -> None:
    user = adam()
    with caplog.at_level("INFO", "duely.request"):
        client = log_in("adam")
        client.get("/admin/")
        client.get("/admin/accounts/user/")
        Client().get("/admin/login/")
    assert users_in_log(caplog) == [str(user.id)] * 3 + [None]


def test_a_page_for_everyone_asks_nobody_who_they_are() -> None:
    adam()
    client = log_in("adam")
    with CaptureQueriesContext(connection) as statements:
        assert client.get("/").status_code == 200
    assert len(statements) == 0


# An admin whose address is not verified


def test_an_unverified_admin_is_told_how_to_get_in(
    settings: Any, mailbox: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.REQUIRE_EMAIL_VERIFICATION = True
    monkeypatch.setattr(limits, "REQUESTER_SHARES", {**limits.REQUESTER_SHARES, Allowance.LINKS: 3})
    person("adam", role="admin", email_verified=False)

    for _ in range(5):
        page = Client().post("/admin/login/", {"username": "adam", "password": PASSWORD})
        assert page.status_code == 200
        assert "Follow the link in the e-mail" in page.content.decode()
        answer = Api().post("auth/login/", {"username": "adam", "password": PASSWORD})
        assert (answer.status_code, answer.json()["code"]) == (403, "email_not_verified")
    wrong = Client().post("/admin/login/", {"username": "adam", "password": "wrong"})
    assert "Follow the link" not in wrong.content.decode()
