"""The days and times in a text, and whether they can be nothing else."""

import re
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
    NIGHT,
    PARTS,
    WORDS_TOO,
    Alone,
    clock_time,
    named_day,
    number_of,
    ordinal_day,
    when_alone,
)
from duely.tasks.quick.spans import MASK
from duely.tasks.quick.words import AFTER, CHANGES, COUNTS, RANGE_BEFORE, REPEATED, WORD_BEFORE
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


def days_in(text: str, local: datetime, times: Sequence[Piece]) -> list[Piece]:
    found = []
    for pattern, read in COMPILED_DAYS:
        for match in pattern.finditer(text):
            day = within_calendar(read, match, local.date())
            if day is None:
                continue
            is_word = _is_a_word(text, match, times)
            needs_end = read is ordinal_day or (read is named_day and _may_be_words(match))
            is_certain = is_word or ((not needs_end or _closes(text, match, times)) and _is_certain(text, match))
            found.append(Piece(match.start(), match.end(), day=day, is_certain=is_certain, is_word=is_word))
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
            found.append(Piece(match.start(), match.end(), instant=instant, is_certain=is_certain))
    return found


def _is_certain(text: str, match: re.Match[str]) -> bool:
    """Whether nothing beside a day or a time makes it another one."""
    before = text[: match.start()]
    word = WORD_BEFORE.search(before[-60:])
    if word and word[1].lower() in CHANGES:
        return False
    return not (REPEATED.search(before[-100:]) or AFTER.match(text, match.end()))


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
    day = Piece(match.start(), match.end())
    follows = text[match.end() :].lstrip()
    return ends(text, match.end()) or follows[:1] in ",;" or any(touch(text, day, piece) for piece in times)


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
    if ends(text, match.end()):
        return False
    day = Piece(match.start(), match.end())
    return not any(touch(text, day, piece) for piece in times)


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
                        may_be_later=not has_half and 1 <= at.hour < 12 and not match["hour"].startswith("0"),
                        is_certain=_is_certain(text, match) and not _is_counted(text, match),
                    )
                )
    for match in COMPILED_NOON.finditer(text):
        alone = Alone.ALWAYS if match["at"] else Alone.AT_THE_END
        is_certain = _is_certain(text, match)
        found.append(Piece(match.start(), match.end(), at=time(12), alone=alone, is_certain=is_certain))
    for match in COMPILED_PART.finditer(text):
        part, is_certain = (match["part"] or NIGHT).lower(), _is_certain(text, match)
        at, alone = PARTS[part], Alone.AT_THE_END
        found.append(Piece(match.start(), match.end(), at=at, part=part, alone=alone, is_certain=is_certain))
    return found


def _is_counted(text: str, match: re.Match[str]) -> bool:
    """Whether the word before makes a number something else than a time, such as a score, or one end of a range."""
    before = text[: match.start()]
    word = WORD_BEFORE.search(before[-60:])
    is_plain = not (match["half"] or match["before"])
    return bool(RANGE_BEFORE.search(before[-20:]) or (is_plain and word and word[1].lower() in COUNTS))


def touch(text: str, one: Piece, other: Piece) -> bool:
    """Whether two pieces stand side by side."""
    first, second = (one, other) if one.start <= other.start else (other, one)
    if not first.end <= second.start <= first.end + MOST_BETWEEN:
        return False
    return _BETWEEN.fullmatch(text[first.end : second.start]) is not None
