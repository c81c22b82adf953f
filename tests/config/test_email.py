import pytest
from django.core.checks import CheckMessage

from duely.config import checks, email
from duely.config.env import SettingError
from duely.mail.rules import Security, Server


@pytest.mark.parametrize("url", ["console:", "CONSOLE:", "console://"])
def test_the_console_is_no_server(url: str) -> None:
    assert email.from_url(url) is None


@pytest.mark.parametrize(
    "url, server",
    [
        ("smtp://mail.example.org", Server("mail.example.org", 25, Security.NONE)),
        ("smtp://localhost:1025/", Server("localhost", 1025, Security.NONE)),
        ("smtp+starttls://u:p@mail.example.org", Server("mail.example.org", 587, Security.STARTTLS, "u", "p")),
        ("SMTPS://u:p@MAIL.example.org", Server("mail.example.org", 465, Security.TLS, "u", "p")),
        ("smtps://a%40b.c:p%3A%2F%40ss%20%25@m:4650", Server("m", 4650, Security.TLS, "a@b.c", "p:/@ss %")),
        ("smtp://[2001:db8::7]:2525", Server("2001:db8::7", 2525, Security.NONE)),
        ("smtp://192.0.2.1", Server("192.0.2.1", 25, Security.NONE)),
        ("smtp://bücher.example", Server("xn--bcher-kva.example", 25, Security.NONE)),
        ("smtp://mail_relay", Server("mail_relay", 25, Security.NONE)),
    ],
)
def test_an_address_is_taken_apart_and_decoded(url: str, server: Server) -> None:
    assert email.from_url(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "hunter2",
        "smtp:hunter2",
        "console",
        "mailto://u:hunter2@mail.example.org",
        "smtp://",
        "smtp://u:hunter2@",
        "smtp://:25",
        "smtp://u@mail.example.org",
        "smtp://:hunter2@mail.example.org",
        "smtp://u:hunter2@mail.example.org:port",
        "smtp://u:hunter2@mail.example.org:0",
        "smtp://u:hunter2@mail.example.org:70000",
        "smtp://u:hunter2@mail.example.org/path",
        "smtp://u:hunter2@mail.example.org?tls=1",
        "smtp://u:hunter2#@mail.example.org",
        "smtp://u:hunter2/x@mail.example.org",
        "smtp://u:hunter2[x@mail.example.org",
        "smtp://u:hunter2@mail example.org",
        "smtp://u:hunter2@mail..example.org",
        "smtp://u:hunter2@mail.example.org%0d",
        "smtp://u:hunter2%0d%0aMAIL@mail.example.org",
        "smtp://u:hunter2ü@mail.example.org",
        "smtp://u:hunter2%00@mail.example.org",
    ],
)
def test_an_address_that_cannot_be_understood_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(SettingError) as refused:
        email.from_url(url)
    assert refused.value.name == "EMAIL_URL"
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    "host, domain",
    [
        ("tasks.example.org", "tasks.example.org"),
        ("TASKS.example.org.", "tasks.example.org"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("127.0.0.1", "localhost"),
        ("[::1]", "localhost"),
        ("192.0.2.1", "[192.0.2.1]"),
        ("[2001:db8::7]", "[IPv6:2001:db8::7]"),
        ("a..b", "localhost"),
    ],
)
def test_the_public_host_is_written_as_mails_want_it(host: str, domain: str) -> None:
    assert email.domain(host) == domain
    assert email.sender(f"Duely <duely@{domain}>") == f"Duely <duely@{domain}>"


@pytest.mark.parametrize(
    "text, sender",
    [
        ("duely@example.org", "duely@example.org"),
        ("Duely <duely@example.org>", "Duely <duely@example.org>"),
        ('"Tasks, and more" <duely@example.org>', '"Tasks, and more" <duely@example.org>'),
        ("Aufgaben für alle <duely@bücher.example>", "Aufgaben für alle <duely@xn--bcher-kva.example>"),
    ],
)
def test_a_sender_is_one_address_with_or_without_a_name(text: str, sender: str) -> None:
    assert email.sender(text) == sender
    assert email.sender(sender) == sender


@pytest.mark.parametrize(
    "text",
    [
        "Duely",
        "duely@",
        "@example.org",
        "a@example.org, b@example.org",
        "Duely <a@example.org> <b@example.org>",
        "a: b@example.org;",
        "Tasks, and more <duely@example.org>",
        "Duely <duely@example.org>\r\nBcc: eve@example.org",
        "Duely\x07 <duely@example.org>",
        "дюли@example.org",
        "duely@a..b",
        "duely@exa mple.org",
        "<>",
    ],
)
def test_a_sender_that_is_not_one_address_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="DEFAULT_FROM_EMAIL: must be one address"):
        email.sender(text)


def advice(url: str, settings: object) -> list[CheckMessage]:
    settings.MAIL_SERVER = email.from_url(url)  # type: ignore[attr-defined]
    return checks.check_mail_server()


def test_a_password_in_the_open_is_advised_against(settings: object) -> None:
    [found] = advice("smtp://u:hunter2@mail.example.org", settings)
    assert found.id == "duely.W004"
    assert "hunter2" not in f"{found.msg}{found.hint}"


@pytest.mark.parametrize(
    "url",
    [
        "console:",
        "smtp://relay",
        "smtp://u:p@localhost:1025",
        "smtp://u:p@127.0.0.1",
        "smtps://u:p@mail.example.org",
        "smtp+starttls://u:p@mail.example.org",
    ],
)
def test_a_password_that_nobody_can_overhear_is_fine(url: str, settings: object) -> None:
    assert not advice(url, settings)
