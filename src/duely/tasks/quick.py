"""A task in one line of English: `Pay rent tomorrow 9am #home @bank !high`. No database, no clock.

What is not understood for certain stays in the title.
"""

import calendar
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import Enum, auto
from functools import reduce
from operator import add
from typing import Any, Literal, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from duely.tasks.rules import EARLIEST, LATEST, MAX_TAG_LENGTH, MAX_TAGS, Priority, folded

MAX_TEXT = 1000
MAX_NAME_WORDS = 10
MOST_BETWEEN = 30
"""Characters between two pieces of the text that are looked at together."""
MASK = "\x00"
"""Stands where something was understood already."""
QUOTED = "\x01"
"""Stands for text in quotes, which is read as nothing but text."""


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
NIGHT = "night"
PARTS[NIGHT] = time(20)
HOURS = {"morning": range(12), "afternoon": range(12, 19), "evening": range(16, 24), NIGHT: range(17, 24)}
"""The hours of a part of the day: `tonight at 9` can only be 21:00."""
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
    (r"(?:the )?day after tomorrow", lambda _, today: today + timedelta(days=2)),
    (r"tomorrow|tmrw", lambda _, today: today + timedelta(days=1)),
    (rf"(?:(?P<which>this|next) )?(?P<day>{_DAY})", _weekday),
    (r"(?:(?:this|the) )?weekend", lambda _, today: today + timedelta(days=max(5 - today.weekday(), 0))),
    (rf"in (?P<number>{_NUMBER}) (?P<unit>days?|weeks?|months?|years?)", _later),
    (r"next (?P<period>week|month|year)", _next_period),
    (r"(?:the )?end of (?:the )?(?P<period>month|year)", _end_of_period),
    (
        r"(?P<y>\d{4})-(?P<m>\d\d)-(?P<d>\d\d)",
        lambda match, _: _date(int(match["y"]), int(match["m"]), int(match["d"])),
    ),
    (rf"(?:the )?(?P<day>\d{{1,2}}){_ORDINAL}?(?: of)? (?P<month>{_MONTH})(?:,? (?P<year>\d{{4}}))?", _named),
    (rf"(?P<month>{_MONTH}) (?P<day>\d{{1,2}}){_ORDINAL}?(?:,? (?P<year>\d{{4}}))?", _named),
    (rf"the (?P<day>\d{{1,2}}){_ORDINAL}", _ordinal),
)


# What a time of day looks like.


class Alone(Enum):
    """When a time counts without a day beside it."""

    ALWAYS = auto()
    AT_THE_END = auto()
    NEVER = auto()
    WITH_A_PART = auto()
    """Not even beside a day, unless morning or evening is beside it: from one to seven it may be either."""


def _clock(match: re.Match[str]) -> time | None:
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    half = (match["half"] or "").lower()[:1]
    if half and not 1 <= hour <= 12:
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    return time(hour, minute) if hour < 24 and minute < 60 else None


def _alone(match: re.Match[str]) -> Alone:
    """What a clock time is that says neither am nor pm. `3:16` may be a verse, and `at 5` morning or evening."""
    hour, at, minute = match["hour"], match["at"], match["minute"]
    if hour in {"1", "2", "3", "4", "5", "6", "7"}:
        return Alone.WITH_A_PART
    if not minute:
        return Alone.AT_THE_END
    return Alone.ALWAYS if at or len(hour) == 2 else Alone.NEVER


TIME_WITH_HALF = r"(?:at )?(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?\s*(?P<half>[ap]\.?m\b\.?)"
TIME = r"(?P<at>at )?(?P<hour>\d{1,2}):(?P<minute>\d\d)(?P<half>)"
HOUR = r"(?P<at>at )(?P<hour>\d|1\d|2[0-3])(?P<minute>)(?P<half>)"
NOON = r"(?P<at>at )?(?P<part>noon|midday)"
PART = r"(?:(?:in the )?(?P<part>morning|afternoon|evening)|(?:at )?(?P<night>night))"
# A day and a time in one, and a time from now.
TONIGHT = r"tonight|this (?P<part>morning|afternoon|evening)"
SOON = rf"in (?:(?P<half>half an) |(?P<number>{_NUMBER}|\d{{4}}) )(?P<unit>minutes?|mins?|hours?|hrs?)"
PREPOSITION = r"(?:(?:no later than|due|by|on|until|till|before|for) (?:on |by )?)?"


def _compiled(pattern: str) -> re.Pattern[str]:
    """With a preposition before it, blanks of any number in it, and nothing beside it that makes it another word."""
    spaced = f"(?P<before>{PREPOSITION})(?:{pattern})".replace(" ", r"\s+")
    return re.compile(rf"(?<![\w/.-]){spaced}(?![\w/'\u2019]|[.:-]\w)", re.IGNORECASE)


_DAYS = [(_compiled(pattern), read) for pattern, read in DAYS]
_TIME_WITH_HALF, _TIME, _HOUR, _NOON, _PART = map(_compiled, (TIME_WITH_HALF, TIME, HOUR, NOON, PART))
_TONIGHT, _SOON = _compiled(TONIGHT), _compiled(SOON)

# What makes a day or a time another one, or none: what stands beside it is looked at only across blanks.

CHANGES = frozenset(
    {
        *("every", "each", "other", "another", "alternate", "any", "some", "most", "all", "both", "per"),
        *("last", "past", "previous", "prior", "earlier", "coming", "following"),
        *("except", "excluding", "but", "not", "no", "never", "without", "nor", "or", "than"),
        *("since", "from", "after", "between", "starting", "beginning", "effective", "of"),
        *("around", "about", "approximately", "roughly"),
        # They belong to what follows: "the monday meeting".
        *("the", "a", "an", "my", "our", "your", "his", "her", "their", "its", "whose", "that", "these", "those"),
        # One of several in a month, or the name of a day.
        *("first", "second", "third", "fourth", "fifth"),
        *("black", "good", "easter", "ash", "cyber", "super", "palm", "shrove", "fat", "casual", "blue", "taco"),
        *("giving", "long", "bloody", "freaky", "girl", "man", "high"),
    }
)
"""Words that make the day or the time after them another one, or none."""
COUNTS = frozenset(
    {
        *("was", "is", "were", "are", "be", "been", "won", "lost", "took", "ran", "past"),
        *("score", "scored", "result", "ratio", "lap", "record", "pace", "duration", "time"),
        *("verse", "verses", "chapter", "psalm", "psalms"),
    }
)
"""Words before numbers that are no times of day."""
_REPEATED = re.compile(
    r"(?<!\w)(?:every|each)(?:[\s,]+(?:other|second|third|few|couple|of|and|\d+(?:st|nd|rd|th)?|hours?|days?|weekdays?"
    rf"|weekends?|weeks?|months?|years?|mornings?|afternoons?|evenings?|nights?|{_DAY}))*[\s,]*$",
    re.IGNORECASE,
)
_WORD_BEFORE = re.compile(r"(?<![\w'\u2019])(\w+)\s+$")
_CONNECTOR = re.compile(
    r"\s*(?:,|/|&|-|\u2013|\u2014|(?:,\s*)?(?:and|or|to|through|thru|till?|until))\s*", re.IGNORECASE
)
_RANGE_BEFORE = re.compile(r"(?:\d|\b(?:quarter|half|five|ten|twenty))\s*(?:to|-|\u2013|past)\s*$", re.IGNORECASE)
_AFTER = re.compile(r"\s+(?:after\s+next|of)(?!\w)", re.IGNORECASE)
_QUOTED = re.compile(
    r'"[^"]+"|\u201c[^\u201d]+\u201d|\u201e[^\u201c\u201d]+[\u201c\u201d]|\u00ab[^\u00bb]+\u00bb|`[^`]+`'
    r"|(?<![\w'\u2019])['\u2018][^'\u2018\u2019]+['\u2019](?!\w)"
)
_BETWEEN = re.compile(r"\s*,?\s*(?:and\s+)?")
_TAG = re.compile(r"(?<!\S)@([^\s@#!,\x00]+)")
_PRIORITY = re.compile(r"(?<!\S)!(low|medium|med|high|urgent)(?!\w)", re.IGNORECASE)
_CATEGORY = re.compile(r"(?<!\S)#(?=\S)")
_TRAILING = ".,;:!?)"


@dataclass(frozen=True, slots=True)
class _Piece:
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
    unquoted = _QUOTED.sub(lambda quoted: QUOTED * len(quoted[0]), text)
    spans = [*_categories(unquoted, categories)[-1:]]
    masked = _masked(unquoted, spans)
    priorities = [*_PRIORITY.finditer(masked)][-1:]
    spans += [Span(match.start(), match.end(), "priority", _priority(match[1])) for match in priorities]
    spans += _tags(masked)
    spans += _due(_masked(unquoted, spans), now, zone)
    spans.sort(key=lambda span: span.start)
    title = _title(text, spans)
    if not title.strip(".!?"):
        return Understood({"title": " ".join(text.split())}, ())
    fields: dict[str, Any] = {"title": title}
    for span in spans:
        if span.field == "tags":
            fields.setdefault("tags", []).append(span.value)
        else:
            fields[span.field] = span.value
    return Understood(fields, tuple(spans))


_SEPARATORS = ",;" + "".join(sign for sign in map(chr, range(0x3001)) if sign.isspace())
_CLOSING = re.compile(r"[.!?]+(?:\s|$)")


def _title(text: str, spans: Sequence[Span]) -> str:
    """What is left for a title: the text as it is, joined where something was understood."""
    starts, ends = [span.start for span in spans], [span.end for span in spans]
    rest = [text[start:end] for start, end in zip([0, *ends], [*starts, len(text)], strict=True)]
    return " ".join(reduce(_joined, rest).split())


def _joined(left: str, right: str) -> str:
    """Two texts that something stood between, with at most one of the commas that stood beside it."""
    first, second = left.rstrip(_SEPARATORS), right.lstrip(_SEPARATORS)
    if not first or not second or _CLOSING.match(second):
        return first + second
    beside = left[len(first) :] + right[: len(right) - len(second)]
    sign = next((sign for sign in beside if sign in ",;"), "")
    return f"{first}{sign} {second}"


def read_due(text: str, now: datetime, zone: str) -> date | None:
    """The day or instant that a text is as a whole, such as `jan 31 at 9:00`; None for anything else."""
    found = _due(text.strip(), now, zone, is_date=True)
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


def _due(text: str, now: datetime, zone: str, *, is_date: bool = False) -> list[Span]:
    """When it is due: the last day with the time beside it, else the last time.

    is_date: the text is a date and no sentence, so `3:30` in it can only be half past three at night.
    """
    local = now.astimezone(ZoneInfo(zone))
    times = _largest(_times(text, is_date))
    days = _largest(_days(text, local, times))
    unsure = _unsure(text, days, times)
    days, times = ([piece for piece in pieces if id(piece) not in unsure] for pieces in (days, times))
    chosen: list[_Piece] = []
    if days:
        chosen = _with_time(text, max(days, key=lambda piece: (piece.end, -piece.start)), times)
    else:
        alone = [group for piece in times if (group := _with_time(text, piece, times)) and _stands_alone(text, group)]
        chosen = max(alone, key=lambda group: (max(p.end for p in group), -min(p.start for p in group)), default=[])
    value = _value(chosen, local) if chosen else None
    if value is None:
        return []
    start, end = min(piece.start for piece in chosen), max(piece.end for piece in chosen)
    return [Span(start, end, "due_date", value)]


def _largest(pieces: Sequence[_Piece]) -> list[_Piece]:
    """Without those that are part of another one, such as `tomorrow` in `the day after tomorrow`."""
    largest: list[_Piece] = []
    for piece in sorted(pieces, key=lambda piece: (piece.start, -piece.end)):
        if not largest or piece.end > largest[-1].end:
            largest.append(piece)
    return largest


def _unsure(text: str, days: Sequence[_Piece], times: Sequence[_Piece]) -> set[int]:
    """The ids of pieces that are no days and times for certain, by what stands beside them, and of those beside."""
    pieces = sorted((*days, *times), key=lambda piece: piece.start)
    kinds = {id(piece): is_day for is_day, several in ((True, days), (False, times)) for piece in several}
    unsure = {id(piece) for piece in pieces if piece.is_word or not piece.is_certain}
    spreading = {id(piece) for piece in pieces if not piece.is_certain}
    beside: dict[int, set[int]] = defaultdict(set)
    for number, one in enumerate(pieces):
        for other in pieces[number + 1 :]:
            if other.start - one.end > MOST_BETWEEN:
                break
            if other.start < one.end:
                continue
            if kinds[id(one)] is kinds[id(other)] and _are_connected(text, one, other):
                spreading |= {id(one), id(other)}
            if not (kinds[id(one)] and kinds[id(other)]) and _touch(text, one, other):
                beside[id(one)].add(id(other))
                beside[id(other)].add(id(one))
    pending = [*spreading]
    while pending:
        piece = pending.pop()
        pending += beside.pop(piece, ())
        spreading.add(piece)
    return unsure | spreading


def _are_connected(text: str, one: _Piece, other: _Piece) -> bool:
    """Whether two days or two times are parts of a list or a range."""
    between, begins = text[one.end : other.start], text[other.start : other.end].lower()
    if begins.startswith(("until", "till")):
        return not between.strip(" ,")
    return bool(_CONNECTOR.fullmatch(between)) and not begins.startswith(("due", "by"))


def _with_time(text: str, piece: _Piece, times: Sequence[_Piece]) -> list[_Piece]:
    """A day or a time with the clock time and the part of the day beside it. Empty when it is unclear."""
    chosen = [piece]
    if piece.instant is not None:
        return chosen
    for _ in range(2):
        start, end = min(one.start for one in chosen), max(one.end for one in chosen)
        whole = _Piece(start, end)
        has_clock = any(one.at is not None and one.part is None for one in chosen)
        has_part = any(one.part is not None for one in chosen)
        beside = [
            other
            for other in times
            if _touch(text, whole, other) and not (has_part if other.part is not None else has_clock)
        ]
        chosen += sorted(beside, key=lambda other: (other.start < start, other.start - other.end))[:1]
    if _time_of(chosen) is None and len(chosen) > 1:
        # The clock time is unclear, or contradicts the part of the day: it stays in the title.
        if piece.day is None:
            return []
        rest = [one for one in chosen if one is not piece and one.part is not None and _touch(text, piece, one)]
        return [piece, *rest]
    return chosen


def _time_of(chosen: Sequence[_Piece]) -> time | None:
    """The time of day that a clock time and a part of the day mean together; None without one, or an unclear one."""
    clock = next((one for one in chosen if one.at is not None and one.part is None), None)
    part = next((one for one in chosen if one.part is not None), None)
    if clock is None or clock.at is None:
        return part.at if part else None
    if part is None or part.part is None:
        return None if clock.alone is Alone.WITH_A_PART else clock.at
    hours = [clock.at.hour, *([clock.at.hour + 12] if clock.may_be_later else [])]
    fitting = [hour for hour in hours if hour in HOURS[part.part]]
    return clock.at.replace(hour=fitting[0]) if len(fitting) == 1 else None


def _stands_alone(text: str, group: Sequence[_Piece]) -> bool:
    """Whether a time counts without a day."""
    if _time_of(group) is None:
        return False
    if len(group) > 1 or group[0].alone is Alone.ALWAYS:
        return True
    return group[0].alone is Alone.AT_THE_END and _ends(text, group[0].end)


def _value(chosen: list[_Piece], local: datetime) -> date | None:
    instant = next((piece.instant for piece in chosen if piece.instant), None)
    if instant is not None:
        return instant
    day = next((piece.day for piece in chosen if piece.day), None)
    at = _time_of(chosen)
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
            if day is None:
                continue
            is_word = _is_a_word(text, match, times)
            needs_end = read is _ordinal or (read is _named and _may_be_words(match))
            is_certain = is_word or ((not needs_end or _closes(text, match, times)) and _is_certain(text, match))
            found.append(_Piece(match.start(), match.end(), day=day, is_certain=is_certain, is_word=is_word))
    for match in _TONIGHT.finditer(text):
        part, is_certain = (match["part"] or NIGHT).lower(), _is_certain(text, match)
        piece = _Piece(match.start(), match.end(), local.date(), PARTS[part], part, is_certain=is_certain)
        found.append(piece)
    for match in _SOON.finditer(text):
        minutes = 30 if match["half"] else _number(match["number"])
        if match["unit"].lower().startswith("h"):
            minutes = 30 if match["half"] else minutes * 60
        this_minute = local.replace(second=0, microsecond=0).astimezone(UTC)
        instant = _within_calendar(add, this_minute, timedelta(minutes=minutes))
        if instant is not None:
            is_certain = _is_certain(text, match)
            found.append(_Piece(match.start(), match.end(), instant=instant, is_certain=is_certain))
    return found


def _is_certain(text: str, match: re.Match[str]) -> bool:
    """Whether nothing beside a day or a time makes it another one."""
    before = text[: match.start()]
    word = _WORD_BEFORE.search(before[-60:])
    if word and word[1].lower() in CHANGES:
        return False
    return not (_REPEATED.search(before[-100:]) or _AFTER.match(text, match.end()))


def _may_be_words(match: re.Match[str]) -> bool:
    """Whether `3 may` may be no day: neither a preposition nor a year, `th` or `of` says that it is one."""
    said = match[0].lower().split()
    return (
        match["month"].lower() in {"may", "mar", "march"}
        and len(said) == 2
        and all(word.isdecimal() or word == match["month"].lower() for word in said)
    )


def _closes(text: str, match: re.Match[str], times: Sequence[_Piece]) -> bool:
    """Whether no word follows that a number such as `the 1st` may count."""
    day = _Piece(match.start(), match.end())
    follows = text[match.end() :].lstrip()
    return _ends(text, match.end()) or follows[:1] in ",;" or any(_touch(text, day, piece) for piece in times)


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


def _times(text: str, is_date: bool) -> list[_Piece]:
    found = []
    for pattern in (_TIME_WITH_HALF, _TIME, _HOUR):
        for match in pattern.finditer(text):
            at = _clock(match)
            if at is not None:
                has_half = bool(match["half"])
                found.append(
                    _Piece(
                        match.start(),
                        match.end(),
                        at=at,
                        alone=Alone.ALWAYS if has_half or (is_date and match["minute"]) else _alone(match),
                        may_be_later=not has_half and 1 <= at.hour < 12 and not match["hour"].startswith("0"),
                        is_certain=_is_certain(text, match) and not _is_counted(text, match),
                    )
                )
    for match in _NOON.finditer(text):
        alone = Alone.ALWAYS if match["at"] else Alone.AT_THE_END
        is_certain = _is_certain(text, match)
        found.append(_Piece(match.start(), match.end(), at=time(12), alone=alone, is_certain=is_certain))
    for match in _PART.finditer(text):
        part, is_certain = (match["part"] or NIGHT).lower(), _is_certain(text, match)
        at, alone = PARTS[part], Alone.AT_THE_END
        found.append(_Piece(match.start(), match.end(), at=at, part=part, alone=alone, is_certain=is_certain))
    return found


def _is_counted(text: str, match: re.Match[str]) -> bool:
    """Whether the word before makes a number something else than a time, such as a score, or one end of a range."""
    before = text[: match.start()]
    word = _WORD_BEFORE.search(before[-60:])
    is_plain = not (match["half"] or match["before"])
    return bool(_RANGE_BEFORE.search(before[-20:]) or (is_plain and word and word[1].lower() in COUNTS))


def _touch(text: str, one: _Piece, other: _Piece) -> bool:
    """Whether two pieces stand side by side."""
    first, second = (one, other) if one.start <= other.start else (other, one)
    if not first.end <= second.start <= first.end + MOST_BETWEEN:
        return False
    return _BETWEEN.fullmatch(text[first.end : second.start]) is not None
