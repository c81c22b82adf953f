"""The page behind mailed links, as a person uses it: a real server, real mails, a real browser, the keyboard."""

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from browser import Page, browser, requires_browser
from programs import Server, until
from smtp_server import SmtpServer

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), requires_browser]

PASSWORD = "correct horse battery"
SHOWN = "[...document.querySelectorAll('[data-view]:not([hidden])')].map(view => view.dataset.view).join()"
FOCUS = "document.activeElement.id || document.activeElement.textContent.trim()"
FAULT = "[...document.querySelectorAll('[data-view]:not([hidden]) [data-fault]')].map(e => e.textContent).join('')"


@dataclass
class Instance:
    """A server whose mails arrive, and a browser."""

    port: int
    mailbox: SmtpServer
    page: Page

    def post(self, path: str, body: dict[str, str]) -> int:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1/auth/{path}/",
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as answer:
            answer.close()
            return int(answer.code)

    def sign_up(self, name: str) -> str:
        """Returns the link in the mail."""
        count = len(self.mailbox.received)
        assert self.post("signup", {"username": name, "email": f"{name}@example.org", "password": PASSWORD}) == 201
        until(lambda: len(self.mailbox.received) > count)
        link = re.search(r"http://\S+/verify-email/#\S+", self.mailbox.received[-1].part("plain"))
        assert link is not None
        return link[0]

    def can_sign_in(self, name: str) -> bool:
        return self.post("login", {"username": name, "password": PASSWORD}) == 200

    def shows(self, view: str) -> None:
        self.page.wait_for(f"{SHOWN} === '{view}'")


@pytest.fixture
def instance(tmp_path: Path, fresh_database_url: str) -> Iterator[Instance]:
    with SmtpServer() as mailbox:
        mail = {"EMAIL_URL": f"smtp://127.0.0.1:{mailbox.port}"}
        server = Server(tmp_path, "serve", database_url=fresh_database_url, WEB_CONCURRENCY="1", **mail)
        try:
            server.wait_until_it_answers()
            with browser() as page:
                yield Instance(server.port, mailbox, page)
                assert page.faults == []
        finally:
            server.stop()
            server.clean_up()


def test_a_password_confirms_the_address_and_is_kept(instance: Instance) -> None:
    page, link = instance.page, instance.sign_up("ada")
    page.open(link)
    instance.shows("ask")

    page.press("Tab")
    page.press("Tab")
    assert page.evaluate(FOCUS) == "password"
    page.press("Enter")
    assert page.evaluate("document.getElementById('password-error').textContent") == "Enter your password."
    assert page.evaluate("document.getElementById('password').getAttribute('aria-invalid')") == "true"

    page.type("wrong password")
    page.press("Enter")
    page.wait_for("document.getElementById('password-error').textContent === 'This is not your password.'")
    assert page.evaluate(FOCUS) == "password"

    page.set_offline(True)
    page.type(PASSWORD)
    page.press("Enter")
    page.wait_for(f"{FAULT} !== ''")
    assert "did not answer" in page.evaluate(FAULT)
    assert page.evaluate("document.getElementById('password').getAttribute('aria-invalid')") is None

    page.set_offline(False)
    page.press("Enter")
    instance.shows("done")
    assert page.evaluate(FOCUS) == "Your address is confirmed"
    assert page.evaluate("location.hash") == ""
    assert instance.can_sign_in("ada")

    page.evaluate("location.reload()")
    instance.shows("nothing")
    assert "sign in" in page.evaluate("document.querySelector('[data-view=nothing]').innerText")

    page.open(link.replace("/verify-email/#", "/verify-email#"))
    instance.shows("ask")
    page.evaluate("document.getElementById('password').focus()")
    page.type(PASSWORD)
    page.press("Enter")
    instance.shows("invalid_token")


def test_a_password_is_removed_only_after_the_page_has_said_so(instance: Instance) -> None:
    page, link = instance.page, instance.sign_up("eve")
    page.open(link)

    page.evaluate("document.querySelector('[data-view=ask] [data-show=ask-without]').click()")
    instance.shows("ask-without")
    assert page.evaluate(FOCUS) == "Confirm without a password?"
    assert "removed" in page.evaluate("document.querySelector('[data-view=ask-without]').innerText")
    assert instance.can_sign_in("eve")

    page.press("Tab")
    page.press("Enter")
    instance.shows("done-without")
    assert not instance.can_sign_in("eve")


def test_an_incomplete_link_says_so_and_the_next_link_works(instance: Instance) -> None:
    page, link = instance.page, instance.sign_up("bob")
    page.open(link[:-5])
    instance.shows("incomplete")

    page.evaluate(f"location.hash = {json.dumps(link.partition('#')[2])}")
    instance.shows("ask")
