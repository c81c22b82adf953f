"""Words and signs beside a day or a time that make it another one, or none."""

import re

from duely.tasks.quick.grammar import DAY

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
REPEATED = re.compile(
    r"(?<!\w)(?:every|each)(?:[\s,]+(?:other|second|third|few|couple|of|and|\d+(?:st|nd|rd|th)?|hours?|days?|weekdays?"
    rf"|weekends?|weeks?|months?|years?|mornings?|afternoons?|evenings?|nights?|{DAY}))*[\s,]*$",
    re.IGNORECASE,
)
WORD_BEFORE = re.compile(r"(?<![\w'\u2019])(\w+)\s+$")
CONNECTOR = re.compile(
    r"\s*(?:,|/|&|-|\u2013|\u2014|(?:,\s*)?(?:and|or|to|through|thru|till?|until))\s*", re.IGNORECASE
)
RANGE_BEFORE = re.compile(r"(?:\d|\b(?:quarter|half|five|ten|twenty))\s*(?:to|-|\u2013|past)\s*$", re.IGNORECASE)
AFTER = re.compile(r"\s+(?:after\s+next|of)(?!\w)", re.IGNORECASE)
