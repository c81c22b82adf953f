"""What strangers cause takes nothing from the mail of an account with a verified address."""

from collections.abc import Callable
from datetime import datetime
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from cast import PASSWORD, Api, new_token, person, reader
from duely.accounts import actions, steps
from duely.accounts.models import Code, SignUp, User
from duely.accounts.rules import MAX_MAILS, Role
from duely.activity.models import Change
from duely.core.clock import now
from duely.core.ids import new_id
from duely.jobs.models import Job
from duely.jobs.queue import claim, enqueue
from duely.jobs.registry import named
from duely.mail import limits
from duely.mail.delivery import deliver
from duely.mail.messages import Mail
from duely.mail.models import MailCount
from duely.mail.rules import (
    DAILY_LIMITS,
    KINDS,
    MAX_NOTICES_OF_EVENT,
    NETWORK_SHARES,
    REQUESTER_SHARES,
    Allowance,
    mailbox_of,
)
from smtp_server import SmtpServer, Step

pytestmark = pytest.mark.django_db
Work = Callable[[datetime], None]

ALICE = "alice@example.org"
OWN_PLACE = "192.0.2.50"
STRANGERS = [f"203.0.{number}.7" for number in range(1, 21)]
CODES = REQUESTER_SHARES[Allowance.CODES]
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
        statuses = []
        for step in range(2 * CODES):
            for path in ("auth/request-otp/", "auth/forgot-password/"):
                statuses.append(by(place).post(path, {"email": spelling(number, step)}).status_code)
        # A code that is in the mailbox already is not mailed again, so such a request is not refused.
        assert statuses[: CODES - 1] == [200] * (CODES - 1)
        assert statuses[-2:] == [429] * 2


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


# A refused request costs others nothing


def ask_for(path: str) -> Callable[[Api, str], int]:
    return lambda api, email: int(api.post(path, {"email": email}).status_code)


def change_address(api: Api, email: str) -> int:
    user = person(f"name-{new_id().hex}")
    api = Api(user, headers=api.headers)
    return int(api.post("auth/change-email/", {"email": email, "current_password": PASSWORD}).status_code)


REQUESTS: list[tuple[str, str, Callable[[Api, str], int]]] = [
    ("account_code", "Your code to sign in", ask_for("auth/request-otp/")),
    ("account_code", "Your code to set a new password", ask_for("auth/forgot-password/")),
    ("account_link", "Confirm your new address", change_address),
    ("account_known", "You already have an account", lambda api, email: int(sign_up(api, email).status_code)),
]


def test_every_kind_with_shares_is_requested_here() -> None:
    assert {kind for kind, _, _ in REQUESTS} == {
        name for name, kind in KINDS.items() if kind.allowance in REQUESTER_SHARES
    }


@pytest.mark.parametrize("kind, subject, request_mail", REQUESTS, ids=[subject for _, subject, _ in REQUESTS])
def test_a_refused_request_costs_others_nothing(
    kind: str, subject: str, request_mail: Callable[[Api, str], int], mailbox: SmtpServer, work: Work, settings: Any
) -> None:
    """A stranger uses up their share with other spellings, then requests mails to the owner's address itself."""
    settings.REQUIRE_EMAIL_VERIFICATION = True
    to = "bob@example.org" if kind == "account_link" else ALICE
    if to == ALICE:
        person("alice")
    stranger, allowance = by(STRANGERS[0]), KINDS[kind].allowance
    for number in range(REQUESTER_SHARES[allowance]):
        assert request_mail(stranger, to.replace("@", f"+{number}@")) < 300
    work(now())
    before = [Code.objects.count(), SignUp.objects.count(), counted()]

    assert [request_mail(stranger, to) for _ in range(3)] == [429] * 3
    work(now())

    assert [Code.objects.count(), SignUp.objects.count(), counted()] == before
    assert not mails_to(mailbox, to)
    for number in range(2):
        assert request_mail(by(OWN_PLACE), to) < 300
        work(now())
        assert mails_to(mailbox, to) == [subject] * (number + 1)


def counted() -> int:
    return sum(MailCount.objects.values_list("sent", flat=True))


def mails_to(mailbox: SmtpServer, to: str) -> list[str]:
    return [str(mail.message["Subject"]) for mail in mailbox.received if mail.message["To"] == to]


@pytest.mark.parametrize("path", ["auth/request-otp/", "auth/forgot-password/"])
def test_a_requester_without_a_code_left_is_told(path: str, mailbox: SmtpServer, work: Work) -> None:
    for step in range(CODES):
        assert by(OWN_PLACE).post(path, {"email": f"alice+{step}@example.org"}).status_code == 200

    refused = [by(OWN_PLACE).post(path, {"email": email}) for email in (ALICE, "alice+mine@example.org")]

    assert {answer.status_code for answer in refused} == {429}
    assert 1 <= int(refused[0].headers["Retry-After"]) <= 86_400
    assert "daily limit of codes that you may request" in refused[0].json()["detail"]
    assert not Code.objects.filter(email=ALICE).exists()
    assert Change.objects.filter(action="user.mail_limit_reached").count() == 1


@pytest.mark.parametrize("fields", [{"email_verified": True}, {}, {"is_active": False}, None])
def test_the_limit_of_codes_tells_nothing_of_accounts(fields: "dict[str, bool] | None") -> None:
    if fields is not None:
        person("alice", **fields)
    for step in range(CODES):
        by(STRANGERS[0]).post("auth/request-otp/", {"email": f"alice+{step}@example.org"})

    with CaptureQueriesContext(connection) as captured:
        answers = [by(STRANGERS[0]).post("auth/request-otp/", {"email": ALICE}) for _ in range(2)]

    assert {answer.status_code for answer in answers} == {429}
    assert "accounts_user" in str(captured.captured_queries)
    assert not Code.objects.filter(email=ALICE).exists()


def test_owners_get_more_codes_where_they_have_signed_in() -> None:
    alice = reader("alice")
    stranger = person("stranger", email="alice+1@example.org")
    for user in (alice, stranger):
        steps.remember_address(user, OWN_PLACE, now())
    for step in range(CODES + 2):
        by(OWN_PLACE).post("auth/request-otp/", {"email": f"alice+other{step}@example.org"})

    statuses = [
        by(OWN_PLACE).post("auth/request-otp/", {"email": user.email}).status_code for user in (alice, stranger)
    ]

    assert statuses == [200, 429], "an address that is not verified has no owner yet"


@pytest.mark.parametrize("refuses", [False, True], ids=["limit of the mailbox", "refused by the server"])
def test_a_code_that_was_not_mailed_is_mailed_to_the_next(
    refuses: bool, mailbox: SmtpServer, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    if refuses:
        mailbox.faults = {Step.RCPT: "550 5.1.1 No such user"}
    else:
        monkeypatch.setattr(limits, "DAILY_LIMITS", {**DAILY_LIMITS, Allowance.CODES: 0})
    for number in range(MAX_MAILS + 1):
        assert by(STRANGERS[number]).post("auth/request-otp/", {"email": ALICE}).status_code == 200
        work(now())
    assert (Code.objects.get().mails, mailbox.received) == (0, [])
    mailbox.faults = {}
    monkeypatch.setattr(limits, "DAILY_LIMITS", DAILY_LIMITS)

    assert by(OWN_PLACE).post("auth/request-otp/", {"email": ALICE}).status_code == 200
    work(now())

    assert mails_to(mailbox, ALICE) == ["Your code to sign in"]


# One customer with many addresses is one stranger


@pytest.mark.parametrize("network", ["203.0.113.{}", "2001:db8:7:{:x}::1"], ids=["IPv4 /24", "IPv6 /48"])
@pytest.mark.parametrize("kind, subject, request_mail", REQUESTS, ids=[subject for _, subject, _ in REQUESTS])
def test_many_addresses_of_one_network_have_one_share(
    kind: str, subject: str, request_mail: Callable[[Api, str], int], network: str, settings: Any
) -> None:
    settings.REQUIRE_EMAIL_VERIFICATION = True
    to, share = "bob@example.org", NETWORK_SHARES[KINDS[kind].allowance]

    statuses = []
    for number in range(share + 2):
        address = network.format(number + 1)
        statuses.append(request_mail(by(address), to.replace("@", f"+{number}@")))

    assert [status < 300 for status in statuses] == [True] * share + [False] * 2
    assert set(statuses[share:]) == {429}
    assert request_mail(by(OWN_PLACE), to) < 300


def test_a_refused_network_is_named() -> None:
    allowance = {"auth/request-otp/": Allowance.CODES, "auth/resend-verification/": Allowance.LINKS}
    for path, limit in allowance.items():
        for number in range(NETWORK_SHARES[limit] + 1):
            user = person(f"name-{new_id().hex}", email=f"bob+{new_id().hex}@example.org")
            answer = by(f"203.0.113.{number + 1}", user).post(
                path, {"email": user.email} if limit is Allowance.CODES else None
            )
        assert answer.status_code == 429
        assert "Your network has reached the daily limit" in answer.json()["detail"]


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
