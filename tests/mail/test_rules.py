import pytest
from hypothesis import given
from hypothesis import strategies as st

from duely.mail import rules

# Lone surrogates too: JSON can carry them.
ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
def test_every_subject_is_one_short_visible_line(text: str) -> None:
    line = rules.one_line(text)
    assert len(line) <= rules.MAX_SUBJECT
    assert len(f"x{line}".splitlines()) == 1
    assert line == line.strip()
    line.encode("utf-8")
    assert not [letter for letter in line if ord(letter) < 32 or 0x7F <= ord(letter) < 0xA0]
    assert not set(line) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029")
    assert rules.one_line(line) == line


@pytest.mark.parametrize(
    "text, line",
    [
        ("Pay the rent", "Pay the rent"),
        ("Pay\r\nBcc: mallory@example.org", "Pay Bcc: mallory@example.org"),
        ("a\u2028b\u2029c\x85d\x0be\x00f\tg", "a b c d e f g"),
        ("\x1b[31mred", "[31mred"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        ("\u2067\u2069", ""),
        ("\ud800", "?"),
        ("سلام\u200cدنیا", "سلام\u200cدنیا"),
        ("👩‍👩‍👧 party", "👩‍👩‍👧 party"),
    ],
)
def test_controls_become_spaces_and_reordering_marks_vanish(text: str, line: str) -> None:
    assert rules.one_line(text) == line


def test_a_long_subject_ends_in_an_ellipsis() -> None:
    assert rules.one_line("a" * 150) == "a" * 150
    assert rules.one_line("a" * 148 + " bc") == "a" * 148 + "…"
    assert rules.one_line("abcdef", 3) == "ab…"


def test_text_keeps_lines_and_loses_empty_ones() -> None:
    assert rules.paragraphs("\n\na  \r\n\n \n\n\tb\u202e\x07c\n\n") == "a\n\n\tb c\n"


def test_a_servers_answer_is_shown_without_addresses() -> None:
    told = rules.without_addresses("5.1.1 <bob@example.org>: no\r\nsuch 'eve@example.org'")
    assert told == "5.1.1 <…>: no such '…'"
    assert len(rules.without_addresses("x" * 1000)) == rules.MAX_SUBJECT


def test_a_server_never_shows_its_password() -> None:
    server = rules.Server("mail.example.org", 25, rules.Security.NONE, "u", "hunter2")
    assert "hunter2" not in f"{server} {server!r}"


@pytest.mark.parametrize(
    "address",
    [
        "alice@example.org",
        "ALICE@Example.ORG",
        "alice+tasks@example.org",
        "Alice+a+b@example.org",
        " alice@example.org ",
    ],
)
def test_spellings_of_one_mailbox_are_the_same(address: str) -> None:
    assert rules.mailbox_of(address) == "alice@example.org"


@pytest.mark.parametrize("address", ["a.lice@gmail.com", "alice+x@googlemail.com", "A.L.I.C.E@Gmail.com"])
def test_dots_do_not_count_at_gmail(address: str) -> None:
    assert rules.mailbox_of(address) == "alice@gmail.com"


@pytest.mark.parametrize("other", ["a.lice@example.org", "bob@example.org", "alice@example.com", "+alice@example.org"])
def test_other_mailboxes_are_counted_separately(other: str) -> None:
    assert rules.mailbox_of(other) != "alice@example.org"


@pytest.mark.timeout(30)
@pytest.mark.parametrize("piece", ["a", "a@", "@", " ", "a@a ", "<", "\n", "@ "])
def test_long_answers_are_read_once(piece: str) -> None:
    # With the square of the length, a million characters would take an hour.
    text = (piece * 1_000_000)[:1_000_000]
    assert "@" not in rules.without_addresses(text)
    assert len(rules.one_line(text)) <= rules.MAX_SUBJECT
    rules.paragraphs(text)


@given(st.text("ab@ <>'\n"))
def test_words_with_an_at_sign_are_left_out(text: str) -> None:
    hidden = rules.without_addresses(text, limit=10_000)
    assert "@" not in hidden
    assert hidden.replace("…", "").split() == [
        part
        for word in rules.one_line(text, 10_000).split()
        if (part := "".join("" if "@" in piece else piece for piece in split_at_quotes(word)))
    ]


def split_at_quotes(word: str) -> list[str]:
    import re

    return re.split(r"([<>'])", word)
