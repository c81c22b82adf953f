"""The grammar of days and times: what they look like, and which ones they are."""

import calendar
import re
from collections.abc import Callable
from datetime import date, time, timedelta
from enum import Enum, auto

from duely.tasks.rules import EARLIEST, LATEST

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

DAY = r"mon(?:day)?|tue(?:s(?:day)?)?|wed(?:nesday)?|thu(?:r(?:s(?:day)?)?)?|fri(?:day)?|sat(?:urday)?|sun(?:day)?"
MONTH = (
    r"jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?"
)
LONGEST_SHORT_YEAR = 20
_NUMBER = rf"\d{{1,3}}|{'|'.join(NUMBERS)}"
ORDINAL = r"(?:st|nd|rd|th)"
NO_TIME = r"(?!\s{0,3}(?:[:.]\d|[ap]\.?m(?!\w)|h(?!\w)|o['\u2019]clock))"
"""After a number: it is no time of day."""
_YEAR = rf"(?:(?:,|\.)? (?P<year>\d{{4}}|['\u2019]?\d\d{NO_TIME}))?"


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


def number_of(text: str) -> int:
    return NUMBERS[text.lower()] if text.lower() in NUMBERS else int(text)


def _later(match: re.Match[str], today: date) -> date | None:
    number, unit = number_of(match["number"]), match["unit"].lower()
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


def named_day(match: re.Match[str], today: date) -> date | None:
    """A day of a month; without a year, the next one.

    A year of two digits is one of this century, at most LONGEST_SHORT_YEAR years ahead.
    """
    month = next(index for index, name in enumerate(MONTHS, 1) if name.startswith(match["month"][:3].lower()))
    if has_short_year(match):
        day = _date(today.year // 100 * 100 + int(match["year"][-2:]), month, int(match["day"]))
        return day if day and today <= day and day.year <= today.year + LONGEST_SHORT_YEAR else None
    if match["year"]:
        return _date(int(match["year"]), month, int(match["day"]))
    found = (_date(year, month, int(match["day"])) for year in range(today.year, today.year + 9))
    return next((day for day in found if day and day >= today), None)


def has_short_year(match: re.Match[str]) -> bool:
    """Whether a day of a month has a year of two digits: `24 dec 26`."""
    return 0 < len(match["year"] or "") < 4


def iso_day(match: re.Match[str], today: date) -> date | None:
    return _date(int(match["year"]), int(match["month"]), int(match["day"]))


def ordinal_day(match: re.Match[str], today: date) -> date | None:
    """The next day with this number in a month."""
    firsts = (today.replace(day=1) + timedelta(days=31 * ahead) for ahead in range(4))
    found = (_date(first.year, first.month, int(match["day"])) for first in firsts)
    return next((day for day in found if day and day >= today), None)


def weekday_and_number(match: re.Match[str], today: date) -> date | None:
    """`friday the 4th`, when the next day with this number is a Friday."""
    day = ordinal_day(match, today)
    return day if day and WEEKDAYS[day.weekday()].startswith(match["weekday"][:3].lower()) else None


Day = Callable[[re.Match[str], date], date | None]
DAYS: tuple[tuple[str, Day], ...] = (
    (r"today", lambda _, today: today),
    (r"(?:the )?day after tomorrow", lambda _, today: today + timedelta(days=2)),
    (r"tomorrow|tmrw", lambda _, today: today + timedelta(days=1)),
    (rf"(?:(?P<which>this|next) )?(?P<day>{DAY})", _weekday),
    (
        r"(?:(?:this|(?:(?:at|over|during) )?the) )?weekend",
        lambda _, today: today + timedelta(days=max(5 - today.weekday(), 0)),
    ),
    (rf"in (?P<number>{_NUMBER}) (?P<unit>days?|weeks?|months?|years?)(?:(?:['\u2019]s?)? time)?", _later),
    (r"next (?P<period>week|month|year)", _next_period),
    (r"(?:the )?end of (?:the )?(?P<period>month|year)", _end_of_period),
    (r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)", iso_day),
    (rf"(?:the )?(?P<day>\d{{1,2}}){ORDINAL}?(?: of)? (?P<month>{MONTH}){_YEAR}", named_day),
    (rf"(?P<month>{MONTH}) (?P<day>\d{{1,2}}){ORDINAL}?(?:,? (?P<year>\d{{4}}))?", named_day),
    (rf"the (?P<day>\d{{1,2}}){ORDINAL}", ordinal_day),
    (rf"(?P<weekday>{DAY}),? (?:the )?(?P<day>\d{{1,2}}){ORDINAL}(?!(?: of)? (?:{MONTH}))", weekday_and_number),
)


# What a time of day looks like.


class Alone(Enum):
    """When a time counts without a day beside it."""

    ALWAYS = auto()
    AT_THE_END = auto()
    NEVER = auto()
    WITH_A_PART = auto()
    """Not even beside a day, unless morning or evening is beside it: from one to seven it may be either."""


def clock_time(match: re.Match[str]) -> time | None:
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    half = (match["half"] or "").lower()[:1]
    if half and not 1 <= hour <= 12:
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    return time(hour, minute) if hour < 24 and minute < 60 else None


def when_alone(match: re.Match[str]) -> Alone:
    """When a clock time counts that says neither am nor pm. `3:16` may be a verse, `at 5` morning or evening, and
    `at 20` a price."""
    hour, at, minute = match["hour"], match["at"], match["minute"]
    if hour in {"1", "2", "3", "4", "5", "6", "7"}:
        return Alone.WITH_A_PART
    if not minute:
        return Alone.NEVER
    return Alone.ALWAYS if at or len(hour) == 2 else Alone.NEVER


TIME_WITH_HALF = r"(?:at )?(?P<hour>\d{1,2})(?:[:.](?P<minute>\d\d))?\s*(?P<half>[ap]\.?m\b\.?)"
TIME = r"(?P<at>at )?(?P<hour>\d{1,2}):(?P<minute>\d\d)(?P<half>)"
HOUR = r"(?P<at>at )(?P<hour>\d|1\d|2[0-3])(?P<minute>)(?P<half>)"
NOON = r"(?P<at>at )?(?P<part>noon|midday)"
PART = r"(?:(?:in the )?(?P<part>morning|afternoon|evening)|(?:at )?(?P<night>night))"
# A day and a time in one, and a time from now.
TONIGHT = r"tonight|this (?P<part>morning|afternoon|evening)"
SOON = rf"in (?:(?P<half>half an) |(?P<number>{_NUMBER}|\d{{4}}) )(?P<unit>minutes?|mins?|hours?|hrs?)"
PREPOSITION = r"(?:(?:no later than|(?:is |are )?due|by|on|until|till|before|for) (?:on |by )?)?"


_PARTS_OF_WORDS = r"\w/\\@#&+=*%$€£<>~^_|{}\"'`\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb"


def _compiled(pattern: str) -> re.Pattern[str]:
    """With a preposition before it, blanks of any number in it, and nothing beside it that makes it part of another
    word, a path, an address or a quotation."""
    spaced = f"(?P<before>{PREPOSITION})(?:{pattern})".replace(" ", r"\s+")
    return re.compile(rf"(?<![{_PARTS_OF_WORDS}.:?!\-]){spaced}(?![{_PARTS_OF_WORDS}]|[.:?!\-]\w)", re.IGNORECASE)


COMPILED_DAYS = [(_compiled(pattern), read) for pattern, read in DAYS]
COMPILED_TIME_WITH_HALF, COMPILED_TIME = _compiled(TIME_WITH_HALF), _compiled(TIME)
COMPILED_HOUR, COMPILED_NOON, COMPILED_PART = _compiled(HOUR), _compiled(NOON), _compiled(PART)
COMPILED_TONIGHT, COMPILED_SOON = _compiled(TONIGHT), _compiled(SOON)
