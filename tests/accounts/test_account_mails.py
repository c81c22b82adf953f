"""The mails of accounts, as a real mail server gets them."""

import re
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from cast import PASSWORD, Api, adam, new_token, person, reader
from duely.accounts import actions, jobs, mails
from duely.accounts.models import Code, SignUp, User
from duely.accounts.rules import Role
from duely.activity.models import Change
from duely.core import clock
from duely.jobs.models import Job
from smtp_server import SmtpServer, Step

pytestmark = pytest.mark.django_db
Work = Callable[[datetime], None]

ALICE = "alice@example.org"
NEW = "another-long-sentence-of-mine"


def text_of(mail: EmailMessage) -> str:
    part = mail.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def html_of(mail: EmailMessage) -> str:
    part = mail.get_body(("html",))
    assert part is not None
    return str(part.get_content())


def sent(mailbox: SmtpServer, work: Work) -> list[EmailMessage]:
    """What arrives when the worker has done all that is due."""
    before = len(mailbox.received)
    work(clock.now())
    return [received.message for received in mailbox.received[before:]]


def ask(path: str, email: str = ALICE) -> None:
    assert Api().post(path, {"email": email}).status_code == 200


def digits_in(mail: EmailMessage) -> str:
    found = re.findall(r"^\s*(\d{6})\s*$", text_of(mail), re.MULTILINE)
    assert len(found) == 1
    assert found[0] in html_of(mail)
    return str(found[0])


def token_in(mail: EmailMessage) -> str:
    found = set(re.findall(r"http://127\.0\.0\.1:8000/verify-email/#(\S+)", text_of(mail)))
    assert len(found) == 1
    (token,) = found
    assert f'href="http://127.0.0.1:8000/verify-email/#{token}"' in html_of(mail)
    return str(token)


def test_a_code_arrives_and_signs_in(mailbox: SmtpServer, work: Work) -> None:
    ask("auth/request-otp/", "New@Example.org")
    (mail,) = sent(mailbox, work)
    assert (mail["To"], mail["Subject"]) == ("New@Example.org", "Your code to sign in")
    assert "5 minutes" in text_of(mail)
    response = Api().post("auth/verify-otp/", {"email": "new@example.org", "code": digits_in(mail)})
    assert response.status_code == 200


def test_a_code_to_set_a_new_password_arrives_with_html_and_text(mailbox: SmtpServer, work: Work) -> None:
    reader("alice", display_name="Ada <Lovelace>")
    ask("auth/forgot-password/")
    (mail,) = sent(mailbox, work)
    assert mail["Subject"] == "Your code to set a new password"
    assert mail.get_content_type() == "multipart/alternative"
    assert "Hello Ada <Lovelace>," in text_of(mail)
    assert "<bdi>Ada &lt;Lovelace&gt;</bdi>" in html_of(mail)
    body = {"email": ALICE, "code": digits_in(mail)}
    token = Api().post("auth/verify-reset-otp/", body).json()["reset_token"]
    assert Api().post("auth/reset-password/", {"reset_token": token, "new_password": NEW}).status_code == 200
    (told,) = sent(mailbox, work)
    assert (told["To"], told["Subject"]) == (ALICE, "Your password was changed")
    assert "signed out everywhere" in text_of(told)
    assert "From: 127.0.0.1" in text_of(told)


@pytest.mark.parametrize(
    "path, known, unknown",
    [("auth/request-otp/", 1, 1), ("auth/forgot-password/", 1, 0)],
)
def test_who_has_no_account_or_may_not_come_in_gets_no_mail(
    path: str, known: int, unknown: int, mailbox: SmtpServer, work: Work, settings: Any
) -> None:
    person("alice")
    person("gone", is_active=False)
    ask(path)
    assert len(sent(mailbox, work)) == known
    ask(path, "gone@example.org")
    assert sent(mailbox, work) == []
    ask(path, "nobody@example.org")
    assert len(sent(mailbox, work)) == unknown
    settings.SIGNUP_ENABLED = False
    ask(path, "somebody@example.org")
    assert sent(mailbox, work) == []
    assert not Job.objects.exclude(state="done").exists()


def test_a_code_that_works_no_more_is_not_sent(mailbox: SmtpServer, work: Work) -> None:
    person("alice", email_verified=True)
    ask("auth/request-otp/")
    ask("auth/request-otp/")
    mail, again = sent(mailbox, work)
    assert digits_in(mail) == digits_in(again)
    assert mail["Message-ID"] != again["Message-ID"], "else mailboxes would hide the second one"
    assert Api().post("auth/verify-otp/", {"email": ALICE, "code": digits_in(mail)}).status_code == 200
    ask("auth/request-otp/")
    work(clock.now() + timedelta(minutes=5, seconds=1))
    assert len(mailbox.received) == 2


def test_a_code_waits_for_a_mail_server_that_is_away(mailbox: SmtpServer, work: Work) -> None:
    """And nobody who asks can tell."""
    mailbox.faults = {Step.MAIL: "451 4.3.0 Try again later"}
    person("alice")
    replies = [Api().post("auth/request-otp/", {"email": email}) for email in (ALICE, "nobody@example.org")]
    assert replies[0].content == replies[1].content
    assert sent(mailbox, work) == []
    assert Job.objects.filter(state="waiting", attempts=1).count() == 2
    mailbox.faults = {}
    Job.objects.update(run_at=clock.now() - timedelta(seconds=1))
    assert sorted(mail["To"] for mail in sent(mailbox, work)) == [ALICE, "nobody@example.org"]


def test_a_repeated_mail_has_the_same_code_and_the_same_id(mailbox: SmtpServer, work: Work) -> None:
    person("alice")
    ask("auth/request-otp/")
    (first,) = sent(mailbox, work)
    Job.objects.update(state="waiting", run_at=clock.now() - timedelta(seconds=1), finished_at=None)
    (second,) = sent(mailbox, work)
    assert digits_in(first) == digits_in(second)
    assert first["Message-ID"] == second["Message-ID"]


def test_an_address_that_is_refused_for_good_is_not_tried_again(mailbox: SmtpServer, work: Work) -> None:
    mailbox.faults = {Step.RCPT: "550 5.1.1 No such user"}
    ask("auth/request-otp/")
    assert sent(mailbox, work) == []
    assert Job.objects.get().state == "done"


def test_a_new_account_gets_a_link_that_verifies_it(mailbox: SmtpServer, work: Work) -> None:
    Api().post("auth/signup/", {"username": "alice", "email": ALICE, "password": PASSWORD})
    (mail,) = sent(mailbox, work)
    assert (mail["To"], mail["Subject"]) == (ALICE, "Confirm your address")
    assert Api().post("auth/verify-email/", {"token": token_in(mail)}).status_code == 200
    assert User.objects.get().email_verified


def test_a_link_of_an_address_that_is_no_longer_theirs_is_not_sent(mailbox: SmtpServer, work: Work) -> None:
    Api().post("auth/signup/", {"username": "alice", "email": ALICE, "password": PASSWORD})
    User.objects.update(email="other@example.org", email_key="other@example.org")
    assert sent(mailbox, work) == []


def test_where_it_is_required_the_link_makes_the_account(mailbox: SmtpServer, work: Work, settings: Any) -> None:
    settings.REQUIRE_EMAIL_VERIFICATION = True
    Api().post("auth/signup/", {"username": "alice", "email": ALICE, "password": PASSWORD})
    (mail,) = sent(mailbox, work)
    assert "to finish signing up" in text_of(mail)
    token = token_in(mail)
    assert Api().post("auth/verify-email/", {"token": token, "password": PASSWORD}).status_code == 200
    assert Api().post("auth/login/", {"username": "alice", "password": PASSWORD}).status_code == 200


def test_where_it_is_required_an_owner_learns_of_a_second_try(mailbox: SmtpServer, work: Work, settings: Any) -> None:
    settings.REQUIRE_EMAIL_VERIFICATION = True
    user = person("alice")
    Api().post("auth/signup/", {"username": "mallory", "email": "ALICE@example.org", "password": PASSWORD})
    (mail,) = sent(mailbox, work)
    assert (mail["To"], mail["Subject"]) == (ALICE, "You already have an account")
    assert "#" not in text_of(mail)
    assert "mallory" not in text_of(mail) + html_of(mail)
    User.objects.filter(pk=user.pk).update(is_active=False)
    Api().post("auth/signup/", {"username": "eve", "email": ALICE, "password": PASSWORD})
    assert sent(mailbox, work) == []
    SignUp.objects.all().delete()
    Api().post("auth/signup/", {"username": "eve", "email": "eve@example.org", "password": PASSWORD})
    SignUp.objects.all().delete()
    assert sent(mailbox, work) == []


def test_a_new_address_gets_the_link_and_the_old_one_the_news(mailbox: SmtpServer, work: Work) -> None:
    api = Api(reader("alice"))
    api.post("auth/change-email/", {"email": "other@example.org", "current_password": PASSWORD})
    (mail,) = sent(mailbox, work)
    assert (mail["To"], mail["Subject"]) == ("other@example.org", "Confirm your new address")
    Api().post("auth/verify-email/", {"token": token_in(mail)})
    told = sent(mailbox, work)
    assert sorted(mail["To"] for mail in told) == [ALICE, "other@example.org"]
    assert {mail["Subject"] for mail in told} == {"Your e-mail address was changed"}
    assert all("is now other@example.org" in text_of(mail) for mail in told)
    assert len({mail["Message-ID"] for mail in told}) == 2


def test_nothing_is_sent_to_a_new_address_that_is_someone_elses(mailbox: SmtpServer, work: Work) -> None:
    person("bob")
    Api(person("alice")).post("auth/change-email/", {"email": "bob@example.org", "current_password": PASSWORD})
    assert sent(mailbox, work) == []


def test_owners_are_told_of_a_new_password_and_a_new_role(mailbox: SmtpServer, work: Work) -> None:
    user = reader("alice")
    Api(user).post("auth/change-password/", {"current_password": PASSWORD, "new_password": NEW}, User_Agent="Browser 1")
    (mail,) = sent(mailbox, work)
    assert mail["Subject"] == "Your password was changed"
    assert "With: Browser 1" in text_of(mail)
    Api(adam()).patch(f"users/{user.id}/", {"role": "intern", "is_active": False}, User_Agent="Admin's browser")
    mails = {mail["Subject"]: mail for mail in sent(mailbox, work)}
    assert mails.keys() == {"Your role was changed", "Your account was deactivated"}
    for mail in mails.values():
        assert mail["To"] == ALICE
        assert "Admin's browser" not in text_of(mail) + html_of(mail)
        assert NEW not in text_of(mail)
    assert "from member to intern" in text_of(mails["Your role was changed"])


def test_a_notice_goes_to_the_address_from_before_the_event(mailbox: SmtpServer, work: Work) -> None:
    """Else a thief who changes the address next would turn the mails away that tell of the theft."""
    user = person("alice", email_verified=True)
    api = Api(user)
    api.post("auth/change-password/", {"current_password": PASSWORD, "new_password": NEW})
    link = new_token(user, "change_email", "thief@example.org")
    assert api.post("auth/verify-email/", {"token": link}).status_code == 200
    link = new_token(user, "change_email", "next@example.org")
    assert api.post("auth/verify-email/", {"token": link}).status_code == 200

    told = sent(mailbox, work)

    assert sorted((mail["To"], mail["Subject"]) for mail in told) == [
        (ALICE, "Your e-mail address was changed"),
        (ALICE, "Your password was changed"),
        ("next@example.org", "Your e-mail address was changed"),
        ("thief@example.org", "Your e-mail address was changed"),
        ("thief@example.org", "Your e-mail address was changed"),
    ]


def test_who_loses_a_password_by_a_code_is_told(mailbox: SmtpServer, work: Work) -> None:
    person("alice")
    ask("auth/request-otp/")
    (mail,) = sent(mailbox, work)
    Api().post("auth/verify-otp/", {"email": ALICE, "code": digits_in(mail)})
    (told,) = sent(mailbox, work)
    assert told["Subject"] == "Your old password was removed"
    User.objects.update(password="!", email_verified=False)
    ask("auth/request-otp/")
    (mail,) = sent(mailbox, work)
    Api().post("auth/verify-otp/", {"email": ALICE, "code": digits_in(mail)})
    assert sent(mailbox, work) == []


@pytest.mark.parametrize("name", ["Host", "X-Forwarded-Host", "X-Forwarded-Server", "Forwarded", "X-Original-Host"])
def test_a_forged_host_is_in_no_mail(name: str, mailbox: SmtpServer, work: Work, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    form = {"username": "alice", "email": ALICE, "password": PASSWORD}
    Api(headers={name: "evil.example"}).post("auth/signup/", form)
    Api(headers={name: "evil.example"}).post("auth/forgot-password/", {"email": ALICE})
    mails = sent(mailbox, work)
    assert len(mails) == 2
    assert not [mail for mail in mails if "evil" in mail.as_string()]


@pytest.mark.parametrize("name", ["a\r\nBcc: evil@example.org", "a\u2028b", "a\0b", "<img src=x>", "\u202egpj.exe"])
def test_a_name_adds_no_header_and_no_tag(name: str, mailbox: SmtpServer, work: Work) -> None:
    user = person("alice")
    User.objects.filter(pk=user.pk).update(display_name=name.replace("\0", ""))
    ask("auth/forgot-password/")
    (mail,) = sent(mailbox, work)
    assert mail.keys().count("Bcc") == 0
    assert len(mail.keys()) == len(set(mail.keys()))
    assert "<img" not in html_of(mail)
    assert "\u202e" not in text_of(mail) + html_of(mail)


def test_dates_are_in_the_readers_zone_and_language(mailbox: SmtpServer, work: Work) -> None:
    user = person("alice", locale="de", time_zone="Asia/Tokyo")
    Api(user).post("auth/change-password/", {"current_password": PASSWORD, "new_password": NEW})
    (mail,) = sent(mailbox, work)
    months = "Januar|Februar|März|April|Mai|Juni|Juli|August|September|Oktober|November|Dezember"
    assert re.search(rf"When: \d+\. ({months}) \d{{4}} \d\d:\d\d", text_of(mail))


def test_mails_of_what_is_gone_are_not_sent() -> None:
    from duely.core.ids import new_id

    at = clock.now()
    assert mails.of_code(new_id(), at) is None
    assert mails.of_sign_up(new_id(), at) is None
    assert mails.of_change(new_id(), 1) is None
    assert mails.of_change(person("alice").id, 1) is None


def test_nobody_is_told_of_the_changes_of_someone_else() -> None:
    at, people = clock.now(), [person(name) for name in ("alice", "bob", "carol")]
    for user in people:
        actions.change_user(actor=None, user_id=user.id, role=Role.INTERN, now=at)
    for user in people:
        mail = mails.of_change(user.id, 1)
        assert mail is not None
        assert mail.to == user.email
        entry = Change.objects.get(owner_id=user.id)
        assert str(entry.id) in mail.message_id


def test_codes_are_sent_before_other_jobs() -> None:
    assert jobs.send_code.urgent
    assert jobs.send_sign_up.urgent


def test_codes_and_sign_ups_that_are_over_go_away() -> None:
    at = clock.now()
    ask("auth/request-otp/")
    SignUp.objects.create(id=Code.objects.get().id, username_key="a", created_at=at, expires_at=at)
    assert actions.purge_sessions(now=at) == 0
    assert actions.purge_sessions(now=at + timedelta(minutes=1)) == 1
    assert actions.purge_sessions(now=at + timedelta(days=2)) == 0
    assert Code.objects.exists(), "they still count towards the limits of a day"
    assert actions.purge_sessions(now=at + timedelta(days=2, minutes=6)) == 1
    assert not Code.objects.exists()


def test_every_kind_of_mail_can_be_looked_at(tmp_path: Path) -> None:
    from duely.cli.mail import preview

    preview(tmp_path / "mails")
    names = {path.stem for path in (tmp_path / "mails").glob("account_*.html")}
    assert len(names) == 12
    pages = [path.read_text() for path in (tmp_path / "mails").glob("account_*")]
    assert not [page for page in pages if "{{" in page or "{%" in page]
    shutil.rmtree(tmp_path / "mails")


LURE = "Your prize: http://evil.test/win"


@pytest.mark.parametrize("verification_first", [False, True])
def test_mail_to_unproven_addresses_holds_no_text_of_users(
    mailbox: SmtpServer, work: Work, settings: Any, verification_first: bool
) -> None:
    settings.REQUIRE_EMAIL_VERIFICATION = verification_first
    spammer = person("Win-a-prize-at-evil.test", email=ALICE, display_name=LURE)
    me = Api(spammer)
    for path in ("auth/forgot-password/", "auth/request-otp/"):
        ask(path)
    me.post("auth/resend-verification/")
    me.post("auth/change-email/", {"email": "bob@example.org", "current_password": PASSWORD})
    for name, address in (("evil.test-wins", "carol@example.org"), ("evil.test-again", ALICE)):
        Api().post("auth/signup/", {"username": name, "email": address, "password": PASSWORD})
    arrived = sent(mailbox, work)
    me.post("auth/change-password/", {"current_password": PASSWORD, "new_password": NEW}, User_Agent=LURE)
    Api(adam()).patch(f"users/{spammer.id}/", {"role": "intern", "is_active": False})
    arrived += sent(mailbox, work)
    assert len(arrived) >= 7
    for mail in arrived:
        assert "evil.test" not in mail.as_string() + text_of(mail) + html_of(mail)


def test_an_unproven_address_is_not_told_of_the_new_one(mailbox: SmtpServer, work: Work) -> None:
    Api(person("alice")).post("auth/change-email/", {"email": "evil.test@example.org", "current_password": PASSWORD})
    (mail,) = sent(mailbox, work)
    Api().post("auth/verify-email/", {"token": token_in(mail)})
    told = {mail["To"]: text_of(mail) for mail in sent(mailbox, work)}
    assert "now has another address" in told[ALICE]
    assert "evil.test" not in told[ALICE]
