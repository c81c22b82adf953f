"""Rules by function."""

from collections.abc import Callable

import pytest

from duely.accounts import rules
from duely.accounts.rules import MAX_USERNAME, Role, clean_username, fold
from duely.core.permissions import ALLOWED, Permission, allows

EVERYONE = {
    Permission.TASK_VIEW,
    Permission.TASK_EDIT,
    Permission.CATEGORY_VIEW,
    Permission.CATEGORY_EDIT,
    Permission.LOG_VIEW,
    Permission.PROFILE_EDIT,
    Permission.SESSION_END,
    Permission.USER_VIEW,
}


@pytest.mark.parametrize("permission", Permission)
def test_admins_may_do_everything_and_others_what_concerns_themselves(permission: Permission) -> None:
    assert allows("admin", permission)
    assert allows("member", permission) == (permission in EVERYONE)
    assert allows("intern", permission) == (permission in EVERYONE)
    assert not allows("anonymous", permission)
    assert not allows("", permission)


def test_every_role_is_in_the_table() -> None:
    assert set(ALLOWED) == {role.value for role in Role}


@pytest.mark.parametrize("text", ["admin", "ADMIN", "Admin"])
def test_roles_are_read_in_any_case(text: str) -> None:
    assert Role(text) is Role.ADMIN


@pytest.mark.parametrize("value", ["root", "", " admin", 1, None])
def test_there_are_no_other_roles(value: object) -> None:
    with pytest.raises(ValueError, match="not a valid Role"):
        Role(value)


@pytest.mark.parametrize(
    "name",
    [
        *("a", "alice", "Alice.B_c+d-9", "Jürgen", "李雷", "x" * 150),
        *("สมชาย", "กิตติ", "अनिल", "हिन्दी", "தமிழ்", "মুহাম্মদ", "ਗੁਰਪ੍ਰੀਤ", "ગુજરાતી", "ಕನ್ನಡ", "తెలుగు", "മലയാളം", "සිංහල"),
        *(
            "محمد",
            "مُحَمَّد",
            "שָׁלוֹם",
            "ကျော်",
            "ភាសាខ្មែរ",
            "ລາວ",
            "བོད་ཡིག".replace("་", ""),
            "ኢትዮጵያ",
            "한국",
            "ひらがな",
            "ガス",
        ),
        *("Ẹ̀bùn", "Nguyễn", "Zoë", "Łukasz", "Đặng", "İlker", "Ђорђе", "ქართული", "Հայկ", "ශ්\u200dරී", "हिन्\u200dदी"),
    ],
)
def test_good_user_names(name: str) -> None:
    assert rules.username_fault(rules.clean_username(name)) is None


@pytest.mark.parametrize(
    "name, code",
    [
        ("", "required"),
        ("  ", "required"),
        ("x" * 151, "too_long"),
        ("alice@example.org", "invalid_username"),
        ("a b", "invalid_username"),
        ("a\u200bb", "invalid_username"),
        ("a\u202eb", "invalid_username"),
        ("a\x00b", "invalid_username"),
        ("a/b", "invalid_username"),
        ("<b>", "invalid_username"),
        ("\ud800", "invalid_username"),
        ("\u0301a", "invalid_username"),
        ("a.\u0301b", "invalid_username"),
        ("7\u0301", "invalid_username"),
        ("x\u0301\u0301", "invalid_username"),
        ("x\u0316\u0317\u0318\u0319\u031c", "invalid_username"),
        ("a\u0338lice", "invalid_username"),
        ("a\u20ddlice", "invalid_username"),
        ("a\u034flice", "invalid_username"),
        ("a\ufe0flice", "invalid_username"),
        ("a\u3164lice", "invalid_username"),
        ("a\U000e0100lice", "invalid_username"),
        ("ali\u200dce", "invalid_username"),
        ("\u200dalice", "invalid_username"),
        ("r\u03bfot", "mixed_scripts"),
        ("\u03a9mega", "mixed_scripts"),
    ],
)
def test_bad_user_names(name: str, code: str) -> None:
    fault = rules.username_fault(rules.clean_username(name))
    assert fault is not None
    assert fault.code == code


def test_names_that_look_the_same_fold_to_one() -> None:
    variants = ["jürgen", "JÜRGEN", "ju\u0308rgen", "\uff2aürgen"]
    assert {rules.fold(rules.clean_username(name)) for name in variants} == {"jürgen"}
    assert rules.fold("Straße") == rules.fold("STRASSE")
    assert rules.fold("alice") != rules.fold("al1ce")


def test_a_joiner_makes_no_other_name() -> None:
    assert rules.fold("ශ්\u200dරී") == rules.fold("ශ්රී")


def test_folding_never_outgrows_its_column() -> None:
    longest = max(
        len(rules.fold(chr(code))) for code in range(0x110000) if chr(code).isalnum() and chr(code).isprintable()
    )
    assert longest <= 18
    folded = (rules.fold(letter * 150) for letter in ("ß", "ΐ", "ﬃ", "ŉ", "İ"))
    names = [name for name in folded if rules.username_fault(name) is None or len(name) > 150]
    assert all(len(name) <= 450 for name in names)


@pytest.mark.parametrize("email", ["a@b.de", " alice@example.org ", "a+b@localhost", "x@xn--bcher-kva.example"])
def test_good_addresses(email: str) -> None:
    assert rules.email_fault(rules.clean_email(email)) is None


@pytest.mark.parametrize(
    "email, code",
    [
        ("", "required"),
        ("a" * 250 + "@b.de", "too_long"),
        ("alice", "invalid_email"),
        ("@example.org", "invalid_email"),
        ("a@b@c.de", "invalid_email"),
        ("a b@example.org", "invalid_email"),
        ("a@example.org\nBcc: b@example.org", "invalid_email"),
        ('"a b"@example.org', "invalid_email"),
        ("a\x00@example.org", "invalid_email"),
        ("al\u0131ce@example.org", "invalid_email"),
        ("a@bücher.example", "invalid_email"),
    ],
)
def test_bad_addresses(email: str, code: str) -> None:
    fault = rules.email_fault(rules.clean_email(email))
    assert fault is not None
    assert fault.code == code


@pytest.mark.parametrize(
    "password", ["correct-horse", "eight-8!", " leading and trailing ", "ü" * 64, "x7" * 256, "tab\tnul\0tab"]
)
def test_good_passwords(password: str) -> None:
    assert rules.password_fault(password) is None


@pytest.mark.parametrize(
    "password, code",
    [
        ("", "password_too_short"),
        ("seven77", "password_too_short"),
        ("password1", "password_too_common"),
        ("83749283749", "password_entirely_numeric"),
        ("x" * 513, "too_long"),
    ],
)
def test_bad_passwords(password: str, code: str) -> None:
    fault = rules.password_fault(password)
    assert fault is not None
    assert fault.code == code


def test_the_length_that_the_schema_tells_is_the_shortest_that_passes() -> None:
    letters = "x7k-2m9q-d4w"
    assert rules.password_fault(letters[: rules.MIN_PASSWORD]) is None
    fault = rules.password_fault(letters[: rules.MIN_PASSWORD - 1])
    assert fault is not None
    assert fault.code == "password_too_short"


def test_a_password_like_the_name_is_refused() -> None:
    from duely.accounts.models import User

    fault = rules.password_fault("alexandra1", User(username="alexandra", email="a@example.org"))
    assert fault is not None
    assert fault.code == "password_too_similar"


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires"])
def test_good_time_zones(name: str) -> None:
    assert rules.time_zone_fault(name) is None


@pytest.mark.parametrize(
    "name", ["", "europe/berlin", "Mars/Olympus", "../../etc/passwd", "localtime", "UTC\0", "+02:00"]
)
def test_bad_time_zones(name: str) -> None:
    assert rules.time_zone_fault(name) is not None


def test_every_time_zone_fits_its_column() -> None:
    assert max(map(len, rules.time_zones())) <= rules.MAX_TIME_ZONE


@pytest.mark.parametrize("tag", ["en", "de", "pt-BR", "zh-Hant-TW", "ast"])
def test_good_locales(tag: str) -> None:
    assert rules.locale_fault(tag) is None


@pytest.mark.parametrize("tag", ["", "e", "english", "en_US", "en-", "en\n", "-en", "en-" + "a" * 40])
def test_bad_locales(tag: str) -> None:
    assert rules.locale_fault(tag) is not None


@pytest.mark.parametrize("make", [clean_username, fold])
def test_what_is_too_long_for_a_name_is_not_put_into_one_form(make: Callable[[str], str]) -> None:
    """With combining characters out of order, a mebibyte of which a client can send, that would take minutes."""
    assert len(make("\u0315\u0300" * 250_000)) > MAX_USERNAME
    assert make("\ufb03" * 50) == "ffi" * 50
