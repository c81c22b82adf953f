"""The days and times in a text, and whether they can be nothing else."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from operator import add
from typing import Any, TypeVar

from duely.tasks.quick.grammar import (
    COMPILED_DAYS,
    COMPILED_HOUR,
    COMPILED_NOON,
    COMPILED_PART,
    COMPILED_SOON,
    COMPILED_TIME,
    COMPILED_TIME_WITH_HALF,
    COMPILED_TONIGHT,
    DAY,
    MONTH,
    NIGHT,
    ORDINAL,
    PARTS,
    WORDS_TOO,
    Alone,
    clock_time,
    has_short_year,
    iso_day,
    named_day,
    number_of,
    ordinal_day,
    weekday_and_number,
    when_alone,
)
from duely.tasks.quick.spans import MASK
from duely.tasks.quick.words import (
    AFTER,
    CHANGES,
    COUNTS,
    DATE_BEFORE,
    DAYS_BEFORE,
    FOLLOWERS,
    HOUR_BEFORE,
    NUMBER_AFTER_MONTH,
    NUMBER_AFTER_NUMBER,
    NUMBER_AFTER_TIME,
    NUMBER_BEFORE_DATE,
    NUMBER_BEFORE_MONTH,
    NUMBER_BEFORE_TIME,
    NUMBER_BEFORE_WEEKDAY,
    RANGE_BEFORE,
    REPEATED,
    SHORT_DAY_BEFORE,
    SPAN_BEFORE,
    SPANS,
    SPEAKERS,
    VERBS,
    WORD_BEFORE,
    ZONES,
)
from duely.tasks.rules import EARLIEST, LATEST

MOST_BETWEEN = 30
"""Characters between two pieces of the text that are looked at together."""
_BETWEEN = re.compile(r"\s*,?\s*(?:and\s+)?")


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the text that is a day, a time or both. `part`: the part of the day that it names."""

    start: int
    end: int
    day: date | None = None
    at: time | None = None
    part: str | None = None
    instant: datetime | None = None
    alone: Alone = Alone.ALWAYS
    may_be_later: bool = False
    """Whether it may mean twelve hours later too."""
    is_certain: bool = True
    is_word: bool = False
    """Whether it is one of WORDS_TOO and no day, unless another one is connected with it."""
    is_explicit: bool = False
    """Whether it can be nothing else at the beginning of a sentence: `on friday`, `24 dec`, `9am`."""
    is_weekday: bool = False
    """Whether it is a weekday without `this` or `next`."""
    is_bare: bool = False
    """Whether it is a part of a day with no word before it, which counts only right after a day: `movie night`."""
    is_date: bool = False
    """Whether it is the day of a month."""


def days_in(text: str, local: datetime, times: Sequence[Piece]) -> list[Piece]:
    found = []
    for pattern, read in COMPILED_DAYS:
        for match in pattern.finditer(text):
            day = within_calendar(read, match, local.date())
            if day is None:
                continue
            is_word = _is_a_word(text, match, times)
            needs_end = read in (ordinal_day, weekday_and_number) or (read is named_day and _may_be_words(match))
            is_certain = not _is_one_of_several_days(text, match) and (
                is_word
                or (
                    (not needs_end or _closes(text, match, times))
                    and _is_certain(text, match)
                    and not (read is named_day and has_short_year(match) and not _is_year(text, match, times))
                )
            )
            found.append(
                Piece(
                    match.start(),
                    match.end(),
                    day=day,
                    is_certain=is_certain,
                    is_word=is_word,
                    is_explicit=_is_explicit(match),
                    is_weekday=match.groupdict().get("which", "") is None,
                    is_date=read in (named_day, ordinal_day, iso_day),
                )
            )
    for match in COMPILED_TONIGHT.finditer(text):
        part, is_certain = (match["part"] or NIGHT).lower(), _is_certain(text, match)
        piece = Piece(match.start(), match.end(), local.date(), PARTS[part], part, is_certain=is_certain)
        found.append(piece)
    for match in COMPILED_SOON.finditer(text):
        minutes = 30 if match["half"] else number_of(match["number"])
        if match["unit"].lower().startswith("h"):
            minutes = 30 if match["half"] else minutes * 60
        this_minute = local.replace(second=0, microsecond=0).astimezone(UTC)
        instant = within_calendar(add, this_minute, timedelta(minutes=minutes))
        if instant is not None:
            is_certain = _is_certain(text, match)
            found.append(Piece(match.start(), match.end(), instant=instant, is_certain=is_certain, is_explicit=True))
    return found


_CHANGING_SIGNS = "@+&=~<^"
"""Signs that make the day or the time after them another one, or none."""


def _is_certain(text: str, match: re.Match[str]) -> bool:
    """Whether nothing beside a day or a time makes it another one."""
    before = text[: match.start()]
    word = _word_before(text, match)
    if (
        (before.rstrip()[-1:] or " ") in _CHANGING_SIGNS
        or word in CHANGES
        or (word in SPANS and match["before"].lower().startswith("before"))
    ):
        return False
    return not (REPEATED.search(before[-100:]) or AFTER.match(text, match.end()))


_STARTS_WITH_NUMBER = re.compile(r"(?:the\s+)?\d{1,2}(?!\d)", re.IGNORECASE)
_ENDS_WITH_NUMBER = re.compile(rf"(?<![\d-])\d{{1,2}}{ORDINAL}?$", re.IGNORECASE)
_ENDS_WITH_MONTH = re.compile(rf"\s(?:{MONTH})$", re.IGNORECASE)
_STARTS_WITH_MONTH = re.compile(MONTH, re.IGNORECASE)
_COUNTED_DAY = re.compile(
    rf"(?:on\s+)?(?:(?:this|next|the)\s+)?(?:(?P<weekday>{DAY})|(?P<weekend>weekend)|today|tomorrow|tmrw)$",
    re.IGNORECASE,
)
_MOST_BEFORE = 40
"""Characters before a piece that are searched for what makes it one of several."""


def _is_one_of_several_days(text: str, match: re.Match[str]) -> bool:
    """Whether a number, a sign or a day beside a day makes it one of a list, the end of a range, or another day."""
    before = text[max(match.start() - _MOST_BEFORE, 0) : match.start()]
    day = match[0][len(match["before"]) :]
    has_preposition = bool(match["before"])
    if DATE_BEFORE.search(before):
        return True
    if _STARTS_WITH_NUMBER.match(day) and not has_preposition and NUMBER_BEFORE_DATE.search(before):
        return True
    if _STARTS_WITH_MONTH.match(day) and not has_preposition and NUMBER_BEFORE_MONTH.search(before):
        return True
    counted = _COUNTED_DAY.match(match[0])
    if counted and (SPAN_BEFORE.search(before) or _is_one_of_several_weekdays(before, counted)):
        return True
    if _ENDS_WITH_NUMBER.search(day):
        return bool(NUMBER_AFTER_NUMBER.match(text, match.end()))
    return bool(_ENDS_WITH_MONTH.search(day) and NUMBER_AFTER_MONTH.match(text, match.end()))


def _is_one_of_several_weekdays(before: str, counted: re.Match[str]) -> bool:
    """Whether `1st` or another weekday stands before a weekday or `weekend`."""
    weekday = counted["weekday"]
    if not (weekday or counted["weekend"]):
        return False
    number = NUMBER_BEFORE_WEEKDAY.search(before)
    if number and not number["month"]:
        return True
    if not weekday:
        return False
    is_short = len(weekday) <= len("thur")
    return bool(DAYS_BEFORE.search(before) or (is_short and SHORT_DAY_BEFORE.search(before)))


def _is_year(text: str, match: re.Match[str], times: Sequence[Piece]) -> bool:
    """Whether the last number of `24 dec 26` counts nothing: no noun follows."""
    return _is_beside(text, match, times) or is_apart(text, match.start(), match.end(), is_explicit=False)


def _word_before(text: str, match: re.Match[str]) -> str:
    """The word right before a match; of a very long one its end."""
    word = WORD_BEFORE.search(text, max(match.start() - 60, 0), match.start())
    return word[1].lower() if word else ""


_BARE = re.compile(rf"today|tomorrow|tmrw|{DAY}|(?:(?:this|the)\s+)?weekend|next\s+(?:week|month|year)", re.IGNORECASE)
_EXPLICIT = ("by", "on", "due", "is", "are", "no")


def _is_explicit(match: re.Match[str]) -> bool:
    """Whether a day can be nothing else at the beginning of a sentence: neither `monday` nor `end of month`, which may
    belong to the word after them."""
    before = match["before"].lower().split()
    if before:
        return before[0] in _EXPLICIT
    return not (_BARE.fullmatch(match[0]) or "end" in match[0].lower().split())


def _may_be_words(match: re.Match[str]) -> bool:
    """Whether `3 may` may be no day: neither a preposition nor a year, `th` or `of` says that it is one."""
    said = match[0].lower().split()
    return (
        match["month"].lower() in {"may", "mar", "march"}
        and len(said) == 2
        and all(word.isdecimal() or word == match["month"].lower() for word in said)
    )


def _closes(text: str, match: re.Match[str], times: Sequence[Piece]) -> bool:
    """Whether no word follows that a number such as `the 1st` may count."""
    follows = text[match.end() :].lstrip()
    return ends(text, match.end()) or follows[:1] in ",;" or _is_beside(text, match, times)


def _is_beside(text: str, match: re.Match[str], times: Sequence[Piece]) -> bool:
    """Whether a time stands beside a match."""
    day = Piece(match.start(), match.end())
    return any(touch(text, day, at) for at in near(times, day.start, day.end))


When = TypeVar("When", bound=date)


def within_calendar(read: Callable[..., When | None], *arguments: Any) -> When | None:
    """What it reads, if a task can be due then."""
    try:
        found = read(*arguments)
    except OverflowError:
        return None
    return found if found and EARLIEST <= found.year <= LATEST else None


def _is_a_word(text: str, match: re.Match[str], times: Sequence[Piece]) -> bool:
    """Whether `sat` and the like are no days here."""
    groups = match.groupdict()
    if (groups.get("day") or "").lower() not in WORDS_TOO or groups.get("which") or match["before"]:
        return False
    if _word_before(text, match) in SPEAKERS:
        return True
    return not (ends(text, match.end()) or _is_beside(text, match, times))


def ends(text: str, place: int) -> bool:
    """Whether nothing follows that was not understood."""
    return not text[place:].replace(MASK, "").strip(" .!?")


def times_in(text: str, is_date: bool) -> list[Piece]:
    found = []
    for pattern in (COMPILED_TIME_WITH_HALF, COMPILED_TIME, COMPILED_HOUR):
        for match in pattern.finditer(text):
            at = clock_time(match)
            if at is not None:
                has_half = bool(match["half"])
                found.append(
                    Piece(
                        match.start(),
                        match.end(),
                        at=at,
                        alone=Alone.ALWAYS if has_half or (is_date and match["minute"]) else when_alone(match),
                        is_explicit=True,
                        may_be_later=not has_half and 1 <= at.hour < 12 and not match["hour"].startswith("0"),
                        is_certain=_is_certain(text, match)
                        and not _is_counted(text, match)
                        and not _is_one_of_several_times(text, match),
                    )
                )
    for match in COMPILED_NOON.finditer(text):
        alone = Alone.ALWAYS if match["at"] else Alone.AT_THE_END
        is_certain = _is_certain(text, match)
        found.append(
            Piece(
                match.start(),
                match.end(),
                at=time(12),
                alone=alone,
                is_certain=is_certain,
                is_explicit=bool(match["at"]),
            )
        )
    for match in COMPILED_PART.finditer(text):
        part, is_certain = (match["part"] or NIGHT).lower(), _is_certain(text, match)
        found.append(
            Piece(
                match.start(),
                match.end(),
                at=PARTS[part],
                part=part,
                alone=Alone.AT_THE_END,
                is_certain=is_certain,
                is_bare=match[0].lower() in PARTS,
            )
        )
    return found


def _is_counted(text: str, match: re.Match[str]) -> bool:
    """Whether the word before makes a number something else than a time, such as a score, or one end of a range."""
    before = text[max(match.start() - 20, 0) : match.start()]
    is_plain = not (match["half"] or match["before"])
    return bool(RANGE_BEFORE.search(before) or (is_plain and _word_before(text, match) in COUNTS))


def _is_one_of_several_times(text: str, match: re.Match[str]) -> bool:
    """Whether a number beside a time makes it one of a list or the end of a range: `8 & 9am`, `9am to 11`."""
    before = text[max(match.start() - _MOST_BEFORE, 0) : match.start()]
    return bool(NUMBER_BEFORE_TIME.search(before) or NUMBER_AFTER_TIME.match(text, match.end()))


def follows_hour(text: str, start: int) -> bool:
    """Whether the number before a part of the day may be its hour: `7 tonight`."""
    hour = HOUR_BEFORE.search(text[max(start - _MOST_BEFORE, 0) : start])
    return bool(hour and not hour["counted"])


def largest(pieces: Sequence[Piece]) -> list[Piece]:
    """Without those that are part of another one, such as `tomorrow` in `the day after tomorrow`."""
    largest: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: (piece.start, -piece.end)):
        if not largest or piece.end > largest[-1].end:
            largest.append(piece)
    return largest


def near(pieces: Sequence[Piece], start: int, end: int) -> Sequence[Piece]:
    """Those of some pieces, which are in order and apart, that may touch what stands from start to end."""
    first = bisect_left(pieces, start - MOST_BETWEEN, key=lambda piece: piece.end)
    return pieces[first : bisect_right(pieces, end + MOST_BETWEEN, key=lambda piece: piece.start)]


def touch(text: str, one: Piece, other: Piece) -> bool:
    """Whether two pieces stand side by side."""
    first, second = (one, other) if one.start <= other.start else (other, one)
    if not first.end <= second.start <= first.end + MOST_BETWEEN:
        return False
    return _BETWEEN.fullmatch(text[first.end : second.start]) is not None


_IN_WORDS = re.compile(r"[\w\x01$€£&+/=*%<>~^\\]")
_NEXT_WORD = re.compile(r"[\w'\u2019]+")
_ENDS_SENTENCES = ".;:!?-\u2013\u2014"


def is_apart(text: str, start: int, end: int, *, is_explicit: bool) -> bool:
    """Whether a day or a time belongs to no word beside it.

    No word follows, or one that begins another part of the sentence. At the beginning of a sentence any word may follow
    what is explicit, and a verb what is not.
    """
    follows = text[end:].lstrip()
    if not _IN_WORDS.match(follows):
        return True
    next_word = _NEXT_WORD.match(follows)
    word = next_word[0].lower() if next_word else ""
    if word in FOLLOWERS:
        return True
    if word in ZONES:
        return False
    before = text[:start].replace(MASK, " ").rstrip()
    begins = not before or (before[-1] in _ENDS_SENTENCES and len(before) < start)
    return begins and (is_explicit or word in VERBS)
