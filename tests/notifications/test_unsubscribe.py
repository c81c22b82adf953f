"""The link that ends mails of one kind."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client

from cast import Api, adam, log_of, reader
from duely.accounts.models import User
from duely.core.clock import now, rfc3339
from duely.notifications import links
from duely.notifications.rules import Kind
from notifications.helpers import remind
from smtp_server import SmtpServer

pytestmark = pytest.mark.django_db

ONE_CLICK = {"data": "List-Unsubscribe=One-Click", "content_type": "application/x-www-form-urlencoded"}


def test_a_mail_program_can_unsubscribe_with_one_click(
    mailbox: SmtpServer, work: Callable[[datetime], None], settings: Any
) -> None:
    user = reader("alice")
    due = now() + timedelta(hours=1)
    Api(user).post("tasks/", {"title": "Rent", "due_date": rfc3339(due), "reminders": ["-PT30M"]})
    remind(due)
    work(due)
    (mail,) = mailbox.received
    assert mail.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = re.sub(r"\s", "", mail.message["List-Unsubscribe"]).strip("<>")
    assert link.startswith(settings.PUBLIC_URL)
    assert link in mail.part("plain")
    # Neither cookies nor a session, as RFC 8058 asks, and no CSRF token.
    answer = Client(enforce_csrf_checks=True).post(link.removeprefix(settings.PUBLIC_URL), **ONE_CLICK)
    assert answer.status_code == 200
    assert not answer.cookies
    assert User.objects.get(pk=user.pk).reminder_emails is False
    assert log_of(user)[-1] == ("user.profile_updated", {"reminder_emails": [True, False]})


def test_get_does_not_unsubscribe() -> None:
    user = reader("alice")
    for method in ("get", "head"):
        answer = getattr(Client(), method)(links.path(Kind.REMINDER, user.pk))
        assert answer.status_code == 200
    assert User.objects.get(pk=user.pk).reminder_emails is True
    page = Client().get(links.path(Kind.REMINDER, user.pk)).content.decode()
    assert "Stop reminders by e-mail to alice@example.org?" in page
    assert '<form method="post">' in page


def test_the_digest_ends_and_reminders_stay() -> None:
    user = reader("alice")
    Api(user).patch("profile/", {"digest_hour": 7})
    for _ in range(2):
        page = Client().post(links.path(Kind.DIGEST, user.pk), **ONE_CLICK)
        assert "no more daily digests" in page.content.decode()
    changed = User.objects.get(pk=user.pk)
    assert (changed.digest_hour, changed.reminder_emails) == (None, True)
    assert [action for action, _ in log_of(user)].count("user.profile_updated") == 2


@pytest.mark.parametrize("method", ["get", "post"])
def test_an_unknown_link_is_404(method: str) -> None:
    user = reader("alice")
    good = links.path(Kind.REMINDER, user.pk)
    signature = good.rstrip("/").rpartition(":")[2]
    for bad in (
        good.replace("reminder.", "digest."),
        good.replace(str(user.pk), str(adam().pk)),
        good.replace(signature, signature[:-4] + "AAAA"),
        "/unsubscribe/reminder/",
        f"/unsubscribe/reminder.{user.pk}/",
        "/unsubscribe/%00/",
    ):
        assert getattr(Client(), method)(bad).status_code == 404, bad
    assert User.objects.get(pk=user.pk).reminder_emails is True


def test_the_link_works_after_the_key_has_changed(settings: Any) -> None:
    user = reader("alice")
    link = links.path(Kind.REMINDER, user.pk)
    settings.SECRET_KEY_FALLBACKS = [settings.SECRET_KEY]
    settings.SECRET_KEY = "another-key-of-the-operator-with-enough-characters"
    assert Client().post(link, **ONE_CLICK).status_code == 200


def test_the_link_of_a_deactivated_user_is_404() -> None:
    user = reader("alice")
    link = links.path(Kind.REMINDER, user.pk)
    User.objects.filter(pk=user.pk).update(is_active=False)
    assert Client().post(link, **ONE_CLICK).status_code == 404


def test_other_methods_are_refused() -> None:
    assert Client().put(links.path(Kind.REMINDER, reader("alice").pk)).status_code == 405
