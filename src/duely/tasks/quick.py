"""A task in one line of English: `Pay rent tomorrow 9am #home @bank !high`. No database, no clock.

What is not understood for certain stays in the title.
"""

import calendar
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from operator import add
from typing import Any, Literal, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from duely.tasks.rules import EARLIEST, LATEST, MAX_TAG_LENGTH, MAX_TAGS, Priority, folded

MAX_TEXT = 1000
MAX_NAME_WORDS = 10
MASK = "\x00"
"""Stands where something was understood already."""


Field = Literal["due_date", "category", "tags", "priority"]


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of the text, in characters from its beginning, and the field that it sets. `value` as a task has it."""

    start: int
    end: int
    field: Field
    value: Any


@dataclass(frozen=True, slots=True)
class Understood:
    """The fields of the task that a text stands for, `title` among them, and what they were read from."""

    fields: Mapping[str, Any]
    spans: tuple[Span, ...]


WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MONTHS = tuple(name.lower() for name in calendar.month_name[1:])
NUMBERS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "ten": 10}
PARTS = {"morning": time(9), "noon": time(12), "midday": time(12), "afternoon": time(15), "evening": time(18)}
NIGHT = time(20)
WORDS_TOO = frozenset({"wed", "sat", "sun"})
"""Short names of days that are also words: they count behind a preposition, before a time, or at the end."""

_DAY = r"mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:r(?:s(?:day)?)?)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?"
_MONTH = (
    r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?"
)
_NUMBER = rf"\d{{1,3}}|{'|'.join(NUMBERS)}"
_ORDINAL = r"(?:st|nd|rd|th)"


# The grammar: what a day looks like, and which one it is. `None` from a reading: it is no day after all.


def _weekday(match: re.Match[str], today: date) -> date:
    """The next such day after today; with `this`, today counts; with `next`, that of the week that begins on Monday."""
    number = next(index for index, name in enumerate(WEEKDAYS) if name.startswith(match["day"][:3].lower()))
    match (match["which"] or "").lower():
        case "next":
            return today + timedelta(days=7 - today.weekday() + number)
        case "this":
            return today + timedelta(days=(number - today.weekday()) % 7)
    return today + timedelta(days=(number - today.weekday() - 1) % 7 + 1)


def _number(text: str) -> int:
    return NUMBERS[text.lower()] if text.lower() in NUMBERS else int(text)


def _later(match: re.Match[str], today: date) -> date | None:
    number, unit = _number(match["number"]), match["unit"].lower()
    if unit.startswith("day"):
        return today + timedelta(days=number)
    if unit.startswith("week"):
        return today + timedelta(weeks=number)
    return _months_later(today, number if unit.startswith("month") else 12 * number)


def _months_later(day: date, number: int) -> date | None:
    """The same day of a later month, or its last one."""
    year, month = divmod(day.year * 12 + day.month - 1 + number, 12)
    return _date(year, month + 1, min(day.day, calendar.monthrange(year, month + 1)[1])) if year <= LATEST else None


def _next_period(match: re.Match[str], today: date) -> date | None:
    match match["period"].lower():
        case "week":
            return today + timedelta(days=7 - today.weekday())
        case "month":
            return _months_later(today.replace(day=1), 1)
    return _date(today.year + 1, 1, 1)


def _end_of_period(match: re.Match[str], today: date) -> date:
    if match["period"].lower() == "month":
        return today.replace(day=calendar.monthrange(today.year, today.month)[1])
    return today.replace(month=12, day=31)


def _date(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day) if EARLIEST <= year <= LATEST else None
    except ValueError:
        return None


def _named(match: re.Match[str], today: date) -> date | None:
    """A day of a month; without a year, the next one."""
    month = next(index for index, name in enumerate(MONTHS, 1) if name.startswith(match["month"][:3].lower()))
    if match["year"]:
        return _date(int(match["year"]), month, int(match["day"]))
    found = (_date(year, month, int(match["day"])) for year in range(today.year, today.year + 9))
    return next((day for day in found if day and day >= today), None)


def _ordinal(match: re.Match[str], today: date) -> date | None:
    """The next day with this number in a month."""
    firsts = (today.replace(day=1) + timedelta(days=31 * ahead) for ahead in range(4))
    found = (_date(first.year, first.month, int(match["day"])) for first in firsts)
    return next((day for day in found if day and day >= today), None)


Day = Callable[[re.Match[str], date], date | None]
DAYS: tuple[tuple[str, Day], ...] = (
    (r"today", lambda _, today: today),
    (r"day after tomorrow", lambda _, today: today + timedelta(days=2)),
    (r"tomorrow|tmrw", lambda _, today: today + timedelta(days=1)),
    (rf"(?:(?P<which>this|next) )?(?P<day>{_DAY})", _weekday),
    (r"(?:this )?weekend", lambda _, today: today + timedelta(days=max(5 - today.weekday(), 0))),
    (rf"in (?P<number>{_NUMBER}) (?P<unit>days?|weeks?|months?|years?)", _later),
    (r"next (?P<period>week|month|year)", _next_period),
    (r"end of (?:the )?(?P<period>month|year)", _end_of_period),
    (
        r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)",
        lambda match, _: _date(int(match["y"]), int(match["m"]), int(match["d"])),
    ),
    (rf"(?P<day>\d{{1,2}}){_ORDINAL}?(?: of)? (?P<month>{_MONTH})(?:,? (?P<year>\d{{4}}))?", _named),
    (rf"(?P<month>{_MONTH}) (?P<day>\d{{1,2}}){_ORDINAL}?(?:,? (?P<year>\d{{4}}))?", _named),
    (rf"the (?P<day>\d{{1,2}}){_ORDINAL}", _ordinal),
)


# What a time of day looks like. `stands alone`: it counts without a day beside it.


def _clock(match: re.Match[str]) -> time | None:
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    half = (match["half"] or "").lower()[:1]
    if half and not 1 <= hour <= 12:
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    return time(hour, minute) if hour < 24 and minute < 60 else None


Time = Callable[[re.Match[str]], time | None]
TIMES: tuple[tuple[str, Time, bool], ...] = (
    (r"(?:at )?(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?\s*(?P<half>[ap]\.?m\b\.?)", _clock, True),
    (r"(?:at )?(?P<hour>\d{1,2}):(?P<minute>\d\d)(?P<half>)", _clock, True),
    (r"(?:at )?(?P<part>noon|midday)", lambda match: PARTS[match["part"].lower()], True),
    # From one to seven it may be morning or evening.
    (r"at (?P<hour>0|[89]|1\d|2[0-3])(?P<minute>)(?P<half>)", _clock, False),
    (r"(?:in the )?(?P<part>morning|afternoon|evening)", lambda match: PARTS[match["part"].lower()], False),
    (r"(?:at )?night", lambda _: NIGHT, False),
)
# A day and a time in one, and a time from now.
TONIGHT = r"tonight|this (?P<part>morning|afternoon|evening)"
SOON = rf"in (?:(?P<half>half an) |(?P<number>{_NUMBER}|\d{{4}}) )(?P<unit>minutes?|mins?|hours?|hrs?)"
PREPOSITION = r"(?:(?:due|by|on|until|till|before|for) (?:on |by )?)?"


def _compiled(pattern: str) -> re.Pattern[str]:
    """With a preposition before it, blanks of any number in it, and nothing beside it that makes it another word."""
    spaced = f"(?P<before>{PREPOSITION})(?:{pattern})".replace(" ", r"\s+")
    return re.compile(rf"(?<![\w/.-]){spaced}(?![\w/'\u2019]|[.:-]\w)", re.IGNORECASE)


_DAYS = [(_compiled(pattern), read) for pattern, read in DAYS]
_TIMES = [(_compiled(pattern), read, alone) for pattern, read, alone in TIMES]
_TONIGHT, _SOON = _compiled(TONIGHT), _compiled(SOON)
_BETWEEN = re.compile(r"\s*,?\s*(?:and\s+)?")
_TAG = re.compile(r"(?<!\S)@([^\s@#!,\x00]+)")
_PRIORITY = re.compile(r"(?<!\S)!(low|medium|med|high|urgent)(?!\w)", re.IGNORECASE)
_CATEGORY = re.compile(r"(?<!\S)#(?=\S)")
_TRAILING = ".,;:!?)"


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of the text that is a day, a time or both."""

    start: int
    end: int
    day: date | None = None
    at: time | None = None
    instant: datetime | None = None
    stands_alone: bool = True


def category_names(text: str) -> dict[int, list[tuple[int, str]]]:
    """Where a category may be named: the place of each `#`, with the ends and the folded names that may follow, longest
    first."""
    found = {}
    for match in _CATEGORY.finditer(text):
        ends = [match.start() + word.end() for word in re.finditer(r"\S+", text[match.start() : match.start() + 300])]
        names = []
        for end in reversed(ends[:MAX_NAME_WORDS]):
            name = text[match.end() : end].rstrip(_TRAILING)
            names.append((match.end() + len(name), folded(" ".join(name.split()))))
        found[match.start()] = [(end, name) for end, name in names if name]
    return found


def understand(text: str, categories: Mapping[str, UUID], now: datetime, zone: str) -> Understood:
    """The task that a text stands for.

    categories: the caller's own among those that `category_names` asks for, by their folded names. now: aware, UTC.
    Of several days or categories the last one counts; the others stay in the title. A text in which everything was
    understood and nothing is left for a title is a title.
    """
    spans = [*_categories(text, categories)[-1:]]
    masked = _masked(text, spans)
    priorities = [*_PRIORITY.finditer(masked)][-1:]
    spans += [Span(match.start(), match.end(), "priority", _priority(match[1])) for match in priorities]
    spans += _tags(masked)
    masked = _masked(text, spans)
    spans += _due(masked, now, zone)
    spans.sort(key=lambda span: span.start)
    title = _tidied(_masked(text, spans).replace(MASK, " ")) if spans else " ".join(text.split())
    if not title.strip(".!?"):
        return Understood({"title": " ".join(text.split())}, ())
    fields: dict[str, Any] = {"title": title}
    for span in spans:
        if span.field == "tags":
            fields.setdefault("tags", []).append(span.value)
        else:
            fields[span.field] = span.value
    return Understood(fields, tuple(spans))


def _tidied(rest: str) -> str:
    """What is left for a title, without blanks and commas that stood between what was understood."""
    joined = re.sub(r"\s+(?=[,;.!?]+(?:\s|$))", "", " ".join(rest.split()))
    return re.sub(r"[,;]+(?=[,;.!?]|$)", "", joined).strip(" ,;")


def read_due(text: str, now: datetime, zone: str) -> date | None:
    """The day or instant that a text is as a whole, such as `jan 31 at 9:00`; None for anything else."""
    found = _due(text.strip(), now, zone)
    is_whole = found and (found[0].start, found[0].end) == (0, len(text.strip()))
    return found[0].value if is_whole else None


def _masked(text: str, spans: list[Span]) -> str:
    """The text with the same length, and nothing to read where something was understood."""
    for span in spans:
        text = text[: span.start] + MASK * (span.end - span.start) + text[span.end :]
    return text


def _categories(text: str, categories: Mapping[str, UUID]) -> list[Span]:
    found: list[Span] = []
    for start, names in category_names(text).items():
        named = next(((end, name) for end, name in names if name in categories), None)
        if named and (not found or found[-1].end <= start):
            found.append(Span(start, named[0], "category", categories[named[1]]))
    return found


def _priority(word: str) -> Priority:
    return Priority.MEDIUM if word.lower() == "med" else Priority(word)


def _tags(text: str) -> list[Span]:
    found: dict[str, Span] = {}
    for match in _TAG.finditer(text):
        tag = match[1].rstrip(_TRAILING)
        if 0 < len(tag) <= MAX_TAG_LENGTH and len(found) < MAX_TAGS and folded(tag) not in found:
            found[folded(tag)] = Span(match.start(), match.start() + 1 + len(tag), "tags", tag)
    return [*found.values()]


def _due(text: str, now: datetime, zone: str) -> list[Span]:
    """When it is due: the last day with the time beside it, else the last time."""
    local = now.astimezone(ZoneInfo(zone))
    times = _times(text)
    days = _days(text, local, times)
    chosen: list[_Piece] = []
    if days:
        day = max(days, key=lambda piece: (piece.end, -piece.start))
        beside = [piece for piece in times if day.at is None and day.instant is None and _touch(text, day, piece)]
        chosen = [day, *sorted(beside, key=lambda piece: (piece.start < day.start, piece.start - piece.end))[:1]]
    else:
        alone = [piece for piece in times if piece.stands_alone or _ends(text, piece.end)]
        chosen = sorted(alone, key=lambda piece: (piece.end, -piece.start))[-1:]
    value = _value(chosen, local) if chosen else None
    if value is None:
        return []
    start, end = min(piece.start for piece in chosen), max(piece.end for piece in chosen)
    return [Span(start, end, "due_date", value)]


def _value(chosen: list[_Piece], local: datetime) -> date | None:
    instant = next((piece.instant for piece in chosen if piece.instant), None)
    if instant is not None:
        return instant
    day = next((piece.day for piece in chosen if piece.day), None)
    at = next((piece.at for piece in chosen if piece.at is not None), None)
    if at is None:
        return day
    if day is None:
        is_over = datetime.combine(local.date(), at, local.tzinfo) <= local
        day = local.date() + timedelta(days=is_over)
    return _within_calendar(_instant, day, at, local.tzinfo)


def _instant(day: date, at: time, zone: tzinfo) -> datetime:
    return datetime.combine(day, at, zone).astimezone(UTC)


def _days(text: str, local: datetime, times: Sequence[_Piece]) -> list[_Piece]:
    found = []
    for pattern, read in _DAYS:
        for match in pattern.finditer(text):
            day = _within_calendar(read, match, local.date())
            if day is not None and not _is_a_word(text, match, times):
                found.append(_Piece(match.start(), match.end(), day=day))
    for match in _TONIGHT.finditer(text):
        at = PARTS[match["part"].lower()] if match["part"] else NIGHT
        found.append(_Piece(match.start(), match.end(), day=local.date(), at=at))
    for match in _SOON.finditer(text):
        minutes = 30 if match["half"] else _number(match["number"])
        if match["unit"].lower().startswith("h"):
            minutes = 30 if match["half"] else minutes * 60
        this_minute = local.replace(second=0, microsecond=0).astimezone(UTC)
        instant = _within_calendar(add, this_minute, timedelta(minutes=minutes))
        if instant is not None:
            found.append(_Piece(match.start(), match.end(), instant=instant))
    return found


When = TypeVar("When", bound=date)


def _within_calendar(read: Callable[..., When | None], *arguments: Any) -> When | None:
    """What it reads, if a task can be due then."""
    try:
        found = read(*arguments)
    except OverflowError:
        return None
    return found if found and EARLIEST <= found.year <= LATEST else None


def _is_a_word(text: str, match: re.Match[str], times: Sequence[_Piece]) -> bool:
    """Whether `sat` and the like are no days here."""
    groups = match.groupdict()
    if (groups.get("day") or "").lower() not in WORDS_TOO or groups.get("which") or match["before"]:
        return False
    if _ends(text, match.end()):
        return False
    day = _Piece(match.start(), match.end())
    return not any(_touch(text, day, piece) for piece in times)


def _ends(text: str, place: int) -> bool:
    """Whether nothing follows that was not understood."""
    return not text[place:].replace(MASK, "").strip(" .!?")


def _times(text: str) -> list[_Piece]:
    found = []
    for pattern, read, stands_alone in _TIMES:
        for match in pattern.finditer(text):
            at = read(match)
            if at is not None:
                found.append(_Piece(match.start(), match.end(), at=at, stands_alone=stands_alone))
    return found


def _touch(text: str, one: _Piece, other: _Piece) -> bool:
    """Whether two pieces stand side by side."""
    first, second = sorted((one, other), key=lambda piece: piece.start)
    return first.end <= second.start and _BETWEEN.fullmatch(text[first.end : second.start]) is not None
