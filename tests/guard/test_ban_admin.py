"""Bans on the admin's pages: seen, made and lifted, through the same actions as in the API."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client

from cast import V1, Api, adam, alice
from duely.activity.models import Change
from duely.core.clock import now
from duely.core.ids import new_id
from duely.guard.models import Ban

pytestmark = pytest.mark.django_db

PAGE = "/admin/guard/ban/"


@pytest.fixture
def browser() -> Client:
    made = Client()
    made.force_login(adam(), backend="duely.accounts.backends.AdminBackend")
    return made


def old_ban(network: str = "203.0.113.9/32", **columns: Any) -> Ban:
    columns.setdefault("automatic", True)
    return Ban.objects.create(id=new_id(), network=network, created_at=now(), **columns)


def test_the_list_shows_bans_and_finds_them(browser: Client) -> None:
    old_ban(reason="Spam from the cellar")
    old_ban("198.51.100.0/24", lifted_at=now())
    page = browser.get(PAGE).content.decode()
    assert "203.0.113.9/32" in page
    assert "198.51.100.0/24" in page
    for query in ("?q=203.0.113", "?q=cellar", "?automatic__exact=1"):
        assert "203.0.113.9/32" in browser.get(PAGE + query).content.decode()
    assert "203.0.113.9/32" not in browser.get(f"{PAGE}?q=192.0.2").content.decode()


def test_the_page_creates_the_same_ban_as_the_api(browser: Client) -> None:
    assert browser.get(f"{PAGE}add/").status_code == 200
    form = {"network": " 203.0.113.0/24 ", "reason": "Spam", "until": "2099-01-31 09:00"}
    answer = browser.post(f"{PAGE}add/", form, follow=True)
    assert answer.redirect_chain == [(PAGE, 302)]
    assert "203.0.113.0/24 is banned." in answer.content.decode()
    made = Ban.objects.get()
    assert (made.network, made.reason, made.until) == ("203.0.113.0/24", "Spam", datetime(2099, 1, 31, 9, tzinfo=UTC))
    entry = Change.objects.get(action="security.ip_banned")
    assert (entry.actor_name, entry.actor_id, made.created_by, entry.ip) == (
        "adam",
        made.created_by,
        entry.actor_id,
        "127.0.0.1",
    )


@pytest.mark.parametrize(
    "form, words",
    [
        ({}, "This field is required."),
        ({"network": "spam"}, "Use an address or a network"),
        ({"network": "203.0.113.1/24"}, "has bits set after its prefix"),
        ({"network": "127.0.0.1"}, "Your own address is 127.0.0.1"),
        ({"network": "::1"}, "own address, which always has access"),
        ({"network": "8.0.0.0/7"}, "Ban at most a /8 at once."),
        ({"network": "8.8.8.8", "until": "2020-01-01 00:00"}, "Use a time in the future"),
        ({"network": "8.8.8.8", "until": "soon"}, "Enter a valid date/time."),
        ({"network": "8.8.8.8", "reason": "a\nb"}, "Remove the control characters."),
        ({"network": "8.8.8.8", "reason": "x" * 256}, "at most 255 characters"),
        ({"network": "203.0.113.9"}, "Change or lift the existing ban."),
    ],
)
def test_the_page_shows_the_refusals_of_the_api(form: dict[str, str], words: str, browser: Client) -> None:
    old_ban(automatic=False)
    answer = browser.post(f"{PAGE}add/", form)
    assert answer.status_code == 200
    assert words in answer.content.decode()
    assert Ban.objects.count() == 1
    assert not Change.objects.exists()


def test_bans_are_lifted_through_the_action(browser: Client) -> None:
    active, over = old_ban(), old_ban("198.51.100.0/24", until=datetime(2026, 1, 1, tzinfo=UTC))
    form = {"action": "lift", "_selected_action": [str(active.pk), str(over.pk)]}
    answer = browser.post(PAGE, form, follow=True)
    assert "203.0.113.9/32: lifted." in answer.content.decode()
    active.refresh_from_db()
    assert active.lifted_at is not None
    assert [entry.target_label for entry in Change.objects.filter(action="security.ban_lifted")] == ["203.0.113.9/32"]


def test_the_form_needs_its_token_and_an_admin(browser: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(Api(adam_again()).user, backend="duely.accounts.backends.AdminBackend")
    assert strict.post(f"{PAGE}add/", {"network": "203.0.113.9"}).status_code == 403
    member = Client()
    member.force_login(alice())
    assert member.post(f"{PAGE}add/", {"network": "203.0.113.9"}).status_code == 302
    assert not Ban.objects.exists()


def adam_again() -> Any:
    from duely.accounts.models import User

    return User.objects.get(username="adam")


def test_rows_can_be_neither_edited_nor_removed(browser: Client) -> None:
    ban = old_ban()
    assert browser.get(f"{PAGE}{ban.pk}/change/").status_code == 200
    assert browser.post(f"{PAGE}{ban.pk}/change/", {"network": "8.8.8.8"}).status_code == 403
    assert browser.post(f"{PAGE}{ban.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Ban.objects.get().network == "203.0.113.9/32"


def test_the_page_has_no_inline_script(browser: Client) -> None:
    for path in (PAGE, f"{PAGE}add/"):
        page = browser.get(path).content.decode()
        for script in page.split("<script")[1:]:
            tag, _, _ = script.partition(">")
            assert "src=" in tag or 'type="application/json"' in tag, (path, tag)
    assert browser.get(f"{V1}bans/").status_code == 401
