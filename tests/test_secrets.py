"""No secret is kept: neither logs, nor the change log, nor any other table holds what opens a door.

A real `duely serve` with the most talkative log is used in every way that takes or gives a secret, wrong ones included.
"""

import json
import re
import sqlite3
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import closing
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import psycopg
import pytest

from programs import Server, until
from smtp_server import SmtpServer

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


class Person:
    """Uses the API and the admin's pages over HTTP, and remembers every secret that went either way."""

    def __init__(self, server: Server, mailbox: SmtpServer) -> None:
        self.base = f"http://127.0.0.1:{server.port}"
        self.mailbox = mailbox
        self.secrets: set[str] = set()
        self.cookies = CookieJar()
        self.browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def call(self, path: str, body: dict[str, str], status: int, token: str = "") -> dict[str, Any]:
        self.secrets |= {value for name, value in body.items() if name not in {"email", "username"}}
        request = urllib.request.Request(f"{self.base}/api/v1/{path}", json.dumps(body).encode(), method="POST")
        request.add_header("Content-Type", "application/json")
        # What is kept for retries is searched too.
        request.add_header("Idempotency-Key", uuid.uuid4().hex)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                found, content = answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            found, content = refused.code, refused.read()
        assert found == status, content
        answered: dict[str, Any] = json.loads(content or b"{}")
        self.secrets |= {value for name, value in answered.items() if name in {"access", "refresh", "reset_token"}}
        return answered

    def mail(self, pattern: str) -> str:
        """What the next mail holds."""
        until(lambda: self.mailbox.received)
        found = re.findall(pattern, self.mailbox.received.pop(0).part("plain"), re.MULTILINE)
        self.secrets.add(found[0])
        return str(found[0])

    def admin_page(self, name: str, password: str) -> None:
        self.secrets.add(password)
        page = self.browser.open(f"{self.base}/admin/login/", timeout=30).read().decode()
        (csrf,) = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        form = {"username": name, "password": password, "csrfmiddlewaretoken": csrf, "next": "/admin/"}
        self.browser.open(f"{self.base}/admin/login/", urllib.parse.urlencode(form).encode(), timeout=30).close()
        self.secrets |= {cookie.value for cookie in self.cookies if cookie.value}


DIGITS = r"^\s*(\d{6})\s*$"
LINK = r"/verify-email/#(\S+)"


def use_everything(person: Person, admin_password: str) -> None:
    ada, grace = "ada@example.org", "grace@example.org"
    person.call("auth/signup/", {"username": "ada", "email": ada, "password": "first-sentence-of-ada"}, 201)
    link = person.mail(LINK)
    person.call("auth/verify-email/", {"token": link, "password": "wrong-proof-of-ada"}, 400)
    person.call("auth/verify-email/", {"token": link, "password": "first-sentence-of-ada"}, 200)
    person.call("auth/login/", {"username": "ada", "password": "wrong-sentence-of-ada"}, 401)
    person.call("auth/login/", {"username": "nobody", "password": "sentence-of-nobody"}, 401)
    pair = person.call("auth/login/", {"email": ada, "password": "first-sentence-of-ada"}, 200)
    pair = person.call("auth/token/refresh/", {"refresh": pair["refresh"]}, 200)
    access = pair["access"]
    person.call(
        "auth/change-password/",
        {"current_password": "wrong-current-of-ada", "new_password": "second-sentence-of-ada"},
        400,
        access,
    )
    change = {"current_password": "first-sentence-of-ada", "new_password": "second-sentence-of-ada"}
    person.call("auth/change-password/", change, 204, access)
    person.mail("(Hello)")
    new_address = {"email": "ada@example.com", "current_password": "second-sentence-of-ada"}
    person.call("auth/change-email/", new_address, 200, access)
    person.call("auth/verify-email/", {"token": person.mail(LINK)}, 200, access)
    person.mail("(Hello)")  # at the old address
    person.mail("(Hello)")  # at the new one
    person.call("auth/logout/", {"refresh": pair["refresh"]}, 204)

    person.call("auth/request-otp/", {"email": grace}, 200)
    person.call("auth/verify-otp/", {"email": grace, "code": "no-such-code"}, 400)
    person.call("auth/verify-otp/", {"email": grace, "code": person.mail(DIGITS)}, 200)
    person.call("auth/forgot-password/", {"email": grace}, 200)
    granted = person.call("auth/verify-reset-otp/", {"email": grace, "code": person.mail(DIGITS)}, 200)
    reset = {"reset_token": granted["reset_token"], "new_password": "first-sentence-of-grace"}
    person.call("auth/reset-password/", reset, 200)
    person.mail("(Hello)")
    person.call("auth/reset-password/", {**reset, "new_password": "second-sentence-of-grace"}, 400)
    # A password where a name belongs.
    person.secrets.add("typed-as-the-name")
    person.call("auth/login/", {"username": "typed-as-the-name", "password": "sentence-of-nobody"}, 401)
    person.admin_page("admin", "wrong-sentence-of-admin")
    person.admin_page("admin", admin_password)
    person.secrets -= {"Hello", ""}


def dump(url: str) -> Iterator[str]:
    """Every row of every table, as text."""
    if url.startswith("sqlite"):
        connection: Any = sqlite3.connect(url.removeprefix("sqlite:///"))
        names = "SELECT name FROM sqlite_master WHERE type = 'table'"
    else:
        connection = psycopg.connect(url)
        names = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    with closing(connection):
        for (table,) in connection.execute(names).fetchall():
            for row in connection.execute(f'SELECT * FROM "{table}"').fetchall():
                yield f"{table}: " + "  ".join(str(value) for value in row)


def test_no_secret_stands_in_logs_or_tables(tmp_path: Path, fresh_database_url: str) -> None:
    admin_password = "first-sentence-of-admin"
    with SmtpServer() as mailbox:
        server = Server(
            tmp_path,
            "serve",
            database_url=fresh_database_url,
            LOG_LEVEL="DEBUG",
            EMAIL_URL=f"smtp://127.0.0.1:{mailbox.port}",
            ADMIN_EMAIL="admin@example.org",
            ADMIN_PASSWORD=admin_password,
        )
        try:
            server.wait_until_it_answers()
            person = Person(server, mailbox)
            use_everything(person, admin_password)
        finally:
            server.stop()
    logs = server.out.read_text() + server.err.read_text()
    stored = "\n".join(dump(fresh_database_url))
    server.clean_up()
    assert len(person.secrets) > 20
    assert logs.count("/api/v1/auth/login/") >= 4
    assert stored.count("auth.login_failed") >= 5
    for secret in person.secrets:
        pattern = re.escape(secret)
        if secret.isdigit():
            pattern = rf"(?<![0-9a-fA-F.-]){secret}(?![0-9a-fA-F])"
        assert not re.search(pattern, logs), f"{secret} stands in a log"
        assert not re.search(pattern, stored), f"{secret} stands in the database"
