"""Whatever gives access to an account ends with every event after which only its owner shall have access.

Two registries: everything that gives access (CREDENTIALS), and every such event (EVENTS). Each credential is tried after
each event, by a request. What the code has and the registries have not makes a test fail.
"""

import ast
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command
from django.test import Client

from cast import PASSWORD, Api, bearer, new_code, new_token, person, refresh_token_of, session_of
from duely.accounts import codes
from duely.accounts.models import Code, SignUp, User
from duely.accounts.rules import Purpose
from duely.core import clock
from duely.core.ids import new_id
from duely.jobs.queue import enqueue
from duely.jobs.registry import named
from smtp_server import SmtpServer

pytestmark = pytest.mark.django_db

APP = Path(__file__).parents[2] / "src" / "duely"
NEW = "another-long-sentence-of-mine"
MOVED = "moved@example.org"


@dataclass
class World:
    """The account that somebody has set credentials up for, its owner's own session, and another admin."""

    user: Any
    other_admin: Any
    work: Callable[[datetime], None]
    request: Any

    @property
    def mailbox(self) -> SmtpServer:
        """Where mails arrive from the first use on."""
        server: SmtpServer = self.request.getfixturevalue("mailbox")
        return server

    @property
    def own(self) -> Api:
        """A session of the account, which the event may keep."""
        return Api(self.user)

    def admin(self) -> Api:
        """Another admin, who calls the API."""
        return Api(self.other_admin)

    def on_pages(self, action: str) -> None:
        """Another admin, who uses the list of users on the admin's pages."""
        browser = signed_in(self.other_admin)
        answer = browser.post("/admin/accounts/user/", {"action": action, "_selected_action": str(self.user.id)})
        assert answer.status_code == 302


@pytest.fixture
def world(work: Callable[[datetime], None], request: Any) -> World:
    """An admin, since the admin's pages let nobody else in. Nobody has verified the address."""
    return World(person("adam", role="admin"), person("eve", role="admin"), work, request)


def signed_in(user: Any, password: str = PASSWORD) -> Client:
    """A browser on the admin's pages."""
    browser = Client()
    browser.post("/admin/login/", {"username": user.username, "password": password})
    return browser


# What gives access


@dataclass(frozen=True)
class Credential:
    """Something that gives access to an account.

    set_up: makes one, and returns a function that uses it and says whether it worked. purposes, models: what of the code
    it stands for.
    """

    set_up: Callable[[World], Callable[[], bool]]
    purposes: frozenset[Purpose] = frozenset()
    models: frozenset[str] = frozenset()


def posts(path: str, body: dict[str, str]) -> Callable[[], bool]:
    """Whether the API takes this. An address that is somebody's meanwhile (409) is another matter than a dead link."""
    return lambda: bool(Api().post(path, body).status_code in (200, 409))


def access_token(world: World) -> Callable[[], bool]:
    headers = bearer(world.user)
    return lambda: bool(Api(headers=headers).get("users/me/").status_code == 200)


def refresh_token(world: World) -> Callable[[], bool]:
    return posts("auth/token/refresh/", {"refresh": refresh_token_of(session_of(world.user))})


def pages_session(world: World) -> Callable[[], bool]:
    browser = signed_in(world.user)
    return lambda: bool(browser.get("/admin/").status_code == 200)


def sign_in_code(world: World) -> Callable[[], bool]:
    return posts("auth/verify-otp/", {"email": world.user.email, "code": new_code(world.user.email)})


def reset_code(world: World) -> Callable[[], bool]:
    return posts("auth/verify-reset-otp/", {"email": world.user.email, "code": new_code(world.user.email, "reset")})


def reset_token(world: World) -> Callable[[], bool]:
    body = {"reset_token": new_token(world.user, "reset_token"), "new_password": "a-password-of-someone-else"}
    return posts("auth/reset-password/", body)


def verification_link(world: World) -> Callable[[], bool]:
    return posts("auth/verify-email/", {"token": new_token(world.user, "verify_email")})


def change_link(world: World) -> Callable[[], bool]:
    return posts("auth/verify-email/", {"token": new_token(world.user, "change_email", "thief@example.org")})


def waiting_sign_up(world: World) -> SignUp:
    at, user = clock.now(), world.user
    return SignUp.objects.create(
        id=new_id(),
        username="mallory",
        username_key="mallory",
        email=user.email,
        email_key=user.email_key,
        password=user.password,
        created_at=at,
        expires_at=at + timedelta(hours=24),
    )


def sign_up_link(world: World) -> Callable[[], bool]:
    return posts("auth/verify-email/", {"token": codes.token(Purpose.SIGN_UP, waiting_sign_up(world).id)})


def queued(ask: Callable[[World], object]) -> Callable[[World], Callable[[], bool]]:
    """What a mail holds that waits in the queue: it is sent, and tried, after the event."""

    def set_up(world: World) -> Callable[[], bool]:
        assert world.mailbox.received == []
        ask(world)
        return lambda: any(use() for use in mailed(world))

    return set_up


def mailed(world: World) -> Iterator[Callable[[], bool]]:
    """Uses of every code and link in the mails that arrive now."""
    world.work(clock.now())
    for mail in world.mailbox.received:
        text, email = mail.part("plain"), mail.recipients[0]
        for code in re.findall(r"^\s*(\d{6})\s*$", text, re.MULTILINE):
            yield posts("auth/verify-otp/", {"email": email, "code": code})
            yield posts("auth/verify-reset-otp/", {"email": email, "code": code})
        for token in re.findall(r"/verify-email/#(\S+)", text):
            yield posts("auth/verify-email/", {"token": token})
        if mail.message["Subject"] == "You already have an account":
            yield lambda: True  # of a sign-up that goes on waiting


def ask_for_change(world: World) -> None:
    body = {"email": "thief@example.org", "current_password": PASSWORD}
    assert world.own.post("auth/change-email/", body).status_code == 200


CREDENTIALS: dict[str, Credential] = {
    "access token": Credential(access_token, models=frozenset({"accounts.session"})),
    "refresh token": Credential(refresh_token, models=frozenset({"accounts.refreshtoken"})),
    "session of the admin's pages": Credential(pages_session, models=frozenset({"sessions.session"})),
    "code to sign in": Credential(sign_in_code, frozenset({Purpose.SIGN_IN}), frozenset({"accounts.code"})),
    "code to reset": Credential(reset_code, frozenset({Purpose.RESET})),
    "reset token": Credential(reset_token, frozenset({Purpose.RESET_TOKEN})),
    "link to verify": Credential(verification_link, frozenset({Purpose.VERIFY_EMAIL})),
    "link to change": Credential(change_link, frozenset({Purpose.CHANGE_EMAIL})),
    "link to sign up": Credential(sign_up_link, frozenset({Purpose.SIGN_UP}), frozenset({"accounts.signup"})),
    "queued code to sign in": Credential(
        queued(lambda world: Api().post("auth/request-otp/", {"email": world.user.email}))
    ),
    "queued code to reset": Credential(
        queued(lambda world: Api().post("auth/forgot-password/", {"email": world.user.email}))
    ),
    "queued link to verify": Credential(queued(lambda world: world.own.post("auth/resend-verification/"))),
    "queued link to change": Credential(queued(ask_for_change)),
    "queued link to sign up": Credential(
        queued(lambda world: enqueue(named("accounts.send_sign_up"), sign_up_id=str(waiting_sign_up(world).id)))
    ),
}
PASSWORD_MODEL = "accounts.user"
GIVE_NO_ACCESS = frozenset({"accounts.knownaddress"})
"""Passwords are tried apart: some events leave them."""


# After which events


@dataclass(frozen=True)
class Event:
    """Something after which nothing from before may give access.

    happen: makes it happen. function: the function of the code that does it. leaves_password: whether the password
    works as before.
    """

    happen: Callable[[World], None]
    function: str
    leaves_password: bool = False


def sent_code(email: str, purpose: str) -> str:
    """The code that waits at this address, or a new one."""
    row = Code.objects.filter(email=email, purpose=purpose, user=None, ended_at=None).first()
    return codes.digits(Purpose(purpose), row.id) if row else new_code(email, purpose)


def verify(world: World, token: str, *, as_owner: bool = False, password: str | None = None) -> None:
    api = world.own if as_owner else Api()
    body = {"token": token} if password is None else {"token": token, "password": password}
    assert api.post("auth/verify-email/", body).status_code == 200


def change_password(world: World) -> None:
    body = {"current_password": PASSWORD, "new_password": NEW}
    assert world.own.post("auth/change-password/", body).status_code == 204


def change_password_on_pages(world: World) -> None:
    form = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}
    assert signed_in(world.user).post("/admin/password_change/", form).status_code == 302


def change_password_by_command(world: World) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("getpass.getpass", lambda *_: NEW)
        call_command("changepassword", world.user.username, stdout=io.StringIO())


def reset_password(world: World) -> None:
    body = {"reset_token": new_token(world.user, "reset_token"), "new_password": NEW}
    assert Api().post("auth/reset-password/", body).status_code == 200


def sign_in_by_code(world: World) -> None:
    body = {"email": world.user.email, "code": sent_code(world.user.email, "sign_in")}
    assert Api().post("auth/verify-otp/", body).status_code == 200


def change_user(world: World, **wanted: Any) -> None:
    assert world.admin().patch(f"users/{world.user.id}/", wanted).status_code == 200


def deactivate(world: World, act: Callable[[World], None]) -> None:
    """And let in again, by hand: then whatever has not ended would work again."""
    act(world)
    assert User.objects.filter(pk=world.user.pk, is_active=False).update(is_active=True)


def reactivate(world: World) -> None:
    User.objects.filter(pk=world.user.pk).update(is_active=False)
    change_user(world, is_active=True)


EVENTS: dict[str, Event] = {
    "password changed": Event(change_password, "change_password"),
    "password changed on the admin's pages": Event(change_password_on_pages, "change_password"),
    "password set by the operator": Event(change_password_by_command, "set_password"),
    "password reset": Event(reset_password, "reset_password"),
    "address proven by a code": Event(sign_in_by_code, "prove_address"),
    "address proven by a link": Event(
        lambda world: verify(world, new_token(world.user, "verify_email")), "prove_address"
    ),
    "address proven by a link and the password": Event(
        lambda world: verify(world, new_token(world.user, "verify_email"), password=PASSWORD),
        "prove_address",
        leaves_password=True,
    ),
    "address proven by a link and a session": Event(
        lambda world: verify(world, new_token(world.user, "verify_email"), as_owner=True),
        "prove_address",
        leaves_password=True,
    ),
    "address changed by a link": Event(
        lambda world: verify(world, new_token(world.user, "change_email", MOVED)), "_change_email"
    ),
    "address changed by a link and a session": Event(
        lambda world: verify(world, new_token(world.user, "change_email", MOVED), as_owner=True),
        "_change_email",
        leaves_password=True,
    ),
    "signed out everywhere": Event(
        lambda world: world.own.post("auth/logout-all/"), "end_sessions_of", leaves_password=True
    ),
    "signed out by an admin": Event(lambda world: world.on_pages("sign_out"), "end_sessions_of", leaves_password=True),
    "role changed": Event(lambda world: change_user(world, role="member"), "change_user", leaves_password=True),
    "role changed on the admin's pages": Event(
        lambda world: world.on_pages("make_intern"), "change_user", leaves_password=True
    ),
    "deactivated": Event(
        lambda world: deactivate(world, lambda world: change_user(world, is_active=False)),
        "change_user",
        leaves_password=True,
    ),
    "deactivated on the admin's pages": Event(
        lambda world: deactivate(world, lambda world: world.on_pages("deactivate")),
        "change_user",
        leaves_password=True,
    ),
    "reactivated": Event(reactivate, "change_user", leaves_password=True),
}


@pytest.mark.parametrize("credential", CREDENTIALS)
def test_a_credential_opens_what_it_should(credential: str, world: World) -> None:
    assert CREDENTIALS[credential].set_up(world)()


@pytest.mark.parametrize("credential", CREDENTIALS)
@pytest.mark.parametrize("event", EVENTS)
def test_nothing_from_before_gives_access_after_the_event(event: str, credential: str, world: World) -> None:
    opens = CREDENTIALS[credential].set_up(world)

    EVENTS[event].happen(world)

    assert not opens()


@pytest.mark.parametrize("event", EVENTS)
def test_the_password_stays_only_where_its_owner_is_known(event: str, world: World) -> None:
    EVENTS[event].happen(world)

    answer = Api().post("auth/login/", {"username": world.user.username, "password": PASSWORD})

    assert answer.status_code == (200 if EVENTS[event].leaves_password else 401)


@pytest.mark.parametrize("event", EVENTS)
def test_nothing_of_other_people_ends(event: str, world: World) -> None:
    other = World(person("bob", email_verified=True), None, world.work, world.request)
    uses = [set_up(other) for set_up in (access_token, refresh_token, sign_in_code, reset_token)]

    EVENTS[event].happen(world)

    assert [use() for use in uses] == [True] * 4


@pytest.mark.parametrize(
    "path, body",
    [
        ("auth/change-password/", lambda user: {"current_password": PASSWORD, "new_password": NEW}),
        ("auth/verify-email/", lambda user: {"token": new_token(user, "verify_email")}),
        ("auth/verify-email/", lambda user: {"token": new_token(user, "change_email", MOVED)}),
    ],
    ids=["password changed", "address proven", "address changed"],
)
def test_the_session_of_the_owner_goes_on(path: str, body: Any, world: World) -> None:
    own = world.own

    assert own.post(path, body(world.user)).status_code in (200, 204)

    assert own.get("users/me/").status_code == 200


def test_the_page_on_which_a_password_changes_stays_open(world: World) -> None:
    browser = signed_in(world.user)
    form = {"old_password": PASSWORD, "new_password1": NEW, "new_password2": NEW}

    browser.post("/admin/password_change/", form)

    assert browser.get("/admin/").status_code == 200


# The registries are whole


def test_every_purpose_of_a_code_is_a_credential() -> None:
    assert set(Purpose) == {purpose for each in CREDENTIALS.values() for purpose in each.purposes}


def test_every_table_that_may_hold_a_credential_is_registered() -> None:
    registered = {model for each in CREDENTIALS.values() for model in each.models} | {PASSWORD_MODEL}
    telling = re.compile("token|secret|password|credential|session|otp|api_key")

    of_accounts = {model._meta.label_lower for model in apps.get_app_config("accounts").get_models()}
    elsewhere = {
        model._meta.label_lower
        for model in apps.get_models()
        if any(telling.search(column.name) for column in model._meta.concrete_fields)
    }

    assert of_accounts | elsewhere == registered | GIVE_NO_ACCESS


SENSITIVE = frozenset({"password", "email", "email_key", "email_verified", "is_active", "role"})
MAKE_NEW_ACCOUNTS = frozenset({"new_user", "create_user", "sign_up_by_mail", "_finish_sign_up", "_sign_up_later"})
SAY_WHAT_CHANGES = frozenset({"creation", "_changes_of_user", "_refuse_bad_fields", "_remove_password", "_change"})
"""Functions that write no row: they name the columns for others, for the log or for a refusal."""


def functions(*paths: str) -> Iterator[ast.FunctionDef]:
    for pattern in paths:
        for path in sorted(APP.glob(pattern)):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef):
                    yield node


def calls_of(function: ast.FunctionDef, name: str) -> list[ast.Call]:
    return [
        node
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == name
    ]


def writes_of(function: ast.FunctionDef) -> set[str]:
    """Sensitive columns that a function seems to set: in a dict, as an attribute, as an argument of `update()`."""
    written = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Dict):
            written |= {key.value for key in node.keys if isinstance(key, ast.Constant) and isinstance(key.value, str)}
        elif isinstance(node, ast.Subscript | ast.Attribute) and isinstance(node.ctx, ast.Store):
            if getattr(node.value, "id", "") == "self":
                continue
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node.slice, "value", "")
            written.add(str(name))
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("update", "set_password"):
            written |= {str(keyword.arg) for keyword in node.keywords} | (
                {"password"} if getattr(node.func, "attr", "") == "set_password" else set()
            )
    return written & SENSITIVE


def test_every_event_ends_all_access_by_the_one_function() -> None:
    ending = {function.name for function in functions("**/*.py") if calls_of(function, "end_access")}
    assert ending == {event.function for event in EVENTS.values()}


def test_what_only_an_owner_may_change_is_changed_by_registered_events() -> None:
    changing = {
        function.name
        for function in functions("accounts/actions/*.py", "accounts/steps.py", "accounts/jobs.py", "cli/*.py")
        if writes_of(function)
    }
    assert changing - MAKE_NEW_ACCOUNTS - SAY_WHAT_CHANGES <= {event.function for event in EVENTS.values()}
