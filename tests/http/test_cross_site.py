"""What a page of another site can make the browsers of its visitors send, and that it harms none of them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from cast import PASSWORD, V1, Api, alice
from duely.guard import rules
from duely.guard.rules import Rate

pytestmark = pytest.mark.django_db

ADDRESS = "198.51.100.7"
OURS, APP, EVIL = "https://tasks.example.org", "https://app.example.org", "https://evil.example"
GUESS = {"email": "nobody@example.org", "code": "000000"}

BROWSERS = {
    "TLS": {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Origin": EVIL},
    "plain HTTP": {"Origin": EVIL},
    "sandboxed frame": {"Origin": "null"},
    "no header": {},
}
"""Headers by which a browser tells of another site. Over plain HTTP it sends no Sec-Fetch-Site; old ones send none."""

BODIES = {
    "text": ("text/plain;charset=UTF-8", b"x"),
    "JSON as text": ("text/plain;charset=UTF-8", json.dumps(GUESS).encode()),
    "form": ("application/x-www-form-urlencoded", b"username=nobody&password=wrong"),
    "form with parts": (
        "multipart/form-data; boundary=a",
        b'--a\r\nContent-Disposition: form-data; name="x"\r\n\r\n--a--',
    ),
    "no type": ("", json.dumps(GUESS).encode()),
    "nothing": ("text/plain", b""),
}
"""Bodies that a page may send anywhere without a preflight (Fetch, "CORS-safelisted request-header")."""

PUBLIC = (
    *("login", "request-otp", "verify-otp", "verify-email", "forgot-password", "verify-reset-otp", "reset-password"),
    *("token/refresh", "logout", "signup"),
)


def send(method: str, path: str, body: bytes = b"", kind: str = "", **headers: str) -> Any:
    client = Client(enforce_csrf_checks=True)
    return client.generic(method, path, body, kind, headers=headers, REMOTE_ADDR=ADDRESS)


def guess(**headers: str) -> Any:
    """A wrong code. It spends the same limit as a wrong password, and takes no time to hash one."""
    return send("POST", f"{V1}auth/verify-otp/", json.dumps(GUESS).encode(), "application/json", **headers)


def can_guess() -> bool:
    """Whether the limit of guesses, which is one, is not spent."""
    return bool(guess().json()["code"] == "invalid_code")


def is_banned() -> bool:
    return bool(send("GET", "/").status_code == 403)


@pytest.fixture(autouse=True)
def strict(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits of one request, so that the second one is beyond them, and bans after three attacks."""
    one = Rate(1, 600)
    settings.RATE_LIMITS = {"otp": one, "reset": one, "login": one, "anonymous": one, "user": None}
    settings.PUBLIC_URL = OURS
    settings.CORS_ALLOWED_ORIGINS = [APP, "capacitor://localhost"]
    settings.ALLOWED_HOSTS = ["testserver", "duely.test"]
    monkeypatch.setattr(rules, "REFUSALS", Rate(3, 600))


@pytest.mark.parametrize("browser", BROWSERS)
@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("operation", PUBLIC)
def test_a_foreign_page_spends_no_guess_and_bans_nobody(operation: str, kind: str, browser: str) -> None:
    media, body = BODIES[kind]

    for _ in range(5):
        send("POST", f"{V1}auth/{operation}/", body, media, **BROWSERS[browser])

    assert not is_banned()
    assert can_guess()


LOOKS: dict[str, Callable[..., Any]] = {
    "guess in the query": lambda **headers: send("GET", f"{V1}auth/login/?username=nobody&password=wrong", **headers),
    "token in the query": lambda **headers: send("GET", f"{V1}tasks/?access_token=forged", **headers),
    "document": lambda **headers: send("GET", f"{V1}schema/", **headers),
    "forged link of a mail": lambda **headers: send("GET", f"/verify-email/?token=dlc_{'a' * 48}", **headers),
    "forged unsubscribe link": lambda **headers: send("GET", "/unsubscribe/forged/", **headers),
    "form to a forged unsubscribe link": lambda **headers: send("POST", "/unsubscribe/forged/", **headers),
    "credentials in the address": lambda **headers: send(
        "GET", f"{V1}tasks/", **headers, Authorization="Basic bm9ib2R5Ondyb25n"
    ),
    "form of the admin's page": lambda **headers: send(
        "POST", "/admin/login/", b"username=adam&password=wrong", "application/x-www-form-urlencoded", **headers
    ),
    "name of a host that is not ours": lambda **headers: send(
        "GET", f"{V1}tasks/", **headers, Host="rebound.example", Authorization="Bearer forged"
    ),
}
"""Other requests that a foreign page can cause: images, frames, forms, links."""


@pytest.mark.parametrize("browser", BROWSERS)
@pytest.mark.parametrize("name", LOOKS)
def test_other_requests_of_a_foreign_page_ban_nobody(name: str, browser: str) -> None:
    for _ in range(5):
        LOOKS[name](**BROWSERS[browser])

    assert not is_banned()
    assert can_guess()


@pytest.mark.parametrize("browser", ["TLS", "plain HTTP", "sandboxed frame"])
def test_a_cross_site_request_is_refused_before_anything_counts(browser: str) -> None:
    with CaptureQueriesContext(connection) as statements:
        answers = [guess(**BROWSERS[browser]) for _ in range(5)]

    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(403, "cross_site_request")}
    assert not any("RateLimit" in answer for answer in answers)
    assert len(statements) == 0
    assert not is_banned()


SENDERS = {
    "a program": ({}, True),
    "our own page": ({"Sec-Fetch-Site": "same-origin", "Origin": OURS}, True),
    "our own page behind a proxy of another name": ({"Sec-Fetch-Site": "same-origin", "Origin": "https://x.org"}, True),
    "our own page over plain HTTP": ({"Origin": "http://duely.test:8000", "Host": "duely.test:8000"}, True),
    "our own page behind a proxy that ends TLS": ({"Origin": "https://duely.test", "Host": "duely.test"}, True),
    "our own page behind a proxy that drops the port": (
        {"Origin": "http://duely.test:8080", "Host": "duely.test"},
        True,
    ),
    "a page of another host behind such a proxy": ({"Origin": "http://evil.example:8080", "Host": "duely.test"}, False),
    "an app of another scheme at our name": ({"Origin": "capacitor://duely.test", "Host": "duely.test"}, False),
    "an app that is not allowed": ({"Origin": "tauri://localhost"}, False),
    "an app of an allowed origin": ({"Origin": "capacitor://localhost", "Sec-Fetch-Site": "cross-site"}, True),
    "an app of an allowed origin without Sec-Fetch": ({"Origin": "capacitor://localhost"}, True),
    "our own page at PUBLIC_URL": ({"Origin": OURS}, True),
    "an extension of the browser": ({"Sec-Fetch-Site": "none", "Origin": "chrome-extension://abc"}, True),
    "a page of an allowed origin": ({"Sec-Fetch-Site": "cross-site", "Origin": APP}, True),
    "a page of an allowed origin over plain HTTP": ({"Origin": APP}, True),
    "a page of another site": ({"Sec-Fetch-Site": "cross-site", "Origin": EVIL}, False),
    "a page of a neighbouring host": ({"Sec-Fetch-Site": "same-site", "Origin": "https://x.example.org"}, False),
    "a page of another port": ({"Origin": "http://duely.test:8001", "Host": "duely.test:8000"}, False),
    "a page whose name begins like ours": ({"Origin": "http://duely.test.evil.example", "Host": "duely.test"}, False),
    "a page that hides its origin": ({"Sec-Fetch-Site": "cross-site"}, False),
    "a page after a redirect": ({"Sec-Fetch-Site": "cross-site", "Origin": "null"}, False),
    "a page of a later standard": ({"Sec-Fetch-Site": "some-site"}, False),
}


@pytest.mark.parametrize("sender", SENDERS)
def test_only_pages_that_may_can_change_something(sender: str) -> None:
    headers, may = SENDERS[sender]
    me = Api(alice())

    answers = [
        me.call("POST", "tasks/", {"title": "Milk"}, **headers),
        me.call("PATCH", "profile/", {"time_zone": "Europe/Berlin"}, **headers),
        me.call("PUT", "profile/", {}, **headers),
        me.call("DELETE", f"tasks/{'0' * 8}-0000-7000-8000-{'0' * 12}/", **headers),
    ]

    assert [answer.status_code for answer in answers] == ([201, 200, 200, 404] if may else [403] * 4)


EMBEDDED = ("iframe", "frame", "object", "embed", "fencedframe")
"""Values of Sec-Fetch-Dest for elements that load a page into another one."""


@pytest.mark.parametrize(
    "headers, status",
    [
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, 200),
        *(
            ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": dest}, 403)
            for dest in EMBEDDED
        ),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Origin": EVIL}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors", "Origin": APP}, 200),
        ({"Origin": EVIL}, 200),
    ],
    ids=[
        *("link", "link in a tab", *EMBEDDED, "frame of a neighbouring host"),
        *("image", "script", "script of an allowed origin", "plain HTTP"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_link_may_be_followed_but_nothing_embedded(method: str, headers: dict[str, str], status: int) -> None:
    assert send(method, f"{V1}schema/", **headers).status_code == status


@pytest.mark.parametrize("dest", ["document", *EMBEDDED])
@pytest.mark.parametrize("path", ["tasks/", "schema/", "docs/", "auth/login/", ""])
def test_navigations_of_a_foreign_page_spend_nothing_of_sign_up(path: str, dest: str) -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": dest}
    sign_up = {"username": "visitor", "email": "visitor@example.org", "password": PASSWORD}

    for _ in range(5):
        send("GET", f"{V1}{path}", **headers)

    answer = send("POST", f"{V1}auth/signup/", json.dumps(sign_up).encode(), "application/json")
    assert answer.status_code == 201


def test_links_of_foreign_pages_have_a_limit_of_their_own() -> None:
    headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}

    statuses = [send("GET", f"{V1}tasks/", **headers).status_code for _ in range(3)]

    assert statuses == [401, 429, 429]


def test_a_body_that_cannot_be_read_spends_the_anonymous_limit() -> None:
    statuses = [send("POST", f"{V1}auth/login/", b"{", "application/json").status_code for _ in range(5)]

    assert statuses == [400, 429, 429, 429, 429]
    assert can_guess()
    assert not is_banned()


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b'{"username": 1, "password": "x"}', b'{"password": "x"}', b"\xff", b"x" * 20_000],
)
def test_no_mistake_in_a_body_counts_as_a_guess(body: bytes) -> None:
    for _ in range(5):
        send("POST", f"{V1}auth/login/", body, "application/json")

    assert can_guess()
    assert not is_banned()


def test_a_form_without_a_password_is_no_guess() -> None:
    for _ in range(5):
        Client().post("/admin/login/", {"username": "adam", "password": ""}, REMOTE_ADDR=ADDRESS)

    assert can_guess()
    assert not is_banned()


@pytest.mark.parametrize("operation", PUBLIC)
def test_public_operations_take_sixteen_kibibytes(operation: str) -> None:
    body = json.dumps({"email": "x" * 16 * 1024}).encode()

    answer = send("POST", f"{V1}auth/{operation}/", body, "application/json")

    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")


def test_the_longest_password_fits_into_the_body(settings: Any) -> None:
    """Each character as an escape of twelve bytes, as some libraries write JSON."""
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS)
    body = json.dumps({"username": "\U0001f600" * 254, "password": "\U0001f600" * 512}).encode()

    assert len(body) > 9000
    assert send("POST", f"{V1}auth/login/", body, "application/json").status_code == 401
    assert PASSWORD.encode() not in body
