"""A real SMTP server for tests, in a thread of its own, that misbehaves as it is told.

    with SmtpServer(faults={Step.RCPT: "550 5.1.1 No such user"}) as server:
        ...
        assert server.received == []

`faults` may change at any time and counts from the next command on. `start()` after `stop()` takes the same port again.
"""

import asyncio
import email
import email.policy
import logging
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from enum import StrEnum
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

# Self-signed for localhost and 127.0.0.1. A client trusts it with SSL_CERT_FILE={CERTIFICATE}.
CERTIFICATE = Path(__file__).parent / "mail" / "localhost.pem"
HOST = "127.0.0.1"

# It warns of its own assignments, and takes a client that dislikes its certificate for its own fault.
logging.getLogger("mail.log").setLevel(logging.CRITICAL)


class Step(StrEnum):
    """Where in the conversation a fault happens; MESSAGE is the end of the mail's text."""

    CONNECT = "CONNECT"
    EHLO = "EHLO"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    MESSAGE = "MESSAGE"
    NOOP = "NOOP"
    QUIT = "QUIT"


@dataclass(frozen=True)
class Stall:
    """Wait before the answer, and then go on."""

    seconds: float


@dataclass(frozen=True)
class Trickle:
    """Answer without end, a byte now and then."""

    pause_seconds: float


class Drop:
    """End the connection without a word. At MESSAGE the mail has been kept before."""


class DropInText:
    """At DATA: take the first line of the mail and end the connection."""


Certain = str | Stall | Trickle | Drop | DropInText
Fault = Certain | Callable[[str], Certain | None]
"""A function is asked anew each time, with what the client said after the command."""


@dataclass(frozen=True)
class Received:
    """A mail that the server has taken."""

    sender: str
    recipients: list[str]
    content: bytes
    options: list[str]
    encrypted: bool
    user: str | None
    taken_at: float
    """As time.time() has it."""

    @property
    def message(self) -> EmailMessage:
        return email.message_from_bytes(self.content, policy=email.policy.default)

    def part(self, subtype: str) -> str:
        """The text of `text/<subtype>`."""
        part = self.message.get_body((subtype,))
        assert part is not None
        return str(part.get_content())


class SmtpServer:
    """tls: implicit, from the first byte. starttls: offered. accounts: passwords by user; with any, a mail needs one."""

    def __init__(
        self,
        *,
        faults: Mapping[Step, Fault] | None = None,
        tls: bool = False,
        starttls: bool = False,
        smtputf8: bool = True,
        accounts: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.faults: dict[Step, Fault] = dict(faults or {})
        self.received: list[Received] = []
        self.connections = 0
        self.commands: list[str] = []
        self.port = port
        self.tls = tls
        self.starttls = starttls
        self.smtputf8 = smtputf8
        self.accounts = dict(accounts or {})
        self._ended: asyncio.Event | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "SmtpServer":
        self.start()
        return self

    def __exit__(self, *args: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen; returns when clients can connect."""
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), name="smtp", daemon=True)
        self._thread.start()
        if not ready.wait(10):
            raise RuntimeError("The SMTP server did not start.")

    def stop(self) -> None:
        """Refuse and end all connections."""
        if self._thread is not None and self._ended is not None:
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(10)
        self._thread = None

    def fault(self, step: Step, argument: str) -> Certain | None:
        """What goes wrong now."""
        fault = self.faults.get(step)
        return fault(argument) if callable(fault) else fault

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        open_connections: set[_Conversation] = set()

        def accept() -> _Conversation:
            self.connections += 1
            return _Conversation(self, open_connections)

        server = await self._loop.create_server(accept, HOST, self.port, ssl=_context() if self.tls else None)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._ended.wait()
        server.close()
        for conversation in list(open_connections):
            conversation.drop()
        await asyncio.sleep(0)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    return context


class _Handler:
    """Keeps the mails that it takes."""

    def __init__(self, server: SmtpServer) -> None:
        self.server = server

    async def handle_DATA(self, smtp: "_Conversation", session: Session, envelope: Envelope) -> str:  # noqa: N802
        fault = self.server.fault(Step.MESSAGE, "")
        if isinstance(fault, str) and not fault.startswith("2"):
            return fault
        assert isinstance(envelope.original_content, bytes)
        self.server.received.append(
            Received(
                sender=envelope.mail_from or "",
                recipients=[str(recipient) for recipient in envelope.rcpt_tos],
                content=envelope.original_content,
                options=list(envelope.mail_options),
                encrypted=self.server.tls or session.ssl is not None,
                user=session.auth_data.login.decode() if session.authenticated else None,
                taken_at=time.time(),
            )
        )
        await smtp.suffer(fault)
        return fault if isinstance(fault, str) else "250 2.0.0 Taken"


class _Conversation(SMTP):
    def __init__(self, server: SmtpServer, open_connections: "set[_Conversation]") -> None:
        super().__init__(
            _Handler(server),
            enable_SMTPUTF8=server.smtputf8,
            hostname="mail.example.org",
            tls_context=_context() if server.starttls else None,
            auth_require_tls=False,
            authenticator=self._sign_in,
            loop=asyncio.get_running_loop(),
        )
        self._server = server
        self._open = open_connections
        self._greeted = False
        for step in Step:
            if method := self._smtp_methods.get(step):
                self._smtp_methods[step] = self._with_faults(step, method)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._open.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        self._open.discard(self)
        super().connection_lost(error)

    async def push(self, status: str | bytes) -> None:
        if not self._greeted:
            self._greeted = True
            await self.suffer(fault := self._server.fault(Step.CONNECT, ""))
            status = fault if isinstance(fault, str) else status
        if self.transport is None or self.transport.is_closing():  # type: ignore[attr-defined]
            raise ConnectionResetError
        await super().push(status)

    async def suffer(self, fault: Certain | None) -> None:
        """Do what is wrong, but for answers, which the caller gives."""
        if isinstance(fault, Stall):
            await asyncio.sleep(fault.seconds)
        elif isinstance(fault, Trickle):
            while True:
                self._writer.write(b"2")
                await self._writer.drain()
                await asyncio.sleep(fault.pause_seconds)
        elif isinstance(fault, Drop):
            self.drop()
            raise ConnectionResetError

    def drop(self) -> None:
        # One that is closing has nothing left to abort: Python 3.11.2's TLS transport fails then.
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()  # type: ignore[attr-defined]

    def _with_faults(self, step: Step, method: Callable[[str | None], Awaitable[None]]) -> Any:
        async def answer(argument: str | None) -> None:
            self._server.commands.append(step)
            fault = self._server.fault(step, argument or "")
            await self.suffer(fault)
            if isinstance(fault, str):
                await self.push(fault)
            elif isinstance(fault, DropInText):
                await self.push("354 Go on")
                await self._reader.readline()
                self.drop()
                raise ConnectionResetError
            elif step is Step.MAIL and self._server.accounts and not self.session.authenticated:  # type: ignore[union-attr]
                await self.push("530 5.7.0 Sign in first")
            else:
                await method(argument)

        return answer

    def _sign_in(self, smtp: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        right = self._server.accounts.get(data.login.decode()) == data.password.decode()
        return AuthResult(success=right, handled=False, auth_data=data)
