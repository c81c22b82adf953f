"""Names in one script, and names that mix scripts to look like another one."""

import unicodedata

import pytest

from duely.core.scripts import changes_latin_letters, mixes_scripts

ONE_SCRIPT = [
    *("alice", "Zoë", "Nguyễn", "Đặng", "Ⅻ", "ʻokina", "a1._+-"),
    *(
        "Ωμέγα",
        "Ђорђе",
        "ошибка7",
        "Հայկ",
        "ქართული",
        "שָׁלוֹם",
        "مُحَمَّد",
        "٣٤",
        "हिन्दी१",
        "বাংলা",
        "ગુજરાતી",
        "ਗੁਰਮੁਖੀ",
        "ଓଡ଼ିଆ",
        "தமிழ்",
    ),
    *(
        "తెలుగు",
        "ಕನ್ನಡ",
        "മലയാളം",
        "සිංහල",
        "กิตติ",
        "ລາວ",
        "ကျော်",
        "ភាសាខ្មែរ",
        "ኢትዮጵያ",
        "ᏣᎳᎩ",
        "ᠮᠣᠩᠭᠣᠯ",
        "한국",
        "李雷",
        "ㄅㄆㄇ",
        "ꦗꦮ",
    ),
]
WRITTEN_TOGETHER = [
    *("김minsu", "minsu김", "M\u00fcller.李", "김", "李"),
    *("ひらガナ漢字", "ラーメン", "日本x", "ガスx", "漢ㄅx", "漢한x", "人々"),
    *("สมชาย7fa2", "กิตติabc", "अनिलabc", "தமிழ்x", "محمدabc", "فاطمةabc", "שלוםabc", "abcქართ", "ኢትabc"),
]
MIXED = {
    "a Greek omicron": "r\u03bfot",
    "two Cyrillic letters": "r\u043e\u043et",
    "a Cyrillic a": "\u0430lice",
    "Armenian letters": "r\u0585\u0585t",
    "Cherokee letters": "\u13aalice",
    "Lisu letters": "\ua4d0ob",
    "Cyrillic and Greek": "\u043f\u03bf",
    "a letter of Burmese": "\u101dwner",
    "two letters of Burmese": "r\u101d\u101dt",
    "a zero of Chinese": "r\u3007\u3007t",
    "a letter of Malayalam": "r\u0d20ot",
    "letters of Korean": "r\u110b\u110bt",
    "an alef": "\u0627isa",
    "a digit of Persian": "b\u06f5b",
    "a digit of Arabic": "b\u0665b",
    "a vowel sign of Thai": "roo\u0e47t",
    "three scripts": "aกא",
    "Chinese, Korean and Japanese": "漢한カ",
    "Latin, Thai and a look-alike": "a\u043eก",
    "two letters of Chinese inside": "r\u53e3\u53e3t",
    "two letters of Bopomofo inside": "r\u3116\u3116t",
    "one letter of Thai": "admi\u0e17",
    "a Thai vowel inside": "adm\u0e40n",
    "one letter of Lao": "g\u0ea3ace",
    "one letter of Hebrew": "admi\u05d7",
    "one letter of Bopomofo": "\u3125inda",
    "one letter of Gujarati": "\u0aa1teve",
    "one letter after a sign": "admi_\u0e17",
    "one letter of Chinese": "ro\u53e3",
    "a syllable of Korean inside": "r\uc774t",
    "two kinds of digits": "1\u0665",
    "two kinds of digits beside letters": "अ1\u0967",
}


@pytest.mark.parametrize(
    "name",
    ["ro\u30fct", "root\u02c8", "root\u02bc", "root\u0332", "\u02bbroot", "\u02c8root", "adm\u01c0n", "m\u02d0a"],
)
def test_signs_that_can_be_overlooked_change_latin_names(name: str) -> None:
    assert changes_latin_letters(unicodedata.normalize("NFKC", name))


@pytest.mark.parametrize("name", [*ONE_SCRIPT, *WRITTEN_TOGETHER])
def test_names_of_one_script_or_of_scripts_written_together(name: str) -> None:
    name = unicodedata.normalize("NFKC", name)
    assert not mixes_scripts(name)
    assert not changes_latin_letters(name)


@pytest.mark.parametrize("kind", MIXED)
def test_names_that_mix_scripts_to_look_like_another(kind: str) -> None:
    assert mixes_scripts(MIXED[kind])
