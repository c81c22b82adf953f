import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone, translation
from pytest_django.fixtures import Settings

from duely.mail.messages import Mail, compose, language_for

pytestmark = pytest.mark.usefixtures("templates")

DUE_AT = datetime(2026, 11, 21, 23, 30, tzinfo=UTC)


def note(**changes: Any) -> Mail:
    values: dict[str, Any] = {
        "to": "alice@example.org",
        "context": {"title": "Pay the rent", "due_at": DUE_AT},
        "locale": "en",
        "zone": "UTC",
        "message_id": "reminder.1",
    }
    return compose("note", **{**values, **changes})


def titled(title: str) -> Mail:
    return note(context={"title": title, "due_at": DUE_AT})


def test_a_mail_has_a_subject_a_text_and_html() -> None:
    mail = note()
    assert mail.subject == "Due: Pay the rent"
    assert mail.text == (
        "Pay the rent\n\nDue Nov. 21, 2026, 11:30 p.m.\n\nhttp://127.0.0.1:8000/tasks\n\n--\n"
        "You get this mail because you have an account at http://127.0.0.1:8000.\n"
    )
    assert "<title>Due: Pay the rent</title>" in mail.html
    assert "<p>Due Nov. 21, 2026, 11:30 p.m.</p>" in mail.html
    assert 'href="http://127.0.0.1:8000"' in mail.html


@pytest.mark.parametrize(
    "locale, zone, shown",
    [
        ("de", "Europe/Berlin", "22. November 2026 00:30"),
        ("de-LI", "Europe/Vaduz", "22. November 2026 00:30"),
        ("fr", "America/New_York", "21 novembre 2026 18:30"),
        ("pt-BR", "America/Sao_Paulo", "21 de Novembro de 2026 às 20:30"),
        ("en-GB", "Europe/London", "21 Nov 2026, 11:30 p.m."),
        ("en-US", "Asia/Tokyo", "Nov. 22, 2026, 8:30 a.m."),
        ("tlh", "Asia/Kathmandu", "Nov. 22, 2026, 5:15 a.m."),
    ],
)
def test_dates_are_in_the_readers_zone_and_format(locale: str, zone: str, shown: str) -> None:
    mail = note(locale=locale, zone=zone)
    assert f"Due {shown}\n" in mail.text
    assert f"<p>Due {shown}</p>" in mail.html


@pytest.mark.parametrize(
    "locale, language",
    [
        ("en", "en"),
        ("EN-us", "en"),
        ("en-GB", "en-gb"),
        ("de-1996", "de"),
        ("zh-TW", "zh-hant"),
        ("zh-Hant-HK", "zh-hant"),
        ("pt-br", "pt-br"),
        ("xx", "en"),
        ("x" * 35, "en"),
    ],
)
def test_the_nearest_language_is_used_or_english(locale: str, language: str) -> None:
    assert language_for(locale) == language


def test_a_german_mail_does_not_change_the_threads_language() -> None:
    note(locale="de", zone="Europe/Berlin")
    assert translation.get_language() == "en-us"
    assert timezone.get_current_timezone_name() == "UTC"


def test_mails_of_several_threads_do_not_mix_their_languages() -> None:
    wrong: list[str] = []

    def write(locale: str, month: str) -> None:
        wrong.extend(text for _ in range(30) if month not in (text := note(locale=locale).text))

    threads = [
        threading.Thread(target=write, args=case)
        for case in [("fr", " novembre "), ("en", "Nov."), ("pl", " listopada ")]
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_text_of_users_is_escaped_in_html_only() -> None:
    mail = titled("<img src=x onerror=\"alert(1)\"> & 'co'")
    assert mail.subject == "Due: <img src=x onerror=\"alert(1)\"> & 'co'"
    assert "<img src=x onerror=\"alert(1)\"> & 'co'\n" in mail.text
    assert "<img" not in mail.html
    assert mail.html.count("&lt;img src=x onerror=&quot;alert(1)&quot;&gt; &amp; &#x27;co&#x27;") == 2


def test_marks_that_reorder_text_are_removed() -> None:
    mail = titled("invoice\u202efdp.exe")
    for text in (mail.subject, mail.text, mail.html):
        assert "invoicefdp.exe" in text


def test_a_title_cannot_begin_a_new_line_of_the_subject() -> None:
    assert titled("a\r\nBcc: mallory@example.org").subject == "Due: a Bcc: mallory@example.org"
    assert len(titled("a" * 500).subject) == 150


def test_a_title_is_not_rendered_as_a_template() -> None:
    assert titled("{{ public_url }}{% now 'Y' %}").subject == "Due: {{ public_url }}{% now 'Y' %}"


def test_a_link_to_unsubscribe_is_in_text_and_html() -> None:
    url = "https://tasks.example.org/u/?a=1&b=2"
    mail = note(unsubscribe_url=url)
    assert mail.text.endswith(f".\nUnsubscribe: {url}\n")
    assert 'href="https://tasks.example.org/u/?a=1&amp;b=2">Unsubscribe</a>' in mail.html
    assert mail.unsubscribe_url == url
    assert "nsubscribe" not in note().text + note().html


def test_links_come_from_the_public_address(settings: Settings) -> None:
    settings.PUBLIC_URL = "https://tasks.example.org"
    mail = note()
    assert "https://tasks.example.org/tasks" in mail.text
    assert "127.0.0.1" not in mail.text + mail.html


@pytest.mark.parametrize("message_id", ["", "a b", "a@b", "a\r\nb", "a..b", ".a", "a>", "é"])
def test_an_invalid_message_id_is_refused(message_id: str) -> None:
    with pytest.raises(ValueError, match="message id"):
        note(message_id=message_id)


@pytest.mark.parametrize("url", ["", "/u/1", "javascript:1", "https://a/>,<b", "https://a/ b", "https://a/\r\nX: y"])
def test_an_invalid_link_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="unsubscribe"):
        note(unsubscribe_url=url)


def test_the_admin_is_in_english_for_every_browser(client: Client) -> None:
    answer = client.get("/admin/login/", headers={"accept-language": "de"}, cookies={"django_language": "de"})  # type: ignore[call-arg]
    assert "Log in" in answer.content.decode()
    assert "Anmelden" not in answer.content.decode()


@pytest.mark.django_db
def test_the_api_is_in_english_for_every_browser(client: Client) -> None:
    note(locale="de")
    answer = client.post(
        "/api/v1/auth/signup/",
        {"username": "alice", "email": "alice@example.org", "password": "1234567"},
        content_type="application/json",
        headers={"accept-language": "de"},
    )
    assert answer.status_code == 400
    assert "This password is too short." in answer.content.decode()
