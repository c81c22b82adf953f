"""The one way out for mails. Background jobs alone come here: a mail server may be slow, or away for hours."""

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
# Less than a job's lease: a worker that was frozen meanwhile must not send what another one has sent by now.
TOTAL_SECONDS = 25.0
FAREWELL_SECONDS = 1.0
MAX_ANSWERS_BYTES = 256 * 1024

_CHUNK_BYTES = 16 * 1024
# Codes that ask for signing in or for encryption (RFC 4954, RFC 3207): the operator's to mend.
_OPERATORS = frozenset({530, 534, 535, 538})
_NAME_BEYOND_ASCII = re.compile(r"[^\s\x00-\x1f\x7f()<>\[\]:;@\\,\"]+")
_FRAME = "-" * 72


class MailFailure(Exception):
    """A mail that was not sent, or not for certain. Its text is short, without secrets and addresses."""


class PermanentFailure(MailFailure):
    """The server will never take this mail, or never for this recipient: sending it again is of no use."""


class TemporaryFailure(MailFailure):
    """The mail was not sent now; later it may be. So is every fault of settings: nothing is lost until it is mended."""


class Unconfirmed(TemporaryFailure):
    """The connection ended after the whole mail and before the server's answer: sending it again may double it."""


def send(mail: Mail) -> None:
    """Hand `mail` to the server of EMAIL_URL, or print it when that is `console:`.

    Takes STEP_SECONDS at most for a step and TOTAL_SECONDS for all; looking up the server's name comes on top.
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
    """Connect and sign in to the server of EMAIL_URL, and send nothing. Raises TemporaryFailure."""
    server: Server | None = settings.MAIL_SERVER
    if server is None:
        return
    with _conversation(server) as client:
        code, answer = client.noop()
        if code != 250:
            raise TemporaryFailure(_sentence("The mail server is not ready", code, answer))


class _Verbatim(UnstructuredHeader, BaseHeader):
    """A header that is never folded: the standard library would encode a long link, and no reader would know it."""

    @classmethod
    def parse(cls, value: str, kwds: dict[str, Any]) -> None:
        """Take `value` as it is. What looks encoded would else be decoded, line breaks and all, and be sent so."""
        super().parse(value, kwds)
        kwds["decoded"] = value

    def fold(self, *, policy: "Policy[Any]") -> str:
        return f"{self.name}: {self}{policy.linesep}"


class _Subject(_Verbatim):
    """A subject that arrives as it was written: the standard library's way to fold loses and adds spaces."""

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
    """`mail` in MIME. Made with the standard library alone: Django's own classes cannot write SMTPUTF8 addresses."""
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
    """The recipient, with the domain as DNS writes it. The name before it may go beyond ASCII (RFC 6531)."""
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
        # All but the size of a mail is about our own address, and the operator's to mend.
        failure = PermanentFailure if code == 552 else TemporaryFailure
        raise failure(_sentence("The mail server refused the sender", code, answer))
    _expect({250, 251, 252}, "The mail server refused the recipient", *client.rcpt(recipient))
    _expect({354}, "The mail server refused the mail", *client.docmd("DATA"))
    # No server acts on a mail before its end has come (RFC 5321, section 4.1.1.4): so far, a fault leaves nothing.
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
    permanent = 500 <= code <= 599 and code not in _OPERATORS
    raise (PermanentFailure if permanent else TemporaryFailure)(_sentence(what, code, answer))


def _sentence(what: str, code: int, answer: bytes | str) -> str:
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    return f"{what}: {code} {without_addresses(text)}".rstrip()


@contextmanager
def _conversation(server: Server) -> Iterator["_Client"]:
    """A client that has signed in. Every fault of the way there or of the network is a TemporaryFailure."""
    client = None
    try:
        client = _Client(server)
        client.greet()
        if server.security is Security.STARTTLS:
            client.upgrade()
            client.greet()
        client.sign_in()
        yield client
        client.farewell()
    except MailFailure:
        if client is not None:
            client.farewell()
        raise
    # All of smtplib's errors are OSErrors.
    except OSError as error:
        raise TemporaryFailure(_reason(error)) from None
    finally:
        if client is not None:
            client.close()


def _reason(error: Exception) -> str:
    """What went wrong, for the operator. Never the answer to signing in: some servers repeat what they were told."""
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
    """The standard library's client, with a limit for each step and for the whole.

    Its own limit begins anew with every byte: a server that sends one byte now and then would hold it for ever.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._end = time.monotonic() + TOTAL_SECONDS
        self._step_end = self._end
        self._answers_left = MAX_ANSWERS_BYTES
        super().__init__(server.host, server.port, local_hostname=settings.MAIL_DOMAIN)

    def greet(self) -> None:
        """Say who we are and learn what the server offers; one that does not know EHLO offers nothing."""
        code, answer = self.ehlo()
        if code // 100 == 5:
            code, answer = self.helo()
        if code // 100 != 2:
            raise smtplib.SMTPHeloError(code, answer)

    def upgrade(self) -> None:
        """Go on encrypted, or not at all (RFC 3207). What the server said before does not count."""
        if not self.has_extn("starttls"):
            raise smtplib.SMTPNotSupportedError
        code, answer = self.docmd("STARTTLS")
        if code != 220:
            raise smtplib.SMTPResponseException(code, answer)
        self.sock = self._encrypted(self._plug())
        self.file = self.ehlo_resp = self.helo_resp = None
        self.esmtp_features = {}
        self.does_esmtp = False

    def sign_in(self) -> None:
        """Sign in when EMAIL_URL names a user."""
        if self._server.user is None or self._server.password is None:
            return
        try:
            self.login(self._server.user, self._server.password)
        except ValueError:
            # A challenge that is no base64, or no ASCII.
            raise smtplib.SMTPException from None

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        plug = self._dial(host, port)
        return self._encrypted(plug) if self._server.security is Security.TLS else plug

    def _dial(self, host: str, port: int) -> socket.socket:
        """A connection to the first address of `host` that answers. Each is given a step: the first may be a hole."""
        fault: OSError = socket.gaierror()
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            plug = socket.socket(family, kind, protocol)
            try:
                self._begin_step()
                plug.settimeout(self._patience())
                plug.connect(address)
            except OSError as error:
                plug.close()
                fault = error
            else:
                return plug
        raise fault

    def _encrypted(self, plug: socket.socket) -> ssl.SSLSocket:
        self._begin_step()
        try:
            plug.settimeout(self._patience())
            return ssl.create_default_context().wrap_socket(plug, server_hostname=self._server.host)
        except OSError:
            plug.close()
            raise

    def send(self, s: "str | bytes | bytearray") -> None:  # type: ignore[override]  # typeshed knows other buffers too
        self._begin_step()
        data = s.encode(self.command_encoding) if isinstance(s, str) else bytes(s)
        for start in range(0, len(data), _CHUNK_BYTES):
            self._plug()
            super().send(data[start : start + _CHUNK_BYTES])

    def getreply(self) -> tuple[int, bytes]:
        self._begin_step()
        if self.file is None:
            self.file = io.BufferedReader(_Answers(self))
        return super().getreply()

    def receive(self, buffer: memoryview) -> int:
        """Read what has come of an answer, as long as the step and the whole allow."""
        count = self._plug().recv_into(buffer)
        self._answers_left -= count
        if self._answers_left < 0:
            raise OSError("The answers are too long.")
        return count

    def farewell(self) -> None:
        """Say goodbye. What was sent is sent, whatever the server says to that, and we do not wait long for it."""
        self._end = min(self._end, time.monotonic() + FAREWELL_SECONDS)
        with suppress(OSError):
            self.quit()

    def _begin_step(self) -> None:
        self._step_end = time.monotonic() + STEP_SECONDS

    def _patience(self) -> float:
        left = min(self._step_end, self._end) - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def _plug(self) -> socket.socket:
        """The connection, ready to wait as long as there is time left."""
        if self.sock is None:
            raise smtplib.SMTPServerDisconnected
        self.sock.settimeout(self._patience())
        return self.sock


class _Answers(io.RawIOBase):
    """The server's answers as a file, as smtplib wants them."""

    def __init__(self, client: _Client) -> None:
        super().__init__()
        self._client = client

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: any buffer
        return self._client.receive(buffer)
