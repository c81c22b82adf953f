"""Sends mails by SMTP. Only jobs call it, because a mail server may be slow or away for hours (decision 0009)."""

import io
import re
import smtplib
import socket
import ssl
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.errors import MessageError
from email.header import Header
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, EmailPolicy, Policy
from typing import Any

from django.conf import settings

from duely.core.clock import now
from duely.mail.messages import Mail
from duely.mail.rules import Security, Server, without_addresses

STEP_SECONDS = 10.0
# Less than a job's lease: a worker that was suspended must not send a mail that another worker has sent since.
TOTAL_SECONDS = 25.0
QUIT_SECONDS = 1.0
MAX_ANSWERS_BYTES = 256 * 1024

_CHUNK_BYTES = 16 * 1024
# Codes that ask for a sign-in or for encryption (RFC 4954, RFC 3207). Only the operator can fix that, so the mail is
# tried again.
_CONFIGURATION_CODES = frozenset({530, 534, 535, 538})
_NAME_BEYOND_ASCII = re.compile(r"[^\s\x00-\x1f\x7f()<>\[\]:;@\\,\"]+")
_FRAME = "-" * 72


class MailFailure(Exception):
    """The mail was not sent, or it is unknown whether it was. The message has no secrets and no addresses."""


class PermanentFailure(MailFailure):
    """The server refuses this mail or this recipient permanently."""


class TemporaryFailure(MailFailure):
    """The mail was not sent and should be tried again. Wrong settings count as temporary, so that no mail is lost."""


class Unconfirmed(TemporaryFailure):
    """The connection ended after the whole mail and before the server's answer. Another attempt may send it twice."""


def send(mail: Mail) -> None:
    """Send a mail to the server of EMAIL_URL, or print it if that is `console:`.

    Takes at most STEP_SECONDS for a step and TOTAL_SECONDS in total, plus the lookup of the server's name.
    Raises PermanentFailure, TemporaryFailure or Unconfirmed.
    """
    server: Server | None = settings.MAIL_SERVER
    message = _message(mail)
    if server is None:
        _print(mail, message)
        return
    with _conversation(server) as client:
        _deliver(client, message)


def check() -> None:
    """Connect and sign in to the server of EMAIL_URL without sending a mail. Raises TemporaryFailure."""
    server: Server | None = settings.MAIL_SERVER
    if server is None:
        return
    with _conversation(server) as client:
        code, answer = client.noop()
        if code != 250:
            raise TemporaryFailure(_sentence("The mail server is not ready", code, answer))


class _Verbatim(UnstructuredHeader, BaseHeader):
    """A header that is never folded. The standard library would encode a long link, which mail programs ignore."""

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        """Use the value unchanged. The standard library would decode encoded words, even into line breaks."""
        super().parse(value, kwds)
        kwds["decoded"] = value

    def fold(self, *, policy: "Policy[Any]") -> str:
        return f"{self.name}: {self}{policy.linesep}"


class _Subject(_Verbatim):
    """A subject that arrives unchanged. Folding by the standard library loses and adds spaces."""

    def fold(self, *, policy: "Policy[Any]") -> str:
        text = str(self)
        if not text.isascii() or "=?" in text:
            text = Header(text, "utf-8", header_name=self.name).encode(linesep=policy.linesep)
        return f"{self.name}: {text}{policy.linesep}"


def _policy(*, utf8: bool) -> "EmailPolicy[EmailMessage]":
    registry = HeaderRegistry()
    registry.map_to_type("list-unsubscribe", _Verbatim)
    registry.map_to_type("subject", _Subject)
    return SMTP.clone(header_factory=registry, max_line_length=76, cte_type="7bit", utf8=utf8)


def _message(mail: Mail) -> EmailMessage:
    """The mail in MIME, made by the standard library, because Django's classes cannot write SMTPUTF8 addresses."""
    recipient = _address(mail.to)
    message = EmailMessage(_policy(utf8=not recipient.username.isascii()))
    message["From"] = settings.DEFAULT_FROM_EMAIL
    message["To"] = recipient
    message["Subject"] = mail.subject
    message["Date"] = now()
    message["Message-ID"] = f"<{mail.message_id}@{settings.MAIL_DOMAIN}>"
    message["Auto-Submitted"] = "auto-generated"
    if mail.unsubscribe_url is not None:
        message["List-Unsubscribe"] = f"<{mail.unsubscribe_url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.set_content(mail.text, cte="quoted-printable")
    message.add_alternative(mail.html, subtype="html", cte="quoted-printable")
    return message


def _address(text: str) -> Address:
    """The recipient with the domain in ASCII (IDNA). The local part may have other characters (RFC 6531)."""
    name, _, domain = text.rpartition("@")
    try:
        if not domain.startswith("["):
            domain = domain.encode("idna").decode("ascii")
        if name.isascii():
            return Address(addr_spec=f"{name}@{domain}")
        if _NAME_BEYOND_ASCII.fullmatch(name) and domain:
            return Address(username=name, domain=domain)
    except (ValueError, IndexError, MessageError):
        pass
    raise PermanentFailure("The recipient's address is not an e-mail address.")


def _print(mail: Mail, message: EmailMessage) -> None:
    headers = "".join(f"{name}: {message[name]}\n" for name in ("From", "To", "Subject"))
    text = f"{_FRAME}\n{headers}\n{mail.text}{_FRAME}\n"
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def _deliver(client: "_Client", message: EmailMessage) -> None:
    sender, recipient = (message[name].addresses[0].addr_spec for name in ("From", "To"))
    utf8 = not recipient.isascii()
    if utf8 and not client.has_extn("smtputf8"):
        raise PermanentFailure("The mail server takes addresses in ASCII alone (it lacks SMTPUTF8).")
    content = re.sub(rb"(?m)^\.", b"..", message.as_bytes())
    code, answer = client.mail(sender, ["SMTPUTF8", "BODY=8BITMIME"] if utf8 else [])
    if code != 250:
        # 552 is about the size of this mail. All other codes are about our own address, which the operator can fix.
        failure = PermanentFailure if code == 552 else TemporaryFailure
        raise failure(_sentence("The mail server refused the sender", code, answer))
    _expect({250, 251, 252}, "The mail server refused the recipient", *client.rcpt(recipient))
    _expect({354}, "The mail server refused the mail", *client.docmd("DATA"))
    # A server ignores a mail without its end (RFC 5321, section 4.1.1.4). So a fault before this line sends nothing.
    client.send(content + b".\r\n")
    try:
        code, answer = client.getreply()
    except OSError as error:
        raise Unconfirmed(f"The mail was handed over and not confirmed: {_reason(error)}") from None
    if code // 100 not in {2, 4, 5}:
        raise Unconfirmed("The mail was handed over, and the answer makes no sense.")
    _expect(range(200, 300), "The mail server refused the mail", code, answer)


def _expect(good: set[int] | range, what: str, code: int, answer: bytes) -> None:
    if code in good:
        return
    permanent = 500 <= code <= 599 and code not in _CONFIGURATION_CODES
    raise (PermanentFailure if permanent else TemporaryFailure)(_sentence(what, code, answer))


def _sentence(what: str, code: int, answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return f"{what}: {code} {without_addresses(text)}".rstrip()


@contextmanager
def _conversation(server: Server) -> Iterator["_Client"]:
    """A context with a client that has signed in. Faults of the network and of the sign-in are TemporaryFailures."""
    client = None
    try:
        client = _Client(server)
        client.greet()
        if server.security is Security.STARTTLS:
            client.upgrade()
            client.greet()
        client.sign_in()
        yield client
        client.quit_quickly()
    except MailFailure:
        if client is not None:
            client.quit_quickly()
        raise
    # All of smtplib's errors are OSErrors.
    except OSError as error:
        raise TemporaryFailure(_reason(error)) from None
    finally:
        if client is not None:
            client.close()


def _reason(error: Exception) -> str:
    """A sentence for the operator. Without the answer to the sign-in, because some servers repeat the password."""
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        return "The mail server did not answer in time."
    for kind, sentence in _REASONS:
        if isinstance(error, kind):
            return sentence
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The mail server's certificate is not valid: {without_addresses(error.verify_message)}"
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"The mail server refused the user name or the password of EMAIL_URL: {error.smtp_code}"
    if isinstance(error, smtplib.SMTPResponseException):
        return _sentence("The mail server refused the conversation", error.smtp_code, error.smtp_error)
    if isinstance(error, smtplib.SMTPException):
        return "The mail server offers no way of signing in that is known here."
    return f"The mail server could not be used: {type(error).__name__}"


_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ConnectionRefusedError, "The mail server refused the connection."),
    (socket.gaierror, "The mail server's name was not found."),
    (smtplib.SMTPServerDisconnected, "The mail server closed the connection."),
    (smtplib.SMTPNotSupportedError, "The mail server offers no STARTTLS, or no signing in, which EMAIL_URL asks for."),
)


class _Client(smtplib.SMTP):
    """The standard library's client with a deadline for each step and for the whole.

    The timeout of the standard library restarts with every byte, so a slow server could hold the client forever.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._deadline = time.monotonic() + TOTAL_SECONDS
        self._step_deadline = self._deadline
        self._answers_left = MAX_ANSWERS_BYTES
        super().__init__(server.host, server.port, local_hostname=settings.MAIL_DOMAIN)

    def greet(self) -> None:
        """Send EHLO, or HELO to a server that does not know it."""
        code, answer = self.ehlo()
        if code // 100 == 5:
            code, answer = self.helo()
        if code // 100 != 2:
            raise smtplib.SMTPHeloError(code, answer)

    def upgrade(self) -> None:
        """Start TLS or fail (RFC 3207). Forgets the server's earlier answers, which an attacker may have sent."""
        if not self.has_extn("starttls"):
            raise smtplib.SMTPNotSupportedError
        code, answer = self.docmd("STARTTLS")
        if code != 220:
            raise smtplib.SMTPResponseException(code, answer)
        self.sock = self._encrypted(self._ready_socket())
        self.file = self.ehlo_resp = self.helo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False

    def sign_in(self) -> None:
        """Sign in if EMAIL_URL has a user and a password."""
        if self._server.user is None or self._server.password is None:
            return
        try:
            self.login(self._server.user, self._server.password)
        except ValueError:
            # The server's challenge is not base64 or not ASCII.
            raise smtplib.SMTPException from None

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connected = self._connected(host, port)
        return self._encrypted(connected) if self._server.security is Security.TLS else connected

    def _connected(self, host: str, port: int) -> socket.socket:
        """A socket to the first address of the host that answers.

        Each address gets the time of one step, because the first one may drop packets silently.
        """
        last_error: OSError = socket.gaierror()
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            candidate = socket.socket(family, kind, protocol)
            try:
                self._begin_step()
                candidate.settimeout(self._remaining_seconds())
                candidate.connect(address)
            except OSError as error:
                candidate.close()
                last_error = error
            else:
                return candidate
        raise last_error

    def _encrypted(self, plain: socket.socket) -> ssl.SSLSocket:
        self._begin_step()
        try:
            plain.settimeout(self._remaining_seconds())
            return ssl.create_default_context().wrap_socket(plain, server_hostname=self._server.host)
        except OSError:
            plain.close()
            raise

    def send(self, s: "str | bytes | bytearray") -> None:  # type: ignore[override]  # typeshed knows other buffers too
        self._begin_step()
        data = s.encode(self.command_encoding) if isinstance(s, str) else bytes(s)
        # In chunks, each with the remaining time: the timeout of one long `sendall` would not see the deadline.
        for start in range(0, len(data), _CHUNK_BYTES):
            self._ready_socket()
            super().send(data[start : start + _CHUNK_BYTES])

    def getreply(self) -> tuple[int, bytes]:
        self._begin_step()
        if self.file is None:
            self.file = io.BufferedReader(_Answers(self))
        return super().getreply()

    def receive(self, buffer: memoryview) -> int:
        """Read the next part of an answer, within the deadlines and MAX_ANSWERS_BYTES."""
        count = self._ready_socket().recv_into(buffer)
        self._answers_left -= count
        if self._answers_left < 0:
            raise OSError("The answers are too long.")
        return count

    def quit_quickly(self) -> None:
        """End the session within QUIT_SECONDS. The outcome of the mail is known, so faults are ignored."""
        self._deadline = min(self._deadline, time.monotonic() + QUIT_SECONDS)
        with suppress(OSError):
            self.quit()

    def _begin_step(self) -> None:
        self._step_deadline = time.monotonic() + STEP_SECONDS

    def _remaining_seconds(self) -> float:
        seconds = min(self._step_deadline, self._deadline) - time.monotonic()
        if seconds <= 0:
            raise TimeoutError
        return seconds

    def _ready_socket(self) -> socket.socket:
        """The socket, with the remaining time as its timeout."""
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected
        self.sock.settimeout(self._remaining_seconds())
        return self.sock


class _Answers(io.RawIOBase):
    """The server's answers as a file object, which smtplib reads."""

    def __init__(self, client: _Client) -> None:
        super().__init__()
        self._client = client

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: any buffer
        return self._client.receive(buffer)
