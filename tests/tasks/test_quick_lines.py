"""Lines as people type them: what is understood, and that nothing else leaves the title."""

from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duely.tasks.quick import understand

NOW = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)  # a Wednesday, 15:30 in Berlin
BERLIN = "Europe/Berlin"
CATEGORIES = {"home": UUID(int=1), "home office": UUID(int=2)}
NAMES = {identifier: name for name, identifier in CATEGORIES.items()}

UNDERSTOOD = """
call mum tomorrow                       | call mum                        | 2026-11-26
tomorrow call mum                       | call mum                        | 2026-11-26
Tomorrow: call mum                      | call mum                        | 2026-11-26
tomorrow - call mum                     | call mum                        | 2026-11-26
Dentist: tomorrow 9am                   | Dentist                         | 2026-11-26 09:00
call mum - tomorrow                     | call mum                        | 2026-11-26
movie night at 9pm                      | movie night                     | 2026-11-25 21:00
movie night tomorrow                    | movie night                     | 2026-11-26
run tomorrow morning                    | run                             | 2026-11-26 09:00
call mum in the morning                 | call mum                        | 2026-11-26 09:00
tomorrow, call mum                      | call mum                        | 2026-11-26
on monday lunch with Bob                | lunch with Bob                  | 2026-11-30
monday 9am standup                      | standup                         | 2026-11-30 09:00
next friday gym                         | gym                             | 2026-12-04
call bob before friday and pay          | call bob and pay                | 2026-11-27
call mum tomorrow about the party       | call mum about the party        | 2026-11-26
meeting friday with bob                 | meeting with bob                | 2026-11-27
remind me tomorrow to call bob          | remind me to call bob           | 2026-11-26
lunch tues w/ bob                       | lunch w/ bob                    | 2026-12-01
send tomorrow the report                | send the report                 | 2026-11-26
call mum tomorrow please                | call mum please                 | 2026-11-26
call bob. tomorrow pay rent             | call bob. pay rent              | 2026-11-26
pay rent (tomorrow)                     | pay rent                        | 2026-11-26
pay rent (due friday 9am), call bob     | pay rent, call bob              | 2026-11-27 09:00
(call mum tomorrow)                     | (call mum)                      | 2026-11-26
pay before friday                       | pay                             | 2026-11-27
pay until monday                        | pay                             | 2026-11-30
pay by monday                           | pay                             | 2026-11-30
rent is due friday                      | rent                            | 2026-11-27
lunch at noon tomorrow                  | lunch                           | 2026-11-26 12:00
lunch at noon                           | lunch                           | 2026-11-26 12:00
call 9.30am                             | call                            | 2026-11-26 09:30
tomorrow 9am sharp                      | sharp                           | 2026-11-26 09:00
finish in 2 days' time                  | finish                          | 2026-11-27
finish in a week's time                 | finish                          | 2026-12-02
finish in 2 days time                   | finish                          | 2026-11-27
party friday, 4 december                | party                           | 2026-12-04
party Fri 4 Dec at 18:00                | party                           | 2026-12-04 18:00
party friday the 4th                    | party                           | 2026-12-04
party 4 december, friday                | party                           | 2026-12-04
call thursday 2026-11-26                | call                            | 2026-11-26
24 dec dinner                           | dinner                          | 2026-12-24
dinner 24 dec for mum                   | dinner for mum                  | 2026-12-24
2026-12-24 backup                       | backup                          | 2026-12-24
dinner friday at mum's                  | dinner at mum's                 | 2026-11-27
prepare monday meeting tomorrow         | prepare monday meeting          | 2026-11-26
today read the today show's script      | read the today show's script    | 2026-11-25
read 1984 tomorrow                      | read 1984                       | 2026-11-26
buy sat nav on sat                      | buy sat nav                     | 2026-11-28
watch 12 monkeys at 9pm                 | watch 12 monkeys                | 2026-11-25 21:00
fix #12 tomorrow                        | fix #12                         | 2026-11-26
C# course tomorrow                      | C# course                       | 2026-11-26
mail bob@example.org tomorrow           | mail bob@example.org            | 2026-11-26
read http://x.org/#today tomorrow       | read http://x.org/#today        | 2026-11-26
tomorrow https://x.org/a                | tomorrow https://x.org/a        |
report tomorrow eod                     | report tomorrow eod             |
meet @bank @shop tomorrow               | meet                            | 2026-11-26 | @bank @shop
@one,@two milk                          | @two milk                       |            | @one
see https://x.org/?a=@me !high          | see https://x.org/?a=@me        |            | !high
#home office tidy up on friday          | tidy up                         | 2026-11-27 | #home office
buy milk #home, !low                    | buy milk                        |            | #home !low
meet bob @9am tomorrow                  | meet bob @9am                   | 2026-11-26
dinner @home tomorrow                   | dinner                          | 2026-11-26 | @home
# a year of two digits
party 31 Dec 26                         | party                           | 2026-12-31
buy gifts by 24 Dec 26                  | buy gifts                       | 2026-12-24
invoice due 15 Jan 27                   | invoice                         | 2027-01-15
dinner 24th Dec '26 7pm                 | dinner                          | 2026-12-24 19:00
dinner 24 Dec 26, 7pm                   | dinner                          | 2026-12-24 19:00
invoice 1 of March 27 for Bob           | invoice for Bob                 | 2027-03-01
pay (15 Jan 27)                         | pay                             | 2027-01-15
31 Dec 26 pay rent                      | pay rent                        | 2026-12-31
dinner 24 dec 18:30                     | dinner                          | 2026-12-24 18:30
dinner 24 dec 10 pm                     | dinner                          | 2026-12-24 22:00
dinner Dec 24 10 pm                     | dinner                          | 2026-12-24 22:00
dinner 24 dec. 2026                     | dinner                          | 2026-12-24
dinner 24 dec. then sleep               | dinner. then sleep              | 2026-12-24
# a weekday beside its date
party Thursday 24th December at 7pm     | party                           | 2026-12-24 19:00
party Thursday, the 24th of December    | party                           | 2026-12-24
party December 4th friday               | party                           | 2026-12-04
# signs and words around a day
deadline friday: thesis                 | deadline: thesis                | 2026-11-27
thesis [due 2026-12-10]                 | thesis                          | 2026-12-10
thesis (at the weekend), then rest      | thesis, then rest               | 2026-11-28
mow lawn at the weekend                 | mow lawn                        | 2026-11-28
rest over the weekend                   | rest                            | 2026-11-28
submit friday :)                        | submit :)                       | 2026-11-27
# numbers that belong to the title
book table for 2 tonight at 8           | book table for 2                | 2026-11-25 20:00
read chapter 3 tonight                  | read chapter 3                  | 2026-11-25 20:00
take bus 12 9:30am                      | take bus 12                     | 2026-11-26 09:30
read chapter 3, friday                  | read chapter 3                  | 2026-11-27
play FIFA 23 tonight                    | play FIFA 23                    | 2026-11-25 20:00
June 3, 9am dentist                     | dentist                         | 2027-06-03 09:00
dentist the 15th, 9am                   | dentist                         | 2026-12-15 09:00
dinner 24 dec, 5 people                 | dinner, 5 people                | 2026-12-24
work 2 days by friday                   | work 2 days                     | 2026-11-27
pay day friday                          | pay day                         | 2026-11-27
gym mon 7am                             | gym                             | 2026-11-30 07:00
call Mo friday 7am                      | call Mo                         | 2026-11-27 07:00
alarm at 6 in the morning               | alarm                           | 2026-11-26 06:00
"""
"""line | title | due | signs. A line that is its own title shows where the understanding ends."""

WHOLE = """
# a day or a time before a noun belongs to it
buy 3 monday papers
monday papers
mon ami
sat nav
sun cream
buy sun cream
today show
watch today show
tomorrow never dies
tomorrow people
plan tomorrow world
pay friday rent
friday night lights
call monday morning quarterback
weekend plans
next year budget
this weekend trip
end of month report
prepare slides for friday meeting
prepare slides before friday meeting
before monday meeting prepare slides
work on monday report
catch 9am train
buy 16:10 monitor
review 2026-12-01 report
tax 24 dec form
noon walk
midnight snack
plan movie night
good morning
# a day that something beside it changes
every other day
water the plants every day at 9am
gym mondays at 9am
daily standup 9:30
second monday of june
the first of may
may the fourth
may the fourth be with you
friday 13th at 13:13
party friday the 13th
friday 13th
next next friday gym
next next friday
call friday next week
party monday 4 december
party tomorrow friday
move the meeting to friday
talk to friday
talk about tomorrow
thank god it is friday
thank god it's friday
the deadline was monday
call in 2 hours tomorrow
in 2 days or so call bob
in 2 weeks and 3 days call bob
call in 2 days from friday
call bob the day before friday
two weeks before tomorrow
call friday or later
trip next weekend
yesterday 9am
not tomorrow
sale except friday
i sat
they wed
sit in sun
# times that mean something else, or another day
9 to 5
watch 9 to 5
24/7 support
24/7 support at 9am
3.14 pie
1/2 cup sugar
at 5 guys
lunch at 5 guys
5pm-6pm meeting
5pm - 6pm meeting
open 9am until 5pm
dentist 4. dec 14:30
new year's eve party 8pm
meeting 5pm to 6pm
tomorrow 9am-5pm
call at 9am EST
9am PST call with bob
call 9:30 CET
john 3:16
party at midnight
report by eod
eod report
meet bob @5pm
meet bob @ 5pm
12 monkeys
read 1984
ocean's 11
call mum at home
monday meeting at 9am
# dates and days of elsewhere
3.12. Zahnarzt
3.12. 14:30 Zahnarzt
12/25 party
12/25 9am party
party 25.12.2026
party 25.12.2026 18:00
party 2026/12/24 18:00
Zahnarzt Montag 9:30
Montag 14:30 Zahnarzt
rendez-vous lundi 14:30
cita mañana 14:30
Treffen morgen
Treffen um 9am
cita a las 9am
Arzt am Freitag
dentist 14h30
release 2026-12-24T10:00
release 2026-12-24T10:00Z
wed in spring
# signs that belong to something else
http://x.org/#tomorrow
https://x.org/today
see http://x.org/a,tomorrow
www.tomorrow.org/tomorrow
http://x.org/?when=tomorrow&at=9am
mail tomorrow@example.org
mail bob@tomorrow
ask @bob@example.org
fix a#home
#tomorrow
learn C#
learn f# basics
#1 priority
fix #12
!important fix
fix !important rule
a !high-level talk
x!high
10@5
tomorrow's world
x=tomorrow
due:tomorrow
tomorrow_x
(monday papers)
run `date -d tomorrow`
read "monday papers"
'tomorrow never dies' night
$tomorrow
C:\\tomorrow
~/today
*today*
<today>
monday/tuesday
monday & tuesday
# several days beside one time
gym mon-fri 7am
gym Mon/Wed/Fri 6:30am
class Tue/Thu 18:30
run sat&sun 9am
shift mon+tue 22:00
gym M-F 7am
gym MWF 7am
gym TTh 7am
gym M/W/F 7am
yoga Mo-Fr 7am
yoga mo we fr 7am
yoga mo we fri 7am
yoga Mo, We, Fri 7am
yoga tu/th 18:00
yoga mo+fri 7am
on mons 7am
gym weds 7am
Mo–Fr 7am
Treffen Mo/Do 9:30
mon. - fri. 9am
Mon., Wed. 9am
mon|wed 9am
mon~fri 9am
dentist Th 9am
dentist next mo at 9am
we sat 9am
open sat – sun 10am
# several dates
3 & 4 June
trip 3 and 4 June
trip 3, 4 and 5 June
trip 3, 4 June
trip 3 4 June
trip between 3 and 5 June
trip 5–8 dec
trip 5 – 8 dec
trip fri 4 – sun 6 dec
trip fri 4 and sun 6 dec
trip dec 5 until 8 dec
conference, monday, until wednesday
fair tuesday, until thursday
Oct 5 & 6 trip
June 3, 4
trip June 3 4 5
trip June 3 + 4
trip June 3 - 5
trip June 3 to 5
trip 24 dec & 26
trip 24 dec + 26
trip 24 dec - 26
trip 1st and the 15th
trip the 15th & 20th
trip 8th/9th June
gift for 24 Dec 25
24 Dec 25 gift
24 dec 26 boxes
born 5 June 85
dinner Dec 24 26
# one of several days in a month, or a day counted from another
visit 1st sunday
dentist 3rd monday 9am
pay day 1st tuesday
clean 2nd weekend
dentist the 4th friday
party a week tomorrow
party a week today
party a week on tuesday
party two weeks tomorrow
party 2 weeks monday
party three weeks on monday 9am
party a fortnight friday
party a couple of days tomorrow
party a few weeks sunday
# a bare hour without a day, or with a part of the day
sell at 20
set oven at 20
buy AAPL at 15
flat white at 8
meet at 12
see you at 9, Bob
call 7 tonight
call seven tonight
call 5-7 tonight
call 7 this evening
call 7 tomorrow evening
# several times
meds 8am + 8pm
meds 8am+8pm
meds 8am & 8pm
meds 8:00 14:00 20:00
meds 8am 8pm
meds 8am, 2 & 8pm
meds 8 & 11am
meds 8 or 9am
meds 9am & 11
meds 9am / 11
meeting 9am - 11
meeting 9am to 11
meeting tomorrow 9am 10am
meeting tomorrow 9am until 11
shop 9am ... 11am
meds morning & evening
meds tomorrow morning and evening
meds tomorrow morning/evening
"""
"""Lines in which nothing is certain."""


def rows(table: str) -> list[str]:
    return [row for row in table.strip().splitlines() if not row.startswith("# ")]


def read(line: str) -> tuple[str, str, str]:
    """Title, due date on Berlin's clocks, and signs."""
    fields = dict(understand(line, CATEGORIES, NOW, BERLIN).fields)
    due = fields.get("due_date", "")
    if isinstance(due, datetime):
        due = f"{due.astimezone(ZoneInfo(BERLIN)):%Y-%m-%d %H:%M}"
    signs = [f"#{NAMES[fields['category']]}"] if "category" in fields else []
    signs += [f"@{tag}" for tag in fields.get("tags", ())]
    signs += [f"!{fields['priority']}"] if "priority" in fields else []
    return fields["title"], str(due), " ".join(signs)


@pytest.mark.parametrize("row", rows(UNDERSTOOD))
def test_a_certain_day_leaves_the_title(row: str) -> None:
    line, *expected = (cell.strip() for cell in row.split("|"))

    assert list(read(line)) == [*expected, ""][:3]


@pytest.mark.parametrize("line", rows(WHOLE))
def test_a_line_without_a_certain_day_stays_whole(line: str) -> None:
    assert read(line) == (line, "", "")


WORDS = sorted({word for table in (UNDERSTOOD, WHOLE) for row in rows(table) for word in row.split("|")[0].split()})
SIGNS = " \u00a0,;:.!?()-\u2013\u2014"
"""Blanks and signs that may leave a line together with what stood beside them."""


@pytest.mark.slow
@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=12).map(" ".join))
@settings(deadline=None, max_examples=500, database=None)
def test_title_and_spans_hold_all_characters_of_a_line(line: str) -> None:
    read_line = understand(line, CATEGORIES, NOW, BERLIN)

    rest = "".join(
        sign for place, sign in enumerate(line) if not any(span.start <= place < span.end for span in read_line.spans)
    )
    title = str(read_line.fields["title"])
    assert [sign for sign in rest if sign not in SIGNS] == [sign for sign in title if sign not in SIGNS]
    assert len(rest) - len(title) <= 3 * (len(read_line.spans) + 1) * 2
