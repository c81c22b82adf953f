"""When a task is due, out of the days and times in a text."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from duely.tasks.quick.grammar import HOURS, Alone
from duely.tasks.quick.pieces import (
    MOST_BETWEEN,
    Piece,
    days_in,
    ends,
    follows_hour,
    is_apart,
    largest,
    near,
    times_in,
    touch,
    within_calendar,
)
from duely.tasks.quick.spans import Span
from duely.tasks.quick.words import CONNECTOR, DAY_WORDS


def read_due(text: str, now: datetime, zone: str) -> date | None:
    """The day or instant that a text is as a whole, such as `jan 31 at 9:00`; None for anything else."""
    found = due_spans(text.strip(), now, zone, is_date=True)
    is_whole = found and (found[0].start, found[0].end) == (0, len(text.strip()))
    return found[0].value if is_whole else None


def due_spans(text: str, now: datetime, zone: str, *, is_date: bool = False) -> list[Span]:
    """When it is due: the last day with the time beside it, else the last time.

    is_date: the text is a date and no sentence, so `3:30` in it can only be half past three at night.
    """
    local = now.astimezone(ZoneInfo(zone))
    times = largest(times_in(text, is_date))
    days = _joined(text, largest(days_in(text, local, times)))
    times = [at for at in times if not at.is_bare or _follows_day(text, at, days)]
    unsure = _unsure(text, days, times)
    chosen = _last_day(text, [day for day in days if id(day) not in unsure], times, unsure)
    if not chosen and all(day.is_word for day in days) and not DAY_WORDS.search(text):
        chosen = _last_time(text, [at for at in times if id(at) not in unsure])
    value = _value(chosen, local) if chosen else None
    if value is None:
        return []
    start, end = _ends_of(chosen)
    if text[start - 1 : start] + text[end : end + 1] in ("()", "[]"):
        start, end = start - 1, end + 1
    return [Span(start, end, "due_date", value)]


def _last_day(text: str, days: Sequence[Piece], times: Sequence[Piece], unsure: set[int]) -> list[Piece]:
    """The last day that belongs to no other word, with the time beside it."""
    certain = [at for at in times if id(at) not in unsure]
    for day in sorted(days, key=lambda day: (-day.end, day.start)):
        chosen = _with_time(text, day, certain)
        if _is_apart(text, chosen, times):
            return chosen
    return []


def _last_time(text: str, times: Sequence[Piece]) -> list[Piece]:
    """The last time that counts without a day and belongs to no other word."""
    groups = [group for at in times if (group := _with_time(text, at, times))]
    alone = [group for group in groups if _stands_alone(text, group) and _is_apart(text, group, ())]
    return max(alone, key=lambda group: (_ends_of(group)[1], -_ends_of(group)[0]), default=[])


def _ends_of(pieces: Sequence[Piece]) -> tuple[int, int]:
    return min(piece.start for piece in pieces), max(piece.end for piece in pieces)


def _is_apart(text: str, chosen: Sequence[Piece], times: Sequence[Piece]) -> bool:
    """Whether these pieces belong to no word beside them; an unclear time after a day stays in the title."""
    start, end = _ends_of(chosen)
    has_part = any(piece.part for piece in chosen)
    has_clock = any(piece.at and not piece.part for piece in chosen)
    if has_part and not has_clock and follows_hour(text, start):
        return False
    for at in near(times, start, end):
        if at.start >= end and touch(text, Piece(start, end), at):
            end = at.end
    return is_apart(text, start, end, is_explicit=any(piece.is_explicit for piece in chosen))


def _follows_day(text: str, at: Piece, days: Sequence[Piece]) -> bool:
    return any(day.end <= at.start and touch(text, day, at) for day in near(days, at.start, at.end))


def _joined(text: str, days: Sequence[Piece]) -> list[Piece]:
    """The days, those as one that stand side by side and are the same: `friday, 4 december`."""
    joined: list[Piece] = []
    for day in days:
        both = _same_day(text, joined[-1], day) if joined else None
        if both:
            joined[-1] = both
        else:
            joined.append(day)
    return joined


def _same_day(text: str, one: Piece, other: Piece) -> Piece | None:
    """Two days as one, if they stand side by side and are the same. A weekday may be that of any date."""
    if one.day is None or other.day is None or other.start - one.end > MOST_BETWEEN:
        return None
    if text[one.end : other.start].replace(",", "", 1).strip():
        return None
    dated = other if one.is_weekday else one
    fits = (one.is_weekday is not other.is_weekday) and one.day.weekday() == other.day.weekday()
    if one.day != other.day and not (fits and dated.is_date):
        return None
    return replace(dated, start=one.start, end=other.end, is_certain=one.is_certain and other.is_certain)


def _unsure(text: str, days: Sequence[Piece], times: Sequence[Piece]) -> set[int]:
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
            are_days = kinds[id(one)] and kinds[id(other)]
            are_clock_times = not kinds[id(one)] and not kinds[id(other)] and not (one.part or other.part)
            contradict = (are_days or are_clock_times) and not text[one.end : other.start].strip()
            if contradict or (kinds[id(one)] is kinds[id(other)] and _are_connected(text, one, other)):
                spreading |= {id(one), id(other)}
            if not are_days and touch(text, one, other):
                beside[id(one)].add(id(other))
                beside[id(other)].add(id(one))
    pending = [*spreading]
    while pending:
        piece = pending.pop()
        pending += beside.pop(piece, ())
        spreading.add(piece)
    return unsure | spreading


def _are_connected(text: str, one: Piece, other: Piece) -> bool:
    """Whether two days or two times are parts of a list or a range."""
    between, begins = text[one.end : other.start], text[other.start : other.end].lower()
    if begins.startswith(("until", "till")):
        return not between.strip(" ,")
    return bool(CONNECTOR.fullmatch(between)) and not begins.startswith(("due", "by"))


def _with_time(text: str, piece: Piece, times: Sequence[Piece]) -> list[Piece]:
    """A day or a time with the clock time and the part of the day beside it. Empty when it is unclear."""
    chosen = [piece]
    if piece.instant is not None:
        return chosen
    for _ in range(2):
        start, end = min(one.start for one in chosen), max(one.end for one in chosen)
        whole = Piece(start, end)
        has_clock = any(one.at is not None and one.part is None for one in chosen)
        has_part = any(one.part is not None for one in chosen)
        beside = [
            other
            for other in near(times, start, end)
            if touch(text, whole, other) and not (has_part if other.part is not None else has_clock)
        ]
        chosen += sorted(beside, key=lambda other: (other.start < start, other.start - other.end))[:1]
    if _time_of(chosen) is None and len(chosen) > 1:
        # The clock time is unclear, or contradicts the part of the day: it stays in the title.
        if piece.day is None:
            return []
        rest = [one for one in chosen if one is not piece and one.part is not None and touch(text, piece, one)]
        return [piece, *rest]
    return chosen


def _time_of(chosen: Sequence[Piece]) -> time | None:
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


def _stands_alone(text: str, group: Sequence[Piece]) -> bool:
    """Whether a time counts without a day."""
    if _time_of(group) is None:
        return False
    if len(group) > 1 or group[0].alone is Alone.ALWAYS:
        return True
    return group[0].alone is Alone.AT_THE_END and ends(text, group[0].end)


def _value(chosen: list[Piece], local: datetime) -> date | None:
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
    return within_calendar(_instant, day, at, local.tzinfo)


def _instant(day: date, at: time, zone: tzinfo) -> datetime:
    return datetime.combine(day, at, zone).astimezone(UTC)
