"""What a search finds: text in words, and what is asked for in terms. No database, no clock.

Both databases index the words that are made here, and neither has a say in where one begins: so both answer alike.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

WORDS_FORMAT = 2
"""The number of the form in which words are indexed, stored with the words of each task.

Raise it when the same text gives other words than before, and add a migration that replaces the index
`tasks_words_outdated` (`models.OUTDATED`): the job `tasks.index_words` then makes the words of all
old tasks anew.
"""
MAX_WORDS = 16_000
"""Words of one task that a search finds. PostgreSQL counts places up to 16,383."""
MAX_SAME = 255
"""How often the same word counts within a task: PostgreSQL keeps so many places of it."""
MAX_WORD = 64
# Each term may have to be checked in each task of a page (decision 0018).
MAX_TERMS = 16
MAX_MARKS = 30
MOST_SIGNS = 50_000
GAP = "·"
"""Stands where there is no word: no phrase goes across it. It is in no word."""

# Letters that Unicode does not take apart, but people do.
_PLAIN = {"ø": "o", "đ": "d", "ł": "l", "ħ": "h", "æ": "ae", "œ": "oe", "ı": "i", "þ": "th", "ð": "d", "ŧ": "t"}  # noqa: RUF001
# Scripts that are written without blanks: each of their signs is a word, and what is asked for is a phrase of them.
_UNSPACED = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF)),  # Thai, Lao, Burmese, Khmer
    *((0x3005, 0x3007), (0x3041, 0x30FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF)),  # kana and Chinese characters
    *((0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x20000, 0x3FFFF)),
)


class _Signs(dict[int, str]):
    """For `str.translate`: what each character becomes, worked out when it is met for the first time.

    It starts anew when it is full, so that texts of rare characters do not leave those of others without a place.
    """

    def __missing__(self, code: int) -> str:
        if len(self) >= MOST_SIGNS:
            self.clear()
        self[code] = "".join(map(_parted, _folded(chr(code))))
        return self[code]


_SIGNS = _Signs()
_TOO_MANY_MARKS = re.compile(rb"[^\x00]{%d,}" % (MAX_MARKS + 1))
_MARKS_IN_ONE = {
    "\u0344": "\u0308\u0301",
    "\u0f73": "\u0f71\u0f72",
    "\u0f75": "\u0f71\u0f74",
    "\u0f81": "\u0f71\u0f80",
    "\uff9e": "\u3099",
    "\uff9f": "\u309a",
}
"""The characters that NFKC takes apart into combining ones alone."""


def _folded(sign: str) -> str:
    """Without case, accents and variants (NFKD of the full case folding, some combining marks left out)."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", sign).casefold())
    kept = "".join(_PLAIN.get(part, part) for part in apart if not _is_accent(part))
    return unicodedata.normalize("NFC", kept)


def _is_accent(sign: str) -> bool:
    """Marks above and below letters, and the vowel points of Hebrew and Arabic. Vowels of other scripts are letters."""
    place = unicodedata.combining(sign)
    return 10 <= place <= 35 or place >= 200


def _parted(sign: str) -> str:
    """The sign; with blanks around it where it is a word by itself; a blank where it is part of none."""
    kind = unicodedata.category(sign)
    if kind == "Cf" or 0xFE00 <= ord(sign) <= 0xFE0F or 0xE0100 <= ord(sign) <= 0xE01EF:
        return ""  # joiners and variation selectors
    is_picture = kind == "So" or 0x1F3FB <= ord(sign) <= 0x1F3FF
    if not (sign.isalnum() or kind[0] == "M" or is_picture):
        return " "
    is_alone = is_picture or any(first <= ord(sign) <= last for first, last in _UNSPACED)
    return f" {sign} " if is_alone else sign


def words_of(text: str) -> list[str]:
    """The words of a text: runs of letters and digits, and other signs such as emoji one by one."""
    # The whole text and not sign by sign: half-width katakana and their voiced marks are two signs, and one letter.
    whole = unicodedata.normalize("NFKC", _stream_safe(text))
    return [word[:MAX_WORD] for word in whole.translate(_SIGNS).split()]


def _stream_safe(text: str) -> str:
    """The text without what follows after MAX_MARKS combining characters in a row (UAX #15 section 13).

    To put those in order takes time with the square of their number, and no language has as many.
    """
    if text.isascii():
        return text
    for whole, parts in _MARKS_IN_ONE.items():
        text = text.replace(whole, parts)
    classes = bytes(map(unicodedata.combining, text))
    pieces, at = [], 0
    for run in _TOO_MANY_MARKS.finditer(classes):
        pieces.append(text[at : run.start() + MAX_MARKS])
        at = run.end()
    return "".join([*pieces, text[at:]])


def indexed_words(*texts: str) -> list[str]:
    """The words of a task as they are indexed, in their places, with a gap between the texts."""
    places: list[str] = []
    for text in texts:
        places += words_of(text)[: max(MAX_WORDS - len(places), 0)]
        places.append(GAP)
    if len(places) <= MAX_SAME:
        return places[:-1]
    seen: Counter[str] = Counter()
    for place, word in enumerate(places):
        seen[word] += 1
        if seen[word] > MAX_SAME:
            places[place] = GAP
    return places[:-1]


@dataclass(frozen=True, slots=True)
class Term:
    """A word or a phrase. `is_prefix`: its last word may go on; `is_excluded`: it must not be there."""

    words: tuple[str, ...]
    is_prefix: bool = False
    is_excluded: bool = False


_TERM = re.compile(r'(-?)(?:"([^"]*)"?|([^\s"]+))')


def parse_search(text: str) -> tuple[Term, ...]:
    """What is asked for: `pay rent "next month" -car`. Empty when there is no word in it.

    A word is found at the beginning of words. Words in quotes are found as they are, one after the other; so are those
    that something else than a blank parts. What follows a `-` must not be there, as a whole word unless it ends in `*`.
    Raises ValueError for more than MAX_TERMS terms.
    """
    terms: dict[Term, None] = {}
    for minus, quoted, bare in _TERM.findall(text):
        words = tuple(words_of(quoted or bare))
        if words:
            is_prefix = bool(bare) and (not minus or bare.endswith("*"))
            terms[Term(words, is_prefix, bool(minus))] = None
    if len(terms) > MAX_TERMS:
        raise ValueError(text)
    return tuple(terms)


def scope_of(owner_id: UUID) -> str:
    """What stands before the words of an owner, so that a search for them never meets those of others.

    Two owners may share one, by chance: it makes a search quick, and does not decide what anyone may see.
    """
    return owner_id.hex[-12:]


def _within(scope: str | None) -> str:
    """What stands before a word within a scope. No word begins like that: a search without one never meets it."""
    return f"{GAP}{scope}" if scope else ""


def tsvector(words: Sequence[str], scope: str) -> str:
    """Indexed words for PostgreSQL, each by itself and within its scope."""
    places: dict[str, list[int]] = {}
    for place, word in enumerate(words, start=1):
        if word != GAP:
            places.setdefault(word, []).append(place)
    within, found = _within(scope), [(word, ",".join(map(str, where))) for word, where in places.items()]
    return " ".join([f"'{word}':{where} '{within}{word}':{where}" for word, where in found])


def tsquery(terms: Sequence[Term], scope: str | None) -> str:
    """The terms for PostgreSQL."""
    return " & ".join(_tsquery(term, _within(scope)) for term in terms)


def _tsquery(term: Term, scope: str) -> str:
    words = " <-> ".join(f"'{scope}{word}'" for word in term.words)
    return f"{'!' if term.is_excluded else ''}({words}{':*' if term.is_prefix else ''})"


def fts5(terms: Sequence[Term], scope: str | None) -> str:
    """The terms for SQLite's FTS5. One of them at least is not excluded."""
    column, before = ("own" if scope else "every"), _within(scope)
    wanted = " AND ".join(_fts5(term, before) for term in terms if not term.is_excluded)
    excluded = " OR ".join(_fts5(term, before) for term in terms if term.is_excluded)
    return f"{column} : (({wanted})" + (f" NOT ({excluded}))" if excluded else ")")


def _fts5(term: Term, scope: str) -> str:
    words = " ".join(scope + word for word in term.words)
    return f'"{words}"{" *" if term.is_prefix else ""}'


def needle(term: Term) -> str:
    """What must stand in the indexed words, joined by blanks and with blanks around them."""
    return f" {' '.join(term.words)}{'' if term.is_prefix else ' '}"
