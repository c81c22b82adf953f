"""A mail server, and a worker that runs what is due."""

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from smtp_server import SmtpServer


@pytest.fixture
def mailbox(settings: Any) -> Iterator[SmtpServer]:
    """Where mails of the test arrive."""
    from duely.config import email

    with SmtpServer() as server:
        settings.MAIL_SERVER = email.from_url(f"smtp://127.0.0.1:{server.port}")
        yield server


@pytest.fixture
def work() -> Callable[[datetime], None]:
    """Runs every job that is due, as a worker would whose database says that it is this instant."""
    from duely.jobs.queue import claim
    from duely.jobs.runner import execute

    def until_nothing_is_due(now: datetime) -> None:
        while taken := claim("test", 10):
            for running in taken:
                running.now = now
                execute(running)

    return until_nothing_is_due
