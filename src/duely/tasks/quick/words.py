"""Words and signs beside a day or a time that make it another one, or none."""

import re

from duely.tasks.quick.grammar import DAY, MONTH, ORDINAL

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
    r"\s*(?:,|/|&|-|\u2013|\u2014|(?:,\s*)?(?:and|or|to|through|thru|till?|until))\s*", re.IGNORECASE
)
RANGE_BEFORE = re.compile(r"(?:\d|\b(?:quarter|half|five|ten|twenty))\s*(?:to|-|\u2013|past)\s*$", re.IGNORECASE)
AFTER = re.compile(
    rf"\s+(?:after\s+next|of|or|(?:before|after|from)\s+(?:now|then|today|tomorrow|{DAY}))(?!\w)"
    rf"|\s+and\s+(?:\d|(?:a\s+)?half(?!\w))|\s*,?\s+(?:the\s+)?\d{{1,2}}{ORDINAL}(?!\w)",
    re.IGNORECASE,
)
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
