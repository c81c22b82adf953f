"""Whether a name mixes scripts so that it may look like another name (decision 0042). Pure."""

import itertools
import unicodedata
from operator import itemgetter

_SCRIPTS = {
    **dict.fromkeys(("CJK", "IDEOGRAPHIC", "HANGZHOU", "VIETNAMESE", "VERTICAL"), "HAN"),
    **dict.fromkeys(("ARABIC-INDIC", "EXTENDED", "RUMI"), "ARABIC"),
    **dict.fromkeys(("ROMAN", "TURNED"), "LATIN"),
    "HENTAIGANA": "HIRAGANA",
}
"""Scripts of characters whose Unicode name does not begin with the script."""
_COMMON = frozenset({"DIGIT", "MODIFIER", "COMBINING", "VEDIC", "KATAKANA-HIRAGANA", "CARON", "ZERO"})
"""First words of the names of characters that belong to no script or to several (ZERO: joiners without width)."""
_TOGETHER = (
    frozenset({"LATIN", "HAN", "HIRAGANA", "KATAKANA"}),
    frozenset({"LATIN", "HAN", "BOPOMOFO"}),
    frozenset({"LATIN", "HAN", "HANGUL"}),
)
"""Scripts that people write together: level "highly restrictive" of UTS #39, section 5.2."""
_BESIDE_LATIN = frozenset(
    {
        *("ARABIC", "BENGALI", "BOPOMOFO", "DEVANAGARI", "ETHIOPIC", "GEORGIAN", "GUJARATI", "GURMUKHI", "HANGUL"),
        *("HAN", "HEBREW", "HIRAGANA", "KANNADA", "KATAKANA", "KHMER", "LAO", "MALAYALAM", "MYANMAR", "ORIYA"),
        *("SINHALA", "TAMIL", "TELUGU", "THAANA", "THAI", "TIBETAN"),
    }
)
"""Scripts of which one may stand beside Latin: the recommended ones of UAX #31 without Cyrillic and Greek (level
"moderately restrictive"), and without Armenian, of which a third of the letters look like Latin ones."""
_LIKE_LATIN = frozenset(
    map(
        chr,
        (
            *(0x05D5, 0x05DF, 0x05E1),  # Hebrew
            *(0x0627, 0x0647, 0x06BE, 0x06C1, 0x06D5),  # Arabic
            *(0x0B20, 0x0D20, 0x101D),  # Oriya, Malayalam, Myanmar
            *(0x10E7, 0x10FF, 0x1200, 0x12D0),  # Georgian, Ethiopic
            *(0x110B, 0x1175, 0x11BC, 0x4E28),  # single letters of Hangul, Han
        ),
    )
)
"""Letters of those scripts that look like Latin ones (most are in confusables.txt of UTS #39)."""
_SYLLABLES = frozenset(map(chr, range(0xAC00, 0xD7A4)))
"""Syllables of Hangul."""


def mixes_scripts(name: str) -> bool:
    """Whether a name, in Unicode's form NFKC, mixes scripts or digits so that it may look like another one (UTS #39).

    Any one script is fine, also with the digits 0 to 9. So is Latin with Japanese, Chinese or Korean, or with one other
    script that has few letters in common with it, if one of its letters looks like no Latin one.
    """
    if name.isascii():
        return False
    letters = [sign for sign in name if not sign.isascii() or sign.isalpha()]
    scripts = set(filter(None, map(_script_of, letters)))
    return _mixes_digits(name) or not (_are_written_together(scripts) and _is_distinguishable(name, letters, scripts))


def _script_of(sign: str) -> str | None:
    """The script of a letter, a digit or a mark; None when it is used with several.

    The standard library is enough: the names of characters begin with their script, and never change (Unicode's
    stability policy). The groups are those of Unicode's Scripts.txt but for number signs, marks that several scripts
    use, and historic scripts that share a first word (decision 0042).
    """
    word = unicodedata.name(sign, "?").partition(" ")[0]
    return None if word in _COMMON else _SCRIPTS.get(word, word)


def _are_written_together(scripts: set[str]) -> bool:
    if len(scripts) < 2 or any(scripts <= together for together in _TOGETHER):
        return True
    beside_latin = scripts - {"LATIN"}
    return len(beside_latin) == 1 and beside_latin <= _BESIDE_LATIN


def _is_distinguishable(name: str, letters: list[str], scripts: set[str]) -> bool:
    """Whether letters beside Latin ones show that the name is not Latin alone."""
    if len(scripts) < 2 or "LATIN" not in scripts:
        return True
    if not _are_foreign_runs_clear(name):
        return False
    foreign = (sign for sign in letters if sign.isalpha() and _script_of(sign) not in (None, "LATIN"))
    return any(sign not in _LIKE_LATIN for sign in foreign)


def _are_foreign_runs_clear(name: str) -> bool:
    """Whether no run of letters of another script may stand for letters of a Latin word.

    Refused are `admi\u0e17` and `r\u53e3\u53e3t`. A run has two letters or more, and Latin letters on one side at
    most. One Korean syllable is enough, since none looks like a Latin letter; one Chinese letter is enough where signs
    or digits separate it from Latin ones.
    """
    signs = [(_kind_of(sign), sign) for sign in name]
    groups = itertools.groupby((pair for pair in signs if pair[0] != "mark"), key=itemgetter(0))
    runs = [(kind, "".join(sign for _, sign in pairs)) for kind, pairs in groups]
    kinds = ["", *(kind for kind, _ in runs), ""]
    for number, (kind, run) in enumerate(runs):
        if kind != "foreign":
            continue
        latin_sides = [kinds[number], kinds[number + 2]].count("latin")
        is_separate_word = latin_sides == 0 and _script_of(run[0]) == "HAN"
        is_too_short = len(run) < 2 and run not in _SYLLABLES and not is_separate_word
        if latin_sides == 2 or is_too_short:
            return False
    return True


def _kind_of(sign: str) -> str:
    if unicodedata.category(sign)[0] == "M" or (sign.isalpha() and _script_of(sign) is None):
        return "mark"
    if not sign.isalpha():
        return "other"
    return "latin" if _script_of(sign) == "LATIN" else "foreign"


_CLICKS = "\u01c0\u01c1\u01c2\u01c3"
"""Letters of Latin that look like `l` and `!`."""
_OKINA = "\u02bb"
_VOWELS = "aeiou\u0101\u0113\u012b\u014d\u016b"


def changes_latin_letters(name: str) -> bool:
    """Whether a name, in Unicode's form NFKC, has signs beside Latin letters that can be overlooked.

    These are modifier letters (`root\u02c8`), combining marks that make no letter with a plain one
    (`root\u0332`), and clicks. The Hawaiian okina is fine before a vowel.
    """
    for before, sign, after in zip(f".{name[:-1]}", name, f"{name[1:]}.", strict=True):
        is_okina = sign == _OKINA and after.lower() in _VOWELS
        if sign in _CLICKS:
            return True
        if unicodedata.category(sign)[0] == "M" and before.isascii() and before.isalpha():
            return True
        if unicodedata.category(sign) == "Lm" and not is_okina:
            follows_foreign = unicodedata.category(before)[0] in "LM" and _script_of(before) not in (None, "LATIN")
            if not follows_foreign and "LATIN" in (_script_of(sign), _script_of(before), _script_of(after)):
                return True
    return False


def _mixes_digits(name: str) -> bool:
    """Whether there are decimal digits of two systems (UTS #39, section 5.3)."""
    return len({ord(sign) - unicodedata.decimal(sign) for sign in name if sign.isdecimal()}) > 1
