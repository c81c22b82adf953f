"""Templates for tests, and a mail server that the settings name."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pytest_django.fixtures import Settings

from duely.mail import transport
from duely.mail.rules import Security, Server
from smtp_server import CERTIFICATE, SmtpServer

StartServer = Callable[..., SmtpServer]


@pytest.fixture
def templates(settings: Settings) -> None:
    """The templates beside this file, as if a module brought them."""
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [Path(__file__).parent / "templates"]}]


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "STEP_SECONDS", 0.3)
    monkeypatch.setattr(transport, "QUIT_SECONDS", 0.2)


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The certificate of the tests' server is trusted, as one of a real authority would be."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))


@pytest.fixture
def start_server(settings: Settings) -> Iterator[StartServer]:
    """Starts a server and makes it the one of EMAIL_URL."""
    with ExitStack() as servers:

        def start(
            security: Security = Security.NONE, user: str | None = None, password: str | None = None, **options: Any
        ) -> SmtpServer:
            offered = {"tls": security is Security.TLS, "starttls": security is Security.STARTTLS}
            server = servers.enter_context(SmtpServer(**{**offered, **options}))
            settings.MAIL_SERVER = Server("localhost", server.port, security, user, password)
            return server

        yield start
