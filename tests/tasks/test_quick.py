"""A task in one line: what is understood, and what stays in the title."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
import time_machine
from hypothesis import given, settings
from hypothesis import strategies as st

import contract
from cast import Api, alice, bob, faults, log_of, person
from duely.core.clock import rfc3339
from duely.tasks.models import Task
from duely.tasks.quick import MAX_TEXT, read_due, understand

NOW = datetime(2026, 11, 25, 14, 30, 15, 250_000, tzinfo=UTC)  # a Wednesday, 15:30 in Berlin
BERLIN = "Europe/Berlin"
HOME, OFFICE, TAX = (UUID(int=number) for number in (1, 2, 3))
CATEGORIES = {"home": HOME, "home office": OFFICE, "tax 2026": TAX, "strasse": HOME, "c++": TAX}


def read(text: str, now: datetime = NOW, zone: str = BERLIN) -> dict[str, Any]:
    """The fields, instants as Berlin's wall clock shows them."""
    found = dict(understand(text, CATEGORIES, now, zone).fields)
    due = found.get("due_date")
    if isinstance(due, datetime):
        found["due_date"] = f"{due.astimezone(ZoneInfo(zone)):%Y-%m-%d %H:%M}"
    elif due is not None:
        found["due_date"] = due.isoformat()
    return found


DAYS = {
    "today": "2026-11-25",
    "Today": "2026-11-25",
    "tomorrow": "2026-11-26",
    "tmrw": "2026-11-26",
    "day after tomorrow": "2026-11-27",
    "on friday": "2026-11-27",
    "Friday": "2026-11-27",
    "fri": "2026-11-27",
    "monday": "2026-11-30",
    "next monday": "2026-11-30",
    "next friday": "2026-12-04",
    "wednesday": "2026-12-02",
    "this wednesday": "2026-11-25",
    "this friday": "2026-11-27",
    "weekend": "2026-11-28",
    "this weekend": "2026-11-28",
    "in 3 days": "2026-11-28",
    "in a week": "2026-12-02",
    "in two weeks": "2026-12-09",
    "in 1 month": "2026-12-25",
    "in 3 months": "2027-02-25",
    "in a year": "2027-11-25",
    "next week": "2026-11-30",
    "next month": "2026-12-01",
    "next year": "2027-01-01",
    "end of month": "2026-11-30",
    "by end of the year": "2026-12-31",
    "2027-01-31": "2027-01-31",
    "on 2027-01-31": "2027-01-31",
    "31 jan": "2027-01-31",
    "24 dec": "2026-12-24",
    "24 December": "2026-12-24",
    "Dec 24": "2026-12-24",
    "december 24th": "2026-12-24",
    "24th of December 2027": "2027-12-24",
    "Jan 31, 2028": "2028-01-31",
    "sept 3": "2027-09-03",
    "nov 25": "2026-11-25",
    "29 feb": "2028-02-29",
    "due tomorrow": "2026-11-26",
    "by on friday": "2026-11-27",
    "before monday": "2026-11-30",
    "until  next   week": "2026-11-30",
}


@pytest.mark.parametrize("phrase", DAYS)
def test_days(phrase: str) -> None:
    for text in (f"Pay rent {phrase}", f"{phrase} pay rent", f"Pay {phrase}, rent"):
        found = read(text)
        assert found.pop("title").lower().replace(",", "") == "pay rent", text
        assert found == {"due_date": DAYS[phrase]}, text


LAST = {
    "the 30th": "2026-11-30",
    "on the 15th": "2026-12-15",
    "by the 31st": "2026-12-31",
    "5 may": "2027-05-05",
    "march 3": "2027-03-03",
}
"""Days only where no word follows that the number may count."""


@pytest.mark.parametrize("phrase", LAST)
def test_days_that_may_count_something_close_a_text(phrase: str) -> None:
    assert read(f"Pay rent {phrase}") == {"title": "Pay rent", "due_date": LAST[phrase]}
    assert read(f"{phrase}, pay rent") == {"title": "pay rent", "due_date": LAST[phrase]}
    assert read(f"Pay rent {phrase} at 9:30") == {"title": "Pay rent", "due_date": f"{LAST[phrase]} 09:30"}
    for text in (f"{phrase} chapters", f"Read {phrase} chapters"):
        assert read(text) == {"title": text}


TIMES = {
    "tomorrow 9am": "2026-11-26 09:00",
    "tomorrow at 9 am": "2026-11-26 09:00",
    "tomorrow 9:30pm": "2026-11-26 21:30",
    "tomorrow, 8 p.m.": "2026-11-26 20:00",
    "tomorrow at 14:30": "2026-11-26 14:30",
    "tomorrow 00:05": "2026-11-26 00:05",
    "tomorrow at 12am": "2026-11-26 00:00",
    "tomorrow at 12pm": "2026-11-26 12:00",
    "tomorrow at noon": "2026-11-26 12:00",
    "tomorrow midday": "2026-11-26 12:00",
    "tomorrow morning": "2026-11-26 09:00",
    "tomorrow in the afternoon": "2026-11-26 15:00",
    "tomorrow evening": "2026-11-26 18:00",
    "tomorrow night": "2026-11-26 20:00",
    "9am tomorrow": "2026-11-26 09:00",
    "at 9 tomorrow": "2026-11-26 09:00",
    "tomorrow at 18": "2026-11-26 18:00",
    "14:30 on friday": "2026-11-27 14:30",
    "friday 14:30": "2026-11-27 14:30",
    "on sat 10am": "2026-11-28 10:00",
    "sun 10:00": "2026-11-29 10:00",
    "24 dec 18:00": "2026-12-24 18:00",
    "2026-12-24 18:00": "2026-12-24 18:00",
    "tonight": "2026-11-25 20:00",
    "this evening": "2026-11-25 18:00",
    "at 16:00": "2026-11-25 16:00",
    "16:00": "2026-11-25 16:00",
    "15:30": "2026-11-26 15:30",  # it is over today
    "9am": "2026-11-26 09:00",
    "at noon": "2026-11-26 12:00",
    "in 30 minutes": "2026-11-25 16:00",
    "in an hour": "2026-11-25 16:30",
    "in half an hour": "2026-11-25 16:00",
    "in 2 hours": "2026-11-25 17:30",
    "in 9999 mins": "2026-12-02 14:09",
    "in 48 hrs": "2026-11-27 15:30",
    "tonight at 9": "2026-11-25 21:00",
    "at 9 tonight": "2026-11-25 21:00",
    "tonight 9:30": "2026-11-25 21:30",
    "tonight at 21:00": "2026-11-25 21:00",
    "tonight at 8pm": "2026-11-25 20:00",
    "tomorrow evening at 7": "2026-11-26 19:00",
    "tomorrow at 7 in the evening": "2026-11-26 19:00",
    "tomorrow night at 10": "2026-11-26 22:00",
    "friday afternoon at 3": "2026-11-27 15:00",
    "friday afternoon 3:15": "2026-11-27 15:15",
    "tomorrow morning at 8": "2026-11-26 08:00",
    "tomorrow morning at 6": "2026-11-26 06:00",
    "at 6 in the morning": "2026-11-26 06:00",
    "at 9 in the evening": "2026-11-25 21:00",
    "no later than tomorrow 9am": "2026-11-26 09:00",
    "the day after tomorrow at noon": "2026-11-27 12:00",
    "on the 24th of December at 18:00": "2026-12-24 18:00",
    "by the end of the month": "2026-11-30",
    "by the weekend": "2026-11-28",
}


@pytest.mark.parametrize("phrase", TIMES)
def test_times(phrase: str) -> None:
    for text in (f"Pay rent {phrase}", f"{phrase} pay rent"):
        found = read(text)
        assert found.pop("title").lower() == "pay rent", text
        assert found == {"due_date": TIMES[phrase]}, text


AS_THEY_ARE = [
    "I sat down",
    "Buy sun cream",
    "They wed in spring",
    "Good morning mail",
    "Buy 3 apples at 5 shops",
    "Dinner at 7",
    "Dinner at 20 places",
    "Today's news",
    "today\u2019s news",
    "path/today/x",
    "v1.2.2026-01-01",
    "x-today",
    "today-ish",
    "todays",
    "Pay 10.30 euro",
    "25:00 x",
    "9:75 x",
    "13pm x",
    "0am x",
    "x 2026-02-30",
    "x 31 feb",
    "x 29 feb 2027",
    "x 0000-01-01",
    "x 9999-01-01",
    "x the 32nd",
    "May I go",
    "March on",
    "In days of old",
    "in 3 boxes",
    "issue #12",
    "# not a category",
    "# home",
    "a#home",
    "bob@example.org",
    "@ noon",
    "! high",
    "!highest",
    "really!high",
    "!!",
    "#",
    "@",
    "tomorrow",
    "tomorrow 9am",
    "#home @bank !high tomorrow.",
    "!high",
]


WHOLE = [
    # what comes again
    "water plants every monday",
    "gym every other tuesday",
    "pay every 2nd friday",
    "stand-up every day at 9am",
    "take pills every morning",
    "back up each friday night",
    "clean every week on saturday",
    "call home every monday and thursday at 18:00",
    "report every 2 weeks on friday",
    # what is over
    "report of last friday",
    "notes from last monday",
    "minutes of previous tuesday",
    "photos from past weekend",
    "what happened since monday",
    # what is excluded or unsure
    "open except sunday",
    "not today",
    "anything but monday",
    "no meetings without friday",
    "friday or saturday",
    "call monday/tuesday",
    "later than tomorrow",
    "any friday",
    "some monday",
    # lists and ranges
    "gym monday and tuesday",
    "gym mon, wed, fri",
    "holiday monday to friday",
    "holiday from monday until friday",
    "open monday - thursday",
    "meeting 9am to 5pm",
    "shift 9am-5pm",
    "shift from 14:00 to 15:30",
    "class between 9am and 11am",
    "off starting monday",
    "vacation from friday",
    "cleared after monday",
    # what belongs to another word
    "Prepare the monday meeting",
    "Catch the 9am train",
    "Write my tuesday column",
    "our friday call",
    "the first monday in may",
    "third thursday of november",
    "friday of next week",
    "friday after next",
    "Black Friday sale",
    "Good Friday dinner",
    "Easter Monday lunch",
    "a Taco Tuesday party",
    "Good morning",
    # numbers that count something else
    "Read the 1st chapter",
    "the 3rd man",
    "work on the 2nd part",
    "Bible John 3:16",
    "John 8:28 again",
    "the score was 21:15",
    "he won 13:11",
    "lap time 12:34",
    "ratio 16:10",
    "Rule 3 may apply",
    "2 march bands",
    "wake me at 5",
    "wake me at 3:30",
    "half past 9am",
    "quarter to 9pm",
    "about 9am",
    "Meet at 9am in the evening",
    "High noon reloaded",
    # text in quotes
    'Read "tomorrow never dies"',
    'Watch "Friday Night Lights"',
    "Watch \u201cThe Day After Tomorrow\u201d",
    "Lies \u201eMontag um 9:30\u201c",
    "Lire \u00ab 24 dec \u00bb",
    "Listen to 'Friday I am in love'",
    "Listen to \u2018Blue monday\u2019",
    "Run `at 9am`",
    'Title "#home @bank !high"',
]
"""Sentences with words that are days, times or signs, and mean something else, or nothing for certain."""

PARTLY = {
    "Read 'Blue monday' tomorrow": ("Read 'Blue monday'", "2026-11-26"),
    'Buy "milk, tomorrow; bread" on friday': ('Buy "milk, tomorrow; bread"', "2026-11-27"),
    "it's dad's party tomorrow, don't forget": ("it's dad's party, don't forget", "2026-11-26"),
    'Unclosed "quote tomorrow': ('Unclosed "quote', "2026-11-26"),
    "Catch the 9am train tomorrow": ("Catch the 9am train", "2026-11-26"),
    "Notes of last friday, due next monday": ("Notes of last friday", "2026-11-30"),
    "Call each customer tomorrow": ("Call each customer", "2026-11-26"),
    "dinner tonight at 2": ("dinner at 2", "2026-11-25 20:00"),
    "dinner tonight at 9am": ("dinner at 9am", "2026-11-25 20:00"),
    "dentist tomorrow 3:30": ("dentist 3:30", "2026-11-26"),
    "dentist tomorrow at 5": ("dentist at 5", "2026-11-26"),
    "dentist tomorrow evening at 2": ("dentist at 2", "2026-11-26 18:00"),
    "dentist tomorrow at 2 in the evening": ("dentist at 2 in the evening", "2026-11-26"),
    "the score was 21:15, call tomorrow": ("the score was 21:15, call", "2026-11-26"),
    "Email tomorrow. Then call": ("Email. Then call", "2026-11-26"),
    "Email tomorrow .NET team": ("Email .NET team", "2026-11-26"),
    "Pay rent; tomorrow, 9am; call": ("Pay rent; call", "2026-11-26 09:00"),
    "Hello,, world tomorrow": ("Hello,, world", "2026-11-26"),
    "Talk for friday": ("Talk", "2026-11-27"),
    "Remind me tomorrow to call mom": ("Remind me to call mom", "2026-11-26"),
    "x \x00 y tomorrow": ("x \x00 y", "2026-11-26"),
}


@pytest.mark.parametrize("text", WHOLE)
def test_words_that_are_not_certain_stay_in_the_title(text: str) -> None:
    found = understand(text, CATEGORIES, NOW, BERLIN)
    assert (dict(found.fields), found.spans) == ({"title": text}, ())


@pytest.mark.parametrize("text", PARTLY)
def test_what_is_certain_is_taken_out_of_the_rest(text: str) -> None:
    title, due = PARTLY[text]
    assert read(text) == {"title": title, "due_date": due}


@pytest.mark.parametrize("text", AS_THEY_ARE)
def test_what_is_not_understood_or_leaves_no_title_stays_as_it_is(text: str) -> None:
    found = understand(text, CATEGORIES, NOW, BERLIN)
    assert found.fields == {"title": text}
    assert found.spans == ()


@pytest.mark.parametrize(
    "text, title, fields",
    [
        ("Pay rent #home", "Pay rent", {"category": HOME}),
        ("#Home Office clean up", "clean up", {"category": OFFICE}),
        ("clean #home   office, now", "clean, now", {"category": OFFICE}),
        ("#home  tomorrow call", "call", {"category": HOME, "due_date": "2026-11-26"}),
        ("file #tax 2026 papers", "file papers", {"category": TAX}),
        ("#STRASSE sweep", "sweep", {"category": HOME}),
        ("learn #c++ now", "learn now", {"category": TAX}),
        ("x #home #home office", "x #home", {"category": OFFICE}),
        ("x #home office #home", "x #home office", {"category": HOME}),
        ("x #garden", "x #garden", {}),
        ("x @bank @Bank @shop,", "x @Bank", {"tags": ["bank", "shop"]}),
        ("@one,@two x", "@two x", {"tags": ["one"]}),
        ("x !HIGH", "x", {"priority": "high"}),
        ("x !med y", "x y", {"priority": "medium"}),
        ("x !low !urgent", "x !low", {"priority": "urgent"}),
        ("x !low.", "x.", {"priority": "low"}),
        ("Prepare monday meeting tomorrow", "Prepare monday meeting", {"due_date": "2026-11-26"}),
        ("a  b \u00a0 tomorrow", "a b", {"due_date": "2026-11-26"}),
        ("run tomorrow @sport, !low.", "run.", {"due_date": "2026-11-26", "tags": ["sport"], "priority": "low"}),
        ("Email .NET team tomorrow", "Email .NET team", {"due_date": "2026-11-26"}),
        ("Was ist morgen?", "Was ist morgen?", {}),
        ("@today x", "x", {"tags": ["today"]}),
        ("call sat #home", "call", {"due_date": "2026-11-28", "category": HOME}),
        ("call at 9 @work", "call at 9", {"tags": ["work"]}),
        ("x in 2 hours tomorrow", "x in 2 hours tomorrow", {}),
        ("x tomorrow in 2 hours", "x tomorrow in 2 hours", {}),
    ],
)
def test_categories_tags_and_priorities(text: str, title: str, fields: dict[str, Any]) -> None:
    assert read(text) == {"title": title, **fields}


@pytest.mark.parametrize(
    "text, due",
    [
        ("tomorrow", date(2026, 11, 26)),
        ("Dec 2 3:30", datetime(2026, 12, 2, 2, 30, tzinfo=UTC)),
        ("tomorrow at 5:15", datetime(2026, 11, 26, 4, 15, tzinfo=UTC)),
        ("tomorrow at 5", None),
        ("every monday", None),
        ("last friday", None),
        ("monday and friday", None),
        ("tomorrow or so", None),
        ("", None),
    ],
)
def test_a_date_by_itself_is_read_as_a_whole(text: str, due: date | None) -> None:
    assert read_due(text, NOW, BERLIN) == due


def test_at_most_twenty_tags_of_fifty_characters() -> None:
    found = read("x " + " ".join(f"@t{number}" for number in range(22)))
    assert found == {"title": "x @t20 @t21", "tags": [f"t{number}" for number in range(20)]}
    assert read("x @" + "a" * 50)["tags"] == ["a" * 50]
    assert read("x @" + "a" * 51) == {"title": "x @" + "a" * 51}


@pytest.mark.parametrize(
    "now, zone, phrase, due",
    [
        (datetime(2026, 12, 31, 23, 30, tzinfo=UTC), BERLIN, "today", "2027-01-01"),
        (datetime(2026, 12, 31, 23, 30, tzinfo=UTC), "UTC", "next month", "2027-01-01"),
        (datetime(2027, 1, 31, 12, tzinfo=UTC), "UTC", "in a month", "2027-02-28"),
        (datetime(2028, 2, 29, 12, tzinfo=UTC), "UTC", "in a year", "2029-02-28"),
        (datetime(2026, 11, 29, 12, tzinfo=UTC), "UTC", "next monday", "2026-11-30"),
        (datetime(2026, 11, 29, 12, tzinfo=UTC), "UTC", "weekend", "2026-11-29"),
        (datetime(2026, 11, 30, 12, tzinfo=UTC), "UTC", "monday", "2026-12-07"),
        (datetime(2027, 1, 31, 12, tzinfo=UTC), "UTC", "the 30th", "2027-03-30"),
        (datetime(2027, 2, 1, 12, tzinfo=UTC), "UTC", "the 31st", "2027-03-31"),
        (datetime(2026, 3, 29, 0, 30, tzinfo=UTC), BERLIN, "today 02:30", "2026-03-29 03:30"),  # the clocks skip it
        (datetime(2026, 10, 24, 12, tzinfo=UTC), BERLIN, "tomorrow 02:30", "2026-10-25 02:30"),  # they show it twice
        (datetime(2026, 10, 25, 0, 30, tzinfo=UTC), BERLIN, "in 1 hour", "2026-10-25 02:30"),
        (datetime(9998, 12, 31, 12, tzinfo=UTC), "UTC", "today", "9998-12-31"),
        (datetime(9998, 12, 31, 12, tzinfo=UTC), "UTC", "31 dec 98", "9998-12-31"),
    ],
)
def test_at_the_edges_of_the_calendar(now: datetime, zone: str, phrase: str, due: str) -> None:
    assert read(f"x {phrase}", now, zone) == {"title": "x", "due_date": due}


def test_what_lies_beyond_the_calendar_is_no_day() -> None:
    late = datetime(9998, 12, 31, 12, tzinfo=UTC)
    for phrase in ("tomorrow", "next year", "next month", "in 999 years", "in 5 weeks", "in 9999 hours", "monday"):
        assert read(f"x {phrase}", late, "UTC") == {"title": f"x {phrase}"}, phrase


@given(
    st.text(max_size=60)
    | st.lists(
        st.sampled_from(
            [*DAYS, *TIMES, "#home", "#home office", "@x", "!high", ",", "milk", "é", "🎉", "\u2028", "at"]
        ),
        max_size=8,
    ).map(" ".join),
    st.integers(-2_000_000_000, 253_300_000_000),
    st.sampled_from([BERLIN, "UTC", "Pacific/Kiritimati", "America/Los_Angeles", "Africa/Monrovia"]),
)
@settings(deadline=None, max_examples=400, database=None)
def test_every_text_is_understood_somehow(text: str, seconds: int, zone: str) -> None:
    """Spans are in order, within the text and apart; what they hold is not in the title; nothing else is lost."""
    found = understand(text, CATEGORIES, datetime.fromtimestamp(seconds, UTC), zone)
    place = 0
    for span in found.spans:
        assert place <= span.start < span.end <= len(text)
        place = span.end
    rest = "".join(
        text[a:b]
        for a, b in zip([0, *(s.end for s in found.spans)], [*(s.start for s in found.spans), len(text)], strict=True)
    )
    words = [word.strip(",;.!?") for word in rest.split()]
    assert [word for word in words if word] == [
        w for word in found.fields["title"].split() if (w := word.strip(",;.!?"))
    ]
    due = found.fields.get("due_date")
    assert due is None or isinstance(due, date)
    assert found.fields.keys() == {"title"} | {span.field for span in found.spans}


# Over HTTP


@pytest.fixture
def as_documented() -> Iterator[None]:
    with contract.watch(), time_machine.travel(NOW):
        yield


@pytest.fixture
def api(db: None, as_documented: None) -> Api:
    return Api(person("berta", time_zone=BERLIN))


def category(api: Api, name: str) -> str:
    return str(api.post("categories/", {"name": name}).json()["id"])


def test_a_line_makes_a_task(api: Api) -> None:
    home = category(api, "Home")
    answer = api.post("tasks/quick/", {"text": "Pay rent tomorrow 9am #home @bank !high"})
    assert answer.status_code == 201
    task = answer.json()
    assert (
        task.items()
        >= {
            "title": "Pay rent",
            "due_date": "2026-11-26T08:00:00.000Z",
            "category": home,
            "tags": ["bank"],
            "priority": "high",
            "status": "pending",
            "version": 1,
        }.items()
    )
    assert answer.headers["Location"] == f"/api/v1/tasks/{task['id']}/"
    assert answer.headers["ETag"] == '"1"'
    assert api.get(f"tasks/{task['id']}/").json() == task
    assert [action for action, _ in log_of(api.user)][1:] == ["task.created"]
    whole_day = api.post("tasks/quick/", {"text": "Water the plants on friday"}).json()
    assert whole_day["due_date"] == "2026-11-27"


def test_a_preview_makes_nothing_and_says_what_is_understood(api: Api) -> None:
    home = category(api, "Home")
    text = "🎉 Pay rent tomorrow 9am #Home @bank @shop !HIGH"
    answer = api.post("tasks/quick/", {"text": text, "preview": True})
    assert answer.status_code == 200
    shown = answer.json()
    assert shown["title"] == "🎉 Pay rent"
    assert [(span["field"], span["value"], text[span["start"] : span["end"]]) for span in shown["spans"]] == [
        ("due_date", "2026-11-26T08:00:00.000Z", "tomorrow 9am"),
        ("category", home, "#Home"),
        ("tags", "bank", "@bank"),
        ("tags", "shop", "@shop"),
        ("priority", "high", "!HIGH"),
    ]
    assert all(span["text"] == text[span["start"] : span["end"]] for span in shown["spans"])
    assert (
        api.post("tasks/quick/", {"text": "milk on friday", "preview": True}).json()["spans"][0]["value"]
        == "2026-11-27"
    )
    assert not Task.objects.exists()
    assert [action for action, _ in log_of(api.user)] == ["category.created"]


def test_categories_are_my_own(api: Api) -> None:
    other = Api(bob())
    category(other, "Home")
    task = api.post("tasks/quick/", {"text": "Pay rent #home"}).json()
    assert (task["title"], task["category"]) == ("Pay rent #home", None)


def test_now_is_the_callers_own(db: None, as_documented: None) -> None:
    far = Api(person("kiri", time_zone="Pacific/Kiritimati"))
    assert far.post("tasks/quick/", {"text": "x today"}).json()["due_date"] == "2026-11-26"
    assert Api(alice()).post("tasks/quick/", {"text": "x today"}).json()["due_date"] == "2026-11-25"


@pytest.mark.parametrize(
    "body, field, code",
    [
        ({}, "text", "required"),
        ({"text": ""}, "text", "required"),
        ({"text": "  "}, "text", "required"),
        ({"text": "x" * (MAX_TEXT + 1)}, "text", "too_long"),
        ({"text": "x" * 256}, "text", "too_long"),
        ({"text": "a\nb"}, "text", "invalid_format"),
        ({"text": 5}, "text", "invalid_type"),
        ({"text": "x", "preview": "yes"}, "preview", "invalid_type"),
        ({"text": "x", "title": "y"}, "title", "unknown_field"),
    ],
)
def test_a_bad_body_is_refused(api: Api, body: dict[str, Any], field: str, code: str) -> None:
    answer = api.post("tasks/quick/", body)
    assert (answer.status_code, faults(answer)) == (400, {field: code})
    assert not Task.objects.exists()


def test_a_long_line_may_leave_a_short_title(api: Api) -> None:
    tags = " ".join(f"@{'t' * 45}{number:02}" for number in range(20))
    assert api.post("tasks/quick/", {"text": f"Pay rent {tags}"}).json()["title"] == "Pay rent"
    assert api.post("tasks/quick/", {"text": "x" * 1000, "preview": True}).json()["title"] == "x" * 1000


def test_a_retry_makes_no_second_task(api: Api) -> None:
    for _ in range(2):
        assert api.post("tasks/quick/", {"text": "x in 5 minutes"}, Idempotency_Key="k").status_code == 201
    (task,) = Task.objects.all()
    assert rfc3339(task.due_at) == rfc3339((NOW + timedelta(minutes=5)).replace(second=0, microsecond=0))
