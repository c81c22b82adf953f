"""Words and signs beside a day or a time that make it another one, or none."""

import re

from duely.tasks.quick.grammar import DAY, MONTH, NO_TIME, NUMBERS, ORDINAL

CHANGES = frozenset(
    {
        *("every", "each", "other", "another", "alternate", "any", "some", "most", "all", "both", "per"),
        *("last", "past", "previous", "prior", "earlier", "coming", "following"),
        *("except", "excluding", "but", "not", "no", "never", "without", "nor", "or", "than"),
        *("since", "from", "after", "between", "starting", "beginning", "effective", "of"),
        # Of other languages, in which the rest of the sentence is not read.
        *("um", "ab", "bis", "gegen", "nach", "vor", "las", "à", "às", "alle", "om"),
        *("around", "about", "approximately", "roughly"),
        *("to", "with", "like", "in", "into", "called", "named", "next", "this"),
        *("was", "is", "were", "are", "be", "been", "it's", "it\u2019s", "that's", "that\u2019s"),
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
REPEATED = re.compile(
    r"(?<!\w)(?:every|each)(?:[\s,]+(?:other|second|third|few|couple|of|and|\d+(?:st|nd|rd|th)?|hours?|days?|weekdays?"
    rf"|weekends?|weeks?|months?|years?|mornings?|afternoons?|evenings?|nights?|{DAY}))*[\s,]*$",
    re.IGNORECASE,
)
WORD_BEFORE = re.compile(r"(?<![\w'\u2019])([\w'\u2019]+)\s+$")
CONNECTOR = re.compile(
    r"\.?\s*(?:,|/|&|\+|~|>|\||\.{2,3}|\u2026|-|\u2013|\u2014|(?:,\s*)?(?:and|or|to|through|thru|till?|until))\s*",
    re.IGNORECASE,
)
RANGE_BEFORE = re.compile(r"(?:\d|\b(?:quarter|half|five|ten|twenty))\s*(?:to|-|\u2013|past)\s*$", re.IGNORECASE)
AFTER = re.compile(
    rf"\s+(?:after\s+next|of|or|(?:before|after|from)\s+(?:now|then|today|tomorrow|{DAY}))(?!\w)"
    rf"|\s+and\s+(?:\d|(?:a\s+)?half(?!\w))"
    r"|(?:\s+(?:and|or)\s+|\s*[&+/]\s*)(?:morning|afternoon|evening|night)(?!\w)"
    rf"|\s*,?\s+(?:the\s+)?\d{{1,2}}{ORDINAL}(?!\w)"
    rf"(?!\s+(?:of\s+)?(?:{MONTH})(?!\w))",
    re.IGNORECASE,
)
_SHORT_DAY = r"mo|tu|we|th|fr|sa|su"
_SIGN = r"[-/+&,\u2013\u2014]"
_LINK = r"\s{0,3}(?:[-/+&\u2013\u2014]|(?:,\s{0,3})?(?:and|or|to|thru|through|till?|until)(?!\w))\s{0,3}"
NUMBER_BEFORE_DATE = re.compile(
    rf"(?<![\w#.:])\d{{1,2}}{ORDINAL}?(?:{_LINK}|\s{{0,3}},\s{{0,3}}|\s{{1,3}})$", re.IGNORECASE
)
"""Before a day of a month, which makes it one of several: `3 & 4 June`, `5\u20138 dec`."""
NUMBER_BEFORE_MONTH = re.compile(rf"(?<![\w#.:])\d{{1,2}}{ORDINAL}?\.?\s{{1,3}}(?:of\s{{1,3}})?$", re.IGNORECASE)
"""Before a month and its day, which may be a day and its year: `24 Dec 25`."""
DATE_BEFORE = re.compile(
    rf"(?<!\w)(?:{DAY}|{MONTH})[.,]?\s{{1,3}}(?:the\s{{1,3}})?\d{{1,2}}{ORDINAL}?{_LINK}$", re.IGNORECASE
)
"""Before a day that is the end of a range: `fri 4 - sun 6 dec`."""
NUMBER_BEFORE_WEEKDAY = re.compile(
    rf"(?P<month>(?<!\w)(?:{MONTH})\.?\s{{1,3}})?(?<!\w)\d{{1,2}}{ORDINAL}\s{{1,3}}$", re.IGNORECASE
)
"""Before a weekday that is one of several in a month, as in `1st sunday`. With the month it is a date."""
SPAN_BEFORE = re.compile(
    rf"(?<!\w)(?:\d{{1,3}}|{'|'.join(NUMBERS)}|few|several|couple(?:\s{{1,3}}of)?)\s{{1,3}}"
    r"(?:days?|weeks?|fortnights?|months?|years?)\s{1,3}$",
    re.IGNORECASE,
)
"""Before a day that is counted from another one: `a week tomorrow`, `2 weeks monday`."""
DAYS_BEFORE = re.compile(rf"(?<![\w@])(?:(?:{DAY})s?|{_SHORT_DAY})\s{{0,3}}{_SIGN}\s{{0,3}}$", re.IGNORECASE)
SHORT_DAY_BEFORE = re.compile(rf"(?<![\w@])(?:{_SHORT_DAY}|(?:mon|wed|fri|sat|sun)s)\s{{1,3}}$", re.IGNORECASE)
"""Before a weekday in a list: `mo we fri`."""
NUMBER_AFTER_MONTH = re.compile(
    rf"(?:{_LINK}'?\d{{1,2}}|\s{{1,3}}['\u2019]?\d\d){ORDINAL}?(?!\w){NO_TIME}", re.IGNORECASE
)
"""After `24 dec`: another day, or a year that is over."""
NUMBER_AFTER_NUMBER = re.compile(
    rf"(?:{_LINK}|\s{{0,3}},\s{{0,3}}|\s{{1,3}})['\u2019]?\d{{1,2}}{ORDINAL}?(?!\w){NO_TIME}", re.IGNORECASE
)
"""After `June 3`: another day."""
NUMBER_BEFORE_TIME = re.compile(r"(?<![\w#.:])\d{1,2}\s{0,3}(?:[/&+]|(?:and|or)\s)\s{0,3}$", re.IGNORECASE)
NUMBER_AFTER_TIME = re.compile(
    rf"(?:{_LINK}|\s{{0,3}},\s{{0,3}}(?=\d{{1,2}}{_LINK}\d))\d{{1,2}}(?!\d|\s{{1,3}}(?:{MONTH})(?!\w))", re.IGNORECASE
)
"""Beside a time of day: another one, so that it is one of a list or the end of a range."""
HOUR_BEFORE = re.compile(
    r"(?P<counted>(?<!\w)(?:chapter|episode|level|lesson|page|part|season|unit)\s{1,3})?"
    r"(?<![\w#.,:])(?:1[0-2]|[1-9]|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\s{1,3}$",
    re.IGNORECASE,
)
"""Before a part of the day, of which it may be the hour: `7 tonight`. Not in `chapter 3 tonight`."""
SPANS = frozenset(
    {"minute", "minutes", "hour", "hours", "day", "days", "week", "weeks", "month", "months", "year", "years"}
    | {"morning", "evening", "night", "weekend", "eve"}
)
"""Words before `before friday` that make it another day."""
SPEAKERS = frozenset({"i", "he", "she", "we", "they", "who"})
"""Words after which `sat` and `wed` are verbs."""
FOLLOWERS = frozenset(
    {
        *("about", "with", "without", "to", "for", "at", "in", "into", "from", "via", "re", "regarding", "on", "as"),
        *("by", "near", "using", "during", "because", "if", "when", "while", "so", "then", "and", "but", "before"),
        *("until", "till", "after", "since", "the", "a", "an", "my", "our", "your", "his", "her", "their", "this"),
        *("that", "these", "those", "some", "it", "him", "them", "me", "us", "please", "again", "too", "also"),
        *("instead", "together", "sharp", "w"),
    }
)
"""Words that begin another part of the sentence, so that a day before them belongs to none: `call friday about it`."""
VERBS = frozenset(
    {
        *("add", "answer", "apply", "arrange", "ask", "bake", "begin", "book", "bring", "buy", "call", "cancel"),
        *(
            "clean",
            "collect",
            "confirm",
            "contact",
            "cook",
            "decide",
            "deliver",
            "discuss",
            "do",
            "don't",
            "don\u2019t",
        ),
        *("draft", "drop", "eat", "email", "fetch", "file", "fill", "find", "finish", "fix", "follow", "get", "give"),
        *("go", "install", "invite", "iron", "learn", "make", "meet", "message", "mow", "move", "order", "organise"),
        *(
            "organize",
            "pack",
            "pay",
            "phone",
            "pick",
            "post",
            "prepare",
            "print",
            "put",
            "read",
            "register",
            "remember",
        ),
        *("remind", "renew", "repair", "reply", "reschedule", "return", "ring", "schedule", "see", "sell", "send"),
        *("sign", "sort", "start", "submit", "take", "talk", "tell", "thank", "throw", "tidy", "try", "update"),
        *("upload", "vacuum", "wash", "water", "write"),
    }
)
"""Words for things to do that seldom name one: a day at the beginning may stand before them, `tomorrow call mum`."""
ZONES = frozenset(
    {
        *("utc", "gmt", "bst", "cet", "cest", "eet", "eest", "msk", "ist", "jst", "kst", "hkt", "sgt"),
        *("est", "edt", "et", "cst", "cdt", "ct", "mst", "mdt", "mt", "pst", "pdt", "pt", "aest", "aedt"),
    }
)
"""Time zones: a clock time before them is another one than that of the person's own zone."""
DAY_WORDS = re.compile(
    rf"""(?<![\w@]) (?:
        (?:mon|tues|wednes|thurs|fri|satur|sun)days?
        | (?:mon|wed|fri|sat|sun)s
        | (?:(?:{DAY})s?|{_SHORT_DAY}) \.?
            (?: \s{{0,3}} (?: {_SIGN} | [~>|] | \.{{2,3}} | (?:and|or|to)(?!\w) ) \s{{0,3}} | \s{{1,3}} )
            (?:(?:{DAY})s?|{_SHORT_DAY})
        | (?:mo|tu|th|fr|sa|su) \.? \s{{1,3}} (?:at\s{{1,3}})? \d{{1,2}} (?: [:.]\d\d | \s? [ap]\.?m )
        | (?:mo|di|mi|do|fr|sa|so) [-/+&\u2013] (?:mo|di|mi|do|fr|sa|so)
        | (?-i: [MTWF] (?: [-/+&,\u2013] (?:Th|Tu|Sa|Su|[MTWFS]) )+ | MWF | TTh | MTWThF? )
        | today | tomorrow | tonight | yesterday | weekends? | weekdays?
        | daily | weekly | fortnightly | monthly | quarterly | yearly | annually | nightly | hourly
        | new\s+year(?:['\u2019]?s)? | christmas | xmas | easter | thanksgiving | halloween
        | january | february | april | june | july | september | october | november | december
        | \d{{1,2}}(?:{ORDINAL}|\.)? \s+ (?:{MONTH}) | \d{{1,2}}{ORDINAL}
        | \d{{1,2}} [./] \d{{1,2}} (?: [./] \d{{0,4}} )? | \d{{1,2}} - \d{{1,2}} - \d{{2,4}}
        | \d{{4}} [./-] \d\d? [./-] \d\d?
        | heute | morgen | übermorgen | montag | dienstag | mittwoch | donnerstag | freitag | samstag
        | sonnabend | sonntag
        | aujourd['\u2019]hui | demain | lundi | mardi | mercredi | jeudi | vendredi | samedi | dimanche
        | hoy | mañana | lunes | martes | mi[eé]rcoles | jueves | viernes | s[aá]bado | domingo
        | oggi | domani | luned[iì] | marted[iì] | mercoled[iì] | gioved[iì] | venerd[iì] | sabato | domenica
        | hoje | amanhã | segunda | terça | quarta | quinta | sexta
        | vandaag | overmorgen | maandag | dinsdag | woensdag | donderdag | vrijdag | zaterdag | zondag
        | dziś | jutro | poniedziałek | wtorek | środa | czwartek | piątek | sobota | niedziela
    ) (?!\w)""",
    re.IGNORECASE | re.VERBOSE,
)
"""Words and numbers that say which day, also in other languages: beside them a time alone is not one of today."""
