"""What leaves for a real server, and what is said when it does not."""

import io
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from duely.mail import transport
from duely.mail.messages import Mail
from duely.mail.rules import Security, Server, one_line
from duely.mail.transport import PermanentFailure, TemporaryFailure, Unconfirmed, check, send
from smtp_server import Drop, DropInText, Fault, SmtpServer, Stall, Step, Trickle

StartServer = Callable[..., SmtpServer]

TEXT = "Pay the rent ☕\n.\n..\nFrom here\n" + "x" * 2000 + "\n"
HTML = "<p>Pay the rent ☕</p>\n.\n"
UNSUBSCRIBE = "https://tasks.example.org/unsubscribe/" + "t" * 200
HEADERS = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version", "Content-Type"]


def mail(to: str = "bob@example.org", subject: str = "Pay the rent ☕", unsubscribe_url: str | None = None) -> Mail:
    return Mail("reminder", to, subject, TEXT, HTML, "reminder.1", unsubscribe_url)


def test_a_mail_arrives_with_both_parts_and_automatic_headers(settings: Settings, start_server: StartServer) -> None:
    settings.MAIL_DOMAIN = "tasks.example.org"
    settings.DEFAULT_FROM_EMAIL = "Düely <duely@tasks.example.org>"
    server = start_server()
    send(mail(unsubscribe_url=UNSUBSCRIBE))
    [received] = server.received
    assert (received.sender, received.recipients) == ("duely@tasks.example.org", ["bob@example.org"])
    assert received.content.isascii()
    assert max(map(len, received.content.splitlines())) < 998
    message = received.message
    assert sorted(message.keys()) == sorted([*HEADERS, "List-Unsubscribe", "List-Unsubscribe-Post"])
    assert message["From"] == "Düely <duely@tasks.example.org>"
    assert message["To"] == "bob@example.org"
    assert message["Subject"] == "Pay the rent ☕"
    assert message["Message-ID"] == "<reminder.1@tasks.example.org>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime.tzinfo is not None
    assert f"\r\nList-Unsubscribe: <{UNSUBSCRIBE}>\r\n".encode() in received.content
    assert b"\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n" in received.content
    assert message.get_content_type() == "multipart/alternative"
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert received.part("plain").replace("\r\n", "\n") == TEXT
    assert received.part("html").replace("\r\n", "\n") == HTML


def test_a_mail_without_subscription_has_no_unsubscribe_header(start_server: StartServer) -> None:
    server = start_server()
    send(mail())
    assert sorted(server.received[0].message.keys()) == sorted(HEADERS)


@pytest.fixture(scope="module")
def one_server() -> Iterator[SmtpServer]:
    with SmtpServer() as server:
        yield server


@pytest.mark.slow
@given(
    title=st.text(st.characters(exclude_categories=()), max_size=300) | st.from_regex(r"[\r\n\x0b\x85]?Bcc: [a-z]+@x")
)
@example(title="0" * 49 + " ¡")
@example(title="=?utf-8?q?Bcc:?= " + "a" * 120)
@example(title="😀" * 145)
@example(title="=?utf-8?q?a=0d=0aBcc:_eve@example.org?=")
@example(title="=?utf-8?b?YQ0KQmNjOiBldmVAZXhhbXBsZS5vcmc=?=")
@examples(deadline=None, max_examples=150)
def test_no_title_adds_or_removes_a_header(one_server: SmtpServer, title: str) -> None:
    subject = one_line(f"Due: {title}")
    one_server.received.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.conf.settings.MAIL_SERVER", Server("127.0.0.1", one_server.port, Security.NONE))
        send(mail(subject=subject, unsubscribe_url=UNSUBSCRIBE))
    [received] = one_server.received
    assert received.recipients == ["bob@example.org"]
    message = received.message
    assert sorted(message.keys()) == sorted([*HEADERS, "List-Unsubscribe", "List-Unsubscribe-Post"])
    assert message["Subject"] == subject
    assert received.part("plain").replace("\r\n", "\n") == TEXT


@pytest.mark.parametrize("subject", ["a\nBcc: eve@example.org", "a\r\n\r\n<p>", "a\rb"])
def test_a_subject_with_line_breaks_is_refused(start_server: StartServer, subject: str) -> None:
    server = start_server()
    with pytest.raises(ValueError, match="Header values"):
        send(mail(subject=subject))
    assert server.connections == 0


@pytest.mark.parametrize(
    "to",
    [
        "",
        "bob",
        "@example.org",
        "bob@",
        "a@b, c@d",
        "bob@example.org\r\nBcc: eve@example.org",
        "<bob@x> NOTIFY=1",
        "a@b..c",
        "bob@[a\r\nBcc: x]",
        "=?utf-8?q?a=0d=0aBcc?=@example.org",
        "пётр eve@example.org",
    ],
)
def test_nothing_is_sent_to_an_invalid_address(start_server: StartServer, to: str) -> None:
    server = start_server()
    with pytest.raises(PermanentFailure, match="not an e-mail address"):
        send(mail(to=to))
    assert server.connections == 0


# Encryption


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
@pytest.mark.usefixtures("trusted")
def test_a_mail_goes_encrypted_and_signed_in(start_server: StartServer, security: Security) -> None:
    server = start_server(security, "mailer", "hunter2", accounts={"mailer": "hunter2"})
    check()
    send(mail())
    [received] = server.received
    assert received.encrypted
    assert received.user == "mailer"


@pytest.mark.usefixtures("trusted")
def test_without_starttls_neither_mail_nor_password_is_sent(start_server: StartServer) -> None:
    server = start_server(Security.STARTTLS, "mailer", "hunter2", accounts={"mailer": "hunter2"}, starttls=False)
    for use in (lambda: send(mail()), check):
        with pytest.raises(TemporaryFailure, match="offers no STARTTLS"):
            use()
    assert not server.received
    assert {"AUTH", "MAIL"}.isdisjoint(server.commands)


@pytest.mark.usefixtures("trusted")
def test_a_refused_starttls_sends_nothing(start_server: StartServer) -> None:
    server = start_server(Security.STARTTLS, faults={Step.STARTTLS: "454 4.7.0 Not now"})
    with pytest.raises(TemporaryFailure, match=r"454 4\.7\.0 Not now"):
        send(mail())
    assert "MAIL" not in server.commands


@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
def test_an_untrusted_certificate_is_refused(start_server: StartServer, security: Security) -> None:
    server = start_server(security, "mailer", "hunter2", accounts={"mailer": "hunter2"})
    for use in (lambda: send(mail()), check):
        with pytest.raises(TemporaryFailure, match=r"certificate is not valid: self.signed"):
            use()
    assert {"AUTH", "MAIL"}.isdisjoint(server.commands)


@pytest.mark.slow
@pytest.mark.parametrize("security", [Security.STARTTLS, Security.TLS])
@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_name_is_refused(
    settings: Settings, start_server: StartServer, security: Security
) -> None:
    server = start_server(security)
    # The same machine by a name that the certificate lacks.
    settings.MAIL_SERVER = Server("127.1", server.port, security)
    with pytest.raises(TemporaryFailure, match="certificate is not valid"):
        send(mail())
    assert "MAIL" not in server.commands


@pytest.mark.usefixtures("trusted")
def test_tls_to_a_server_without_tls_fails(start_server: StartServer) -> None:
    start_server(Security.TLS, tls=False)
    with pytest.raises(TemporaryFailure):
        send(mail())


# Signing in


def test_a_wrong_password_is_a_temporary_failure_and_not_shown(start_server: StartServer) -> None:
    server = start_server(Security.NONE, "mailer", "hunter2", accounts={"mailer": "other"})
    for use in (lambda: send(mail()), check):
        with pytest.raises(TemporaryFailure) as failure:
            use()
        assert str(failure.value) == "The mail server refused the user name or the password of EMAIL_URL: 535"
    assert not server.received


@pytest.mark.parametrize("challenge", ["334 !", "334 /w=="])
def test_an_invalid_challenge_is_a_temporary_failure(start_server: StartServer, challenge: str) -> None:
    start_server(Security.NONE, "mailer", "hunter2", faults={Step.AUTH: challenge})
    with pytest.raises(TemporaryFailure) as failure:
        send(mail())
    assert "hunter2" not in str(failure.value)


def test_a_missing_password_is_a_temporary_failure(start_server: StartServer) -> None:
    start_server(accounts={"mailer": "hunter2"})
    with pytest.raises(TemporaryFailure, match="refused the sender: 530"):
        send(mail())


# Refusals


@pytest.mark.parametrize(
    "step, answer, kind",
    [
        (Step.CONNECT, "421 4.3.2 Closing", TemporaryFailure),
        (Step.CONNECT, "554 5.3.2 No service", TemporaryFailure),
        (Step.EHLO, "421 4.3.2 Closing", TemporaryFailure),
        (Step.EHLO, "421-4.3.2 Closing\r\n421 now", TemporaryFailure),
        (Step.MAIL, "421 4.3.2 Closing", TemporaryFailure),
        (Step.MAIL, "450 4.2.1 Busy", TemporaryFailure),
        (Step.MAIL, "550 5.7.1 Not your address", TemporaryFailure),
        (Step.MAIL, "552 5.3.4 Too large", PermanentFailure),
        (Step.RCPT, "421 4.3.2 Closing", TemporaryFailure),
        (Step.RCPT, "450 4.2.0 Greylisted", TemporaryFailure),
        (Step.RCPT, "452 4.2.2 Mail box full", TemporaryFailure),
        (Step.RCPT, "530 5.7.0 Sign in first", TemporaryFailure),
        (Step.RCPT, "550 5.1.1 No such user", PermanentFailure),
        (Step.RCPT, "553 5.1.3 Bad address", PermanentFailure),
        (Step.DATA, "421 4.3.2 Closing", TemporaryFailure),
        (Step.DATA, "450 4.2.0 Later", TemporaryFailure),
        (Step.DATA, "554 5.5.1 No valid recipients", PermanentFailure),
        (Step.DATA, "hello", TemporaryFailure),
        (Step.MESSAGE, "421 4.3.2 Closing", TemporaryFailure),
        (Step.MESSAGE, "450 4.7.1 Later", TemporaryFailure),
        (Step.MESSAGE, "552 5.3.4 Too large", PermanentFailure),
        (Step.MESSAGE, "554 5.7.1 Rejected as spam", PermanentFailure),
    ],
)
def test_a_refusal_is_permanent_or_temporary(
    start_server: StartServer, step: Step, answer: str, kind: type[Exception]
) -> None:
    server = start_server(faults={step: answer})
    with pytest.raises(kind) as failure:
        send(mail())
    assert type(failure.value) is kind
    assert answer[:3] in str(failure.value) or answer == "hello"
    assert not server.received
    server.faults.clear()
    send(mail())
    assert len(server.received) == 1


def test_the_text_of_a_refusal_has_no_address(start_server: StartServer) -> None:
    start_server(faults={Step.RCPT: "550-5.1.1 <bob@example.org>\r\n550 is not eve@example.org " + "x" * 400})
    with pytest.raises(PermanentFailure) as failure:
        send(mail())
    said = str(failure.value)
    assert said.startswith("The mail server refused the recipient: 550 5.1.1 <…> is not … xxx")
    assert len(said) < 250
    assert len(said.splitlines()) == 1


def test_a_server_without_ehlo_gets_helo(start_server: StartServer) -> None:
    server = start_server(faults={Step.EHLO: "502 5.5.1 What?"})
    send(mail())
    assert len(server.received) == 1


# Addresses outside ASCII


def test_a_name_beyond_ascii_uses_smtputf8(start_server: StartServer) -> None:
    server = start_server(smtputf8=True)
    send(mail(to="пётр@пример.example", unsubscribe_url=UNSUBSCRIBE))
    [received] = server.received
    assert received.recipients == ["пётр@xn--e1afmkfd.example"]
    assert received.options == ["SMTPUTF8", "BODY=8BITMIME"]
    assert "To: пётр@xn--e1afmkfd.example\r\n".encode() in received.content
    assert received.message["Subject"] == "Pay the rent ☕"
    assert received.part("plain").replace("\r\n", "\n") == TEXT


def test_without_smtputf8_a_name_beyond_ascii_is_refused(start_server: StartServer) -> None:
    server = start_server(smtputf8=False)
    with pytest.raises(PermanentFailure, match="SMTPUTF8"):
        send(mail(to="пётр@example.org"))
    assert "MAIL" not in server.commands


def test_a_domain_beyond_ascii_is_sent_in_ascii(start_server: StartServer) -> None:
    server = start_server(smtputf8=False)
    send(mail(to="bob@bücher.example"))
    assert server.received[0].recipients == ["bob@xn--bcher-kva.example"]


# A server or a network that fails


def test_a_server_that_is_down_and_comes_back(start_server: StartServer) -> None:
    server = start_server()
    server.stop()
    for use in (lambda: send(mail()), check):
        with pytest.raises(TemporaryFailure, match="refused the connection"):
            use()
    server.start()
    send(mail())
    assert len(server.received) == 1


def test_an_unknown_host_is_a_temporary_failure(settings: Settings) -> None:
    settings.MAIL_SERVER = Server("mail.invalid", 25, Security.NONE)
    with pytest.raises(TemporaryFailure, match="name was not found"):
        send(mail())


@pytest.mark.parametrize("step", [Step.CONNECT, Step.EHLO, Step.MAIL, Step.RCPT, Step.DATA])
def test_a_connection_lost_before_the_mail_is_temporary(start_server: StartServer, step: Step) -> None:
    server = start_server(faults={step: Drop()})
    with pytest.raises(TemporaryFailure) as failure:
        send(mail())
    assert type(failure.value) is TemporaryFailure
    assert not server.received


def test_a_connection_lost_within_a_mail_sends_nothing(start_server: StartServer) -> None:
    server = start_server(faults={Step.DATA: DropInText()})
    long = Mail("reminder", "bob@example.org", "Long", TEXT * 3_000, HTML, "reminder.1")
    with pytest.raises(TemporaryFailure) as failure:
        send(long)
    assert type(failure.value) is TemporaryFailure
    assert not server.received


@pytest.mark.parametrize("fault", [Drop(), Stall(30), Trickle(0.05), "hello", "100 Thinking"])
@pytest.mark.usefixtures("short_limits")
def test_a_mail_without_an_answer_is_unconfirmed(start_server: StartServer, fault: Fault) -> None:
    server = start_server(faults={Step.MESSAGE: fault})
    with pytest.raises(Unconfirmed, match="handed over"):
        send(mail())
    assert len(server.received) == (0 if isinstance(fault, str) else 1)


@pytest.mark.parametrize("fault", [Stall(30), Trickle(0.05)])
@pytest.mark.parametrize("step", [Step.CONNECT, Step.EHLO, Step.STARTTLS, Step.AUTH, Step.MAIL, Step.RCPT, Step.DATA])
@pytest.mark.usefixtures("short_limits", "trusted")
def test_a_step_has_a_deadline(start_server: StartServer, step: Step, fault: Fault) -> None:
    start_server(Security.STARTTLS, "mailer", "hunter2", accounts={"mailer": "hunter2"}, faults={step: fault})
    started = time.monotonic()
    with pytest.raises(TemporaryFailure, match="did not answer in time"):
        send(mail())
    assert time.monotonic() - started < 2


def test_the_whole_session_has_a_deadline(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "TOTAL_SECONDS", 0.4)
    start_server(faults={step: Stall(0.15) for step in Step})
    started = time.monotonic()
    with pytest.raises(TemporaryFailure, match="did not answer in time"):
        send(mail())
    assert 0.3 < time.monotonic() - started < 2


@pytest.mark.usefixtures("short_limits")
def test_the_tls_handshake_has_a_deadline(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings.MAIL_SERVER = Server("127.0.0.1", silent.getsockname()[1], Security.TLS)
        with pytest.raises(TemporaryFailure, match="did not answer in time"):
            send(mail())


@pytest.mark.usefixtures("short_limits")
def test_sending_has_a_deadline(settings: Settings) -> None:
    def answer_and_stop_reading() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"220 Hello\r\n" + b"250 Good\r\n" * 3 + b"354 Go on\r\n")
            done.wait(10)

    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=answer_and_stop_reading)
        thread.start()
        settings.MAIL_SERVER = Server("127.0.0.1", listener.getsockname()[1], Security.NONE)
        with pytest.raises(TemporaryFailure, match="did not answer in time") as failure:
            send(Mail("reminder", "bob@example.org", "Long", TEXT * 3_000, HTML, "reminder.1"))
        done.set()
        thread.join()
    assert type(failure.value) is TemporaryFailure


def test_answers_have_a_size_limit(start_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_ANSWERS_BYTES", 10_000)
    start_server(faults={Step.EHLO: "250-x\r\n" * 5_000 + "250 x"})
    with pytest.raises(TemporaryFailure, match="closed the connection"):
        send(mail())


@pytest.mark.parametrize("fault", [Drop(), Stall(30), Trickle(0.05), "421 Closing", "500 What?"])
@pytest.mark.usefixtures("short_limits")
def test_faults_after_an_accepted_mail_are_ignored(start_server: StartServer, fault: Fault) -> None:
    server = start_server(faults={Step.QUIT: fault})
    started = time.monotonic()
    send(mail())
    assert time.monotonic() - started < 2
    assert len(server.received) == 1


def test_a_connection_ends_with_quit(start_server: StartServer) -> None:
    server = start_server()
    send(mail())
    assert server.commands == ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"]


# Checking


def test_checking_signs_in_and_sends_nothing(start_server: StartServer) -> None:
    server = start_server(Security.NONE, "mailer", "hunter2", accounts={"mailer": "hunter2"})
    check()
    assert server.commands == ["EHLO", "AUTH", "NOOP", "QUIT"]
    server.faults[Step.NOOP] = "421 4.3.2 Closing"
    with pytest.raises(TemporaryFailure, match="not ready: 421"):
        check()


# On the console


def test_without_a_server_only_the_text_is_printed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    settings.MAIL_SERVER = None
    check()
    assert capsys.readouterr().out == ""
    send(mail())
    frame = "-" * 72
    assert capsys.readouterr().out == (
        f"{frame}\nFrom: {settings.DEFAULT_FROM_EMAIL}\nTo: bob@example.org\nSubject: Pay the rent ☕\n\n{TEXT}{frame}\n"
    )


def test_an_invalid_mail_is_not_printed(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    settings.MAIL_SERVER = None
    with pytest.raises(PermanentFailure):
        send(mail(to="bob"))
    assert capsys.readouterr().out == ""


def test_a_mail_is_printed_on_an_ascii_terminal(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.MAIL_SERVER = None
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, encoding="ascii"))
    send(mail())
    assert b"Pay the rent ?\n" in written.getvalue()


def test_mails_of_several_threads_are_printed_separately(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.MAIL_SERVER = None
    threads = [threading.Thread(target=send, args=[mail()]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    printed = capsys.readouterr().out
    assert len(re.findall(r"^-{72}\nFrom: .*\nTo: .*\nSubject: .*\n\n", printed, re.MULTILINE)) == 8
    assert printed == printed[: len(printed) // 8] * 8
