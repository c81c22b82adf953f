"""What strangers cause takes nothing from the mail of an account with a verified address."""

from collections.abc import Callable
from datetime import datetime
from ipaddress import ip_network
from typing import Any

import pytest

from cast import PASSWORD, Api, new_token, person, reader
from duely.accounts import actions
from duely.accounts.models import Code, User
from duely.accounts.rules import Role
from duely.core.clock import now
from duely.core.ids import new_id
from duely.jobs.models import Job
from duely.jobs.queue import claim, enqueue
from duely.jobs.registry import named
from duely.mail.delivery import deliver
from duely.mail.messages import Mail
from duely.mail.rules import DAILY_LIMITS, KINDS, MAX_NOTICES_OF_EVENT, REQUESTER_SHARES, Allowance, mailbox_of
from smtp_server import SmtpServer

pytestmark = pytest.mark.django_db
Work = Callable[[datetime], None]

ALICE = "alice@example.org"
OWN_PLACE = "192.0.2.50"
STRANGERS = [f"203.0.113.{number}" for number in range(1, 21)]
LINKS = REQUESTER_SHARES[Allowance.LINKS]


@pytest.fixture(autouse=True)
def many_requesters(settings: Any) -> None:
    """Requests say where they come from, and are made quickly."""
    settings.TRUSTED_PROXIES = [ip_network("127.0.0.1")]
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS)
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher", *settings.PASSWORD_HASHERS]


def by(address: str, user: User | None = None) -> Api:
    return Api(user, headers={"X-Forwarded-For": address})


def send(kind: str, to: str) -> None:
    enqueue(named("mail.purge"), number=str(new_id()))
    (taken,) = claim("me", 1)
    deliver(taken, Mail(kind, to, "Subject", "Text\n", "<p>Text</p>", f"{kind}.{new_id()}"))


def sign_up(api: Api, email: str) -> Any:
    form = {"username": f"name-{new_id().hex}", "email": email, "password": PASSWORD}
    return api.post("auth/signup/", form)


def spelling(number: int, step: int) -> str:
    """One of the many addresses of this mailbox."""
    return (ALICE, f"alice+{number}.{step}@example.org", f"ALICE+{number}.{step}@Example.ORG")[step % 3]


# Floods: each is all that twenty strangers can do in a day to have mails of one kind sent to this mailbox.


def ask_for_codes() -> None:
    for number, place in enumerate(STRANGERS):
        for step in range(2 * REQUESTER_SHARES[Allowance.CODES]):
            for path in ("auth/request-otp/", "auth/forgot-password/"):
                body = {"email": spelling(number, step)}
                assert by(place).post(path, body).status_code == 200


def ask_for_links() -> None:
    for number, place in enumerate(STRANGERS):
        user = person(f"stranger-{number}", email=f"alice+{number}@example.org")
        statuses = [by(place, user).post("auth/resend-verification/").status_code for _ in range(LINKS + 1)]
        assert statuses == [200] * LINKS + [429]


def sign_up_with_her_address() -> None:
    for number, place in enumerate(STRANGERS):
        for step in range(LINKS + 1):
            sign_up(by(place), spelling(number, step))


def change_accounts_of_her_mailbox() -> None:
    for number in range(5):
        user = person(f"stranger-{number}", email=f"alice+{number}@example.org")
        for step in range(12):
            actions.set_password(user=user, new_password=f"a-long-sentence-{step}", now=now())


def remind() -> None:
    person("stranger", email="alice+1@example.org")
    for _ in range(DAILY_LIMITS[Allowance.NOTICES] + 1):
        send("reminder", "alice+1@example.org")


def digest() -> None:
    person("stranger", email="alice+1@example.org")
    for _ in range(DAILY_LIMITS[Allowance.NOTICES] + 1):
        send("digest", "alice+1@example.org")


FLOODS: dict[str, Callable[[], None]] = {
    "account_code": ask_for_codes,
    "account_link": ask_for_links,
    "account_known": sign_up_with_her_address,
    "account_change": change_accounts_of_her_mailbox,
    "reminder": remind,
    "digest": digest,
}


# What the owner causes: one mail of each kind.


def code(alice: User) -> None:
    by(OWN_PLACE).post("auth/request-otp/", {"email": ALICE})


def link(alice: User) -> None:
    body = {"email": "alice+new@example.org", "current_password": PASSWORD}
    assert by(OWN_PLACE, alice).post("auth/change-email/", body).status_code == 200


def known(alice: User) -> None:
    assert sign_up(by(OWN_PLACE), ALICE).status_code == 201


def change(alice: User) -> None:
    actions.change_user(actor=None, user_id=alice.id, role=Role.INTERN, now=now())


OWN: dict[str, tuple[str, Callable[[User], None]]] = {
    "account_code": ("Your code to sign in", code),
    "account_link": ("Confirm your new address", link),
    "account_known": ("You already have an account", known),
    "account_change": ("Your role was changed", change),
    "reminder": ("Subject", lambda alice: send("reminder", ALICE)),
    "digest": ("Subject", lambda alice: send("digest", ALICE)),
}


def test_every_kind_of_mail_has_a_flood_and_an_owner() -> None:
    assert FLOODS.keys() == OWN.keys() == KINDS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_flood_does_not_stop_the_owners_mail(kind: str, mailbox: SmtpServer, work: Work, settings: Any) -> None:
    settings.REQUIRE_EMAIL_VERIFICATION = True
    alice = reader("alice")
    person("admin", role="admin")
    FLOODS[kind]()
    work(now())
    # While a code that the flood brought works, no other one is mailed. So the owner asks after its time.
    Code.objects.update(ended_at=now())

    missing = []
    for own, (subject, cause) in OWN.items():
        before = len(mailbox.received)
        cause(alice)
        work(now())
        if subject not in [mail.message["Subject"] for mail in mailbox.received[before:]]:
            missing.append(own)

    assert missing == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["account_code", "account_link", "account_known"])
def test_a_flood_does_not_stop_a_new_owner(kind: str, mailbox: SmtpServer, work: Work, settings: Any) -> None:
    """Nobody has verified the address yet. The mailbox gets a bounded number of mails all the same."""
    settings.REQUIRE_EMAIL_VERIFICATION = True
    FLOODS[kind]()
    work(now())
    most = sum(DAILY_LIMITS[allowance] for allowance in (Allowance.CODES, Allowance.LINKS, Allowance.SECURITY))
    assert len(mailbox.received) <= most
    before = len(mailbox.received)

    assert sign_up(by(OWN_PLACE), "alice+mine@example.org").status_code == 201
    assert by(OWN_PLACE).post("auth/request-otp/", {"email": "alice+mine@example.org"}).status_code == 200
    work(now())

    subjects = {mail.message["Subject"] for mail in mailbox.received[before:]}
    assert subjects == {"Confirm your address", "Your code to sign in"}


def test_strangers_shares_leave_room_for_the_owner() -> None:
    for allowance, share in REQUESTER_SHARES.items():
        assert len(STRANGERS) * share + share <= DAILY_LIMITS[allowance]


# Whoever is in an account cannot mute its notices


def test_cheap_notices_do_not_delay_those_of_other_kinds(mailbox: SmtpServer, work: Work) -> None:
    alice = reader("alice")
    person("admin", role="admin")
    for step in range(MAX_NOTICES_OF_EVENT + 5):
        actions.set_password(user=alice, new_password=f"a-long-sentence-{step}", now=now())
    work(now())
    assert len(mailbox.received) == MAX_NOTICES_OF_EVENT

    actions.change_user(actor=None, user_id=alice.id, role=Role.INTERN, now=now())
    actions.change_user(actor=None, user_id=alice.id, is_active=False, now=now())
    work(now())

    subjects = [mail.message["Subject"] for mail in mailbox.received[MAX_NOTICES_OF_EVENT:]]
    assert sorted(subjects) == ["Your account was deactivated", "Your role was changed"]


def test_the_last_notice_over_the_limit_waits(mailbox: SmtpServer, work: Work) -> None:
    alice = reader("alice")
    for step in range(MAX_NOTICES_OF_EVENT + 5):
        actions.set_password(user=alice, new_password=f"a-long-sentence-{step}", now=now())

    work(now())

    waiting = Job.objects.get(name="accounts.tell_owner", state="waiting")
    assert waiting.args["seq"] == MAX_NOTICES_OF_EVENT + 5


def test_unproven_addresses_get_few_notices(mailbox: SmtpServer, work: Work) -> None:
    change_accounts_of_her_mailbox()

    work(now())

    assert len(mailbox.received) == DAILY_LIMITS[Allowance.SECURITY]
    assert not Job.objects.filter(state="waiting", name="accounts.tell_owner").exists()


def test_a_notice_that_waits_is_not_replaced_after_a_change_of_address(mailbox: SmtpServer, work: Work) -> None:
    alice = reader("alice")
    for step in range(MAX_NOTICES_OF_EVENT + 1):
        actions.set_password(user=alice, new_password=f"a-long-sentence-{step}", now=now())
    verify = by(OWN_PLACE, alice).post(
        "auth/verify-email/", {"token": new_token(alice, "change_email", "b@example.org")}
    )
    assert verify.status_code == 200
    actions.set_password(user=alice, new_password="another-long-sentence", now=now())

    work(now())

    told = [(mail.message["To"], mail.message["Subject"]) for mail in mailbox.received[MAX_NOTICES_OF_EVENT:]]
    assert sorted(told) == [
        (ALICE, "Your e-mail address was changed"),
        ("b@example.org", "Your e-mail address was changed"),
        ("b@example.org", "Your password was changed"),
    ]
    waiting = Job.objects.get(name="accounts.tell_owner", state="waiting")
    assert waiting.args["seq"] == MAX_NOTICES_OF_EVENT + 1


@pytest.mark.parametrize("to", ["alice@xn--bcher-kva.example", "ALICE+x@XN--BCHER-KVA.example"])
def test_an_international_domain_is_one_mailbox(to: str) -> None:
    assert mailbox_of(to) == "alice@xn--bcher-kva.example"
