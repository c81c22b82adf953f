"""Archives that come in: small ones that claim to be large, large ones that claim to be small, and broken ones."""

import io
import json
import random
import struct
import warnings
import zipfile
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cast import Api
from duely.core.clock import now
from duely.core.errors import BodyTooLarge, MalformedRequest, Refused
from duely.tasks.models import Category, Task
from duely.tasks.rules import IncomingTask
from duely.transfer import files
from duely.transfer.files import opened
from duely.transfer.reading import Reading
from duely.transfer.rules import MAX_DIRECTORY, MAX_MEMBERS, MAX_UNPACKED, UNPACKED_BASE, UNPACKED_PER_BYTE
from transfer.helpers import bring

PROJECT = "TYPE,CONTENT,PRIORITY,INDENT\ntask,Milk,4,1\n"
DATA = json.dumps([{"title": "Work", "tasks": [{"id": 1, "title": "Milk", "done": False}]}])


def packed(
    members: dict[str, str | bytes], *, how: int = zipfile.ZIP_DEFLATED, comment: bytes = b"", large: bool = False
) -> bytes:
    """An archive with these files. large: sizes are written as for files of more than 4 GiB."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", how) as archive:
        for name, text in members.items():
            with archive.open(name, "w", force_zip64=large) as member:
                member.write(text.encode() if isinstance(text, str) else text)
        archive.comment = comment
    return content.getvalue()


def rows(content: bytes) -> list[Any]:
    """What the reader of a file makes of it."""
    with opened(io.BytesIO(content), "UTC", now()) as source:
        return list(source.rows(Reading()))


def tasks(content: bytes) -> int:
    return sum(isinstance(row, IncomingTask) for row in rows(content))


def answer(api: Api, content: bytes) -> tuple[int, str]:
    """Status and code of a file of which nothing is written."""
    response = bring(api, content, "application/zip")
    assert not Task.objects.exists()
    assert not Category.objects.exists()
    return response.status_code, response.json()["code"]


MALFORMED, TOO_LARGE = (400, "malformed_request"), (413, "body_too_large")
UNKNOWN = (400, "unknown_format")
CENTRAL, END = b"PK\x01\x02", b"PK\x05\x06"


def with_central(content: bytes, place: int, kind: str, value: int, *, member: int = 0) -> bytes:
    """An archive whose directory says something else of a file. PKWARE's APPNOTE, section 4.3.12."""
    changed, at = bytearray(content), -1
    for _ in range(member + 1):
        at = content.index(CENTRAL, at + 1)
    struct.pack_into(kind, changed, at + place, value)
    return bytes(changed)


def with_local(content: bytes, place: int, kind: str, value: int) -> bytes:
    """An archive whose first file says something else of itself. Section 4.3.7."""
    changed = bytearray(content)
    struct.pack_into(kind, changed, place, value)
    return bytes(changed)


def with_end(content: bytes, place: int, kind: str, value: int) -> bytes:
    """An archive whose end says something else. Section 4.3.16."""
    changed = bytearray(content)
    struct.pack_into(kind, changed, content.rindex(END) + place, value)
    return bytes(changed)


FLAGS, METHOD, CRC, PACKED_SIZE, SIZE, OFFSET = 8, 10, 16, 20, 24, 42
"""Places in the directory."""


def test_archives_are_told_apart_by_what_is_in_them(api: Api) -> None:
    for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        with opened(io.BytesIO(packed({"a.csv": PROJECT, "b.CSV": PROJECT}, how=how)), "UTC", now()) as source:
            assert source.format.name == "todoist"
            assert len(list(source.rows(Reading()))) == len(list(source.rows(Reading()))) == 4
        with opened(io.BytesIO(packed({"a.csv": PROJECT, "data.json": DATA}, how=how)), "UTC", now()) as source:
            assert source.format.name == "vikunja"
            assert len(list(source.rows(Reading()))) == 2
    response = bring(api, packed({"a.csv": PROJECT}), "application/zip")
    assert (response.status_code, response.json()["tasks"]["created"]) == (200, 1)


@pytest.mark.parametrize("media", ["application/json", "text/csv", "application/zip"])
def test_what_a_client_calls_a_file_does_not_matter(api: Api, media: str) -> None:
    for content in (packed({"a.csv": PROJECT}), PROJECT.encode(), DATA.encode(), b'{"format":"duely","version":1}'):
        assert bring(api, content, media).status_code == 200


def test_a_comment_or_other_files_do_not_matter() -> None:
    assert tasks(packed({"a.csv": PROJECT, "readme.txt": b"\xff", "dir/": b""}, comment=b"x" * 65_535)) == 1
    assert tasks(packed({"data.json": DATA, "files/1": b"\xff" * 1000}, comment=b"Vikunja")) == 1


@pytest.mark.parametrize("content", [b"PK", b"PK\x03\x04", b"PK,title\n1,Milk\n", b"PK\x05\x06", b"PKPKPK" * 10_000])
def test_what_begins_as_an_archive_and_is_none_is_refused(api: Api, content: bytes) -> None:
    assert answer(api, content) == MALFORMED


@pytest.mark.parametrize(
    "members",
    [{}, {"readme.txt": "x"}, {"data.json.txt": DATA}, {"x/": ""}, {"__MACOSX/a.csv": PROJECT}],
)
def test_an_archive_with_nothing_that_is_known_is_refused(api: Api, members: dict[str, str | bytes]) -> None:
    assert answer(api, packed(members)) == UNKNOWN


@pytest.mark.parametrize("name", ["data.json/", "a.csv/"])
def test_a_folder_is_no_export(api: Api, name: str) -> None:
    assert answer(api, packed({name: ""})) == UNKNOWN


def test_files_that_are_not_read_are_named(api: Api) -> None:
    response = bring(api, packed({"data.json": DATA, "files/1": b"x", "files/2": b"y"}), "application/zip")
    notes = [note for note in response.json()["notes"] if note["field"] == "files"]
    assert [(note["count"], note["reason"], note["example"]) for note in notes] == [(2, "left_out", "files/1")]


def test_exports_of_two_programs_in_one_archive_are_refused(api: Api) -> None:
    assert answer(api, packed({"a.csv": PROJECT, "b.json": DATA})) == UNKNOWN


def test_an_archive_may_unpack_to_more_the_larger_it_is(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "UNPACKED_BASE", 1_000)
    content = packed({"a.csv": PROJECT + "\n" * 100_000})
    assert answer(api, content) == TOO_LARGE
    monkeypatch.setattr(files, "UNPACKED_PER_BYTE", 100_100 // len(content) + 1)
    assert tasks(content) == 1


def test_a_file_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MAX_UNPACKED", 10_000)
    for name, start in (("data.json", "[" + " " * 20_000), ("a.csv", PROJECT + "\n" * 20_000)):
        content = packed({name: start})
        assert len(content) < 400
        assert answer(api, content) == TOO_LARGE
        assert answer(api, packed({name: start, "other": "x"})) == TOO_LARGE


def test_files_that_unpack_to_too_much_together_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    several: dict[str, str | bytes] = {f"{number}.csv": PROJECT for number in range(10)}
    monkeypatch.setattr(files, "MAX_UNPACKED", 10 * len(PROJECT))
    assert tasks(packed({**several, "other": "x" * 1000})) == 10
    monkeypatch.setattr(files, "MAX_UNPACKED", 10 * len(PROJECT) - 1)
    with pytest.raises(BodyTooLarge):
        rows(packed(several))


def test_a_size_that_only_the_directory_claims_counts(api: Api) -> None:
    content = packed({"a.csv": PROJECT})
    most = UNPACKED_BASE + UNPACKED_PER_BYTE * len(content)
    assert most < MAX_UNPACKED
    assert answer(api, with_central(content, SIZE, "<I", most + 1)) == TOO_LARGE
    assert tasks(with_central(content, SIZE, "<I", most)) == 1


def test_a_file_that_is_more_than_it_says_is_not_read_to_its_end(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says that it is short, and unpacks to a hundred times as much as may be unpacked."""
    monkeypatch.setattr(files, "MAX_UNPACKED", 10_000)
    written = 0

    class Counted(io.BytesIO):
        def write(self, content: Any) -> int:
            nonlocal written
            written += len(content)
            return super().write(content)

    monkeypatch.setattr(files, "temporary", Counted)
    for how in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        content = packed({"a.csv": PROJECT + "\n" * 1_000_000}, how=how)
        with pytest.raises(MalformedRequest):
            rows(with_central(content, SIZE, "<I", 9_000))
        assert written <= 10_000
        short = with_central(content, SIZE, "<I", len(PROJECT))
        with pytest.raises(MalformedRequest):
            rows(with_central(short, CRC, "<I", 0))
        assert written <= 20_000
        # One that has the sum of what it says is short, and no more of it is read.
        assert tasks(with_central(short, CRC, "<I", zlib.crc32(PROJECT.encode()))) == 1
        assert written <= 20_000


def test_more_files_than_may_be_read_are_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    assert answer(api, packed({f"{number}.csv": PROJECT for number in range(MAX_MEMBERS + 1)})) == TOO_LARGE
    monkeypatch.setattr(files, "MAX_MEMBERS", 3)
    several: dict[str, str | bytes] = {f"{number}.csv": PROJECT for number in range(3)}
    assert tasks(packed({**several, "other": "x"})) == 3
    with pytest.raises(BodyTooLarge):
        rows(packed({**several, "3.csv": PROJECT}))
    # Of Vikunja's one file is read.
    assert tasks(packed({**several, "3.csv": PROJECT, "data.json": DATA})) == 1


def test_a_directory_that_is_too_long_is_not_read(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    content = packed({"a.csv": PROJECT})
    assert answer(api, with_end(content, 12, "<I", MAX_DIRECTORY + 1)) == TOO_LARGE
    names = {f"{number}{'x' * 60_000}": b"" for number in range(20)}
    assert answer(api, packed({"a.csv": PROJECT, **names})) == TOO_LARGE
    length = len(content) - content.index(CENTRAL) - 22
    monkeypatch.setattr(files, "MAX_DIRECTORY", length)
    assert tasks(content) == 1
    monkeypatch.setattr(files, "MAX_DIRECTORY", length - 1)
    with pytest.raises(BodyTooLarge):
        rows(content)


def test_a_second_end_in_the_comment_hides_no_long_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever of them the reader takes."""
    monkeypatch.setattr(files, "MAX_DIRECTORY", 1000)
    many = packed({"a.csv": PROJECT, **{f"{number}": b"" for number in range(100)}})
    short = packed({"a.csv": PROJECT})
    hidden = short[short.rindex(END) :]
    comment = with_end(many, 20, "<H", len(hidden)) + hidden
    with pytest.raises(BodyTooLarge):
        rows(comment)


def test_archives_of_more_than_four_gigabytes_are_not_read(api: Api) -> None:
    """Their directory is told of elsewhere. A file that could be that large, and is not, may be in one."""
    content = packed({"a.csv": PROJECT})
    end = content.rindex(END)
    size, offset = end - content.index(CENTRAL), content.index(CENTRAL)
    large_end = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, offset)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    closing = struct.pack("<4s4H2IH", END, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    large = content[:end] + large_end + locator + closing
    with zipfile.ZipFile(io.BytesIO(large)) as archive:  # it is one, as far as others see
        assert archive.namelist() == ["a.csv"]
    assert answer(api, large) == TOO_LARGE
    assert answer(api, content[:end] + large_end + locator + content[end:]) == TOO_LARGE
    assert tasks(packed({"a.csv": PROJECT}, large=True)) == 1


def test_a_size_of_more_than_four_gigabytes_counts(api: Api) -> None:
    """It stands in a field of its own. Section 4.5.3."""
    content = packed({"a.csv": PROJECT})
    at = content.index(CENTRAL)
    extra = struct.pack("<HHQ", 1, 8, 2**40)
    header = bytearray(content[at : content.rindex(END)])
    struct.pack_into("<I", header, SIZE, 0xFFFFFFFF)
    struct.pack_into("<H", header, 30, len(extra))
    closing = bytearray(content[content.rindex(END) :])
    struct.pack_into("<I", closing, 12, len(header) + len(extra))
    assert answer(api, content[:at] + header + extra + closing) == TOO_LARGE


def test_files_that_lie_upon_each_other_are_counted_each() -> None:
    """As many names for the same bytes: what counts is what they unpack to together."""
    body = PROJECT + "\n" * 1_000_000
    content = packed({"0.csv": body})
    at = content.index(CENTRAL)
    header = content[at : content.rindex(END)]
    number = MAX_UNPACKED // len(body) + 2
    closing = struct.pack("<4s4H2IH", END, 0, 0, number, number, number * len(header), at, 0)
    with pytest.raises(BodyTooLarge):
        rows(content[:at] + header * number + closing)


@pytest.mark.parametrize("name", ["a.csv", "data.json"])
def test_an_encrypted_archive_is_refused(api: Api, name: str) -> None:
    content = packed({name: PROJECT if name == "a.csv" else DATA})
    for flags in (1, 0x41, 0x2001):
        assert answer(api, with_central(with_local(content, 6, "<H", flags), FLAGS, "<H", flags)) == MALFORMED
    assert answer(api, with_central(content, FLAGS, "<H", 1)) == MALFORMED


@pytest.mark.parametrize("how", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name, text", [("a.csv", PROJECT), ("data.json", DATA)])
def test_a_compression_that_is_not_known_is_refused(api: Api, how: int, name: str, text: str) -> None:
    assert answer(api, packed({name: text}, how=how)) == MALFORMED


@pytest.mark.parametrize("method", [1, 6, 9, 12, 14, 93, 97, 99, 0xFFFF])
def test_a_compression_of_another_number_is_refused(method: int) -> None:
    content = packed({"a.csv": PROJECT})
    with pytest.raises(MalformedRequest):
        rows(with_local(with_central(content, METHOD, "<H", method), 8, "<H", method))


def test_a_compression_that_is_not_known_does_not_matter_where_nothing_is_read() -> None:
    content = packed({"a.csv": PROJECT, "b.txt": "x"})
    assert tasks(with_central(content, METHOD, "<H", 12, member=1)) == 1


@pytest.mark.parametrize("how", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_sum_that_is_wrong_is_refused(api: Api, how: int) -> None:
    content = packed({"a.csv": PROJECT}, how=how)
    assert answer(api, with_central(content, CRC, "<I", 1)) == MALFORMED


def test_a_file_of_an_archive_that_is_changed_is_refused() -> None:
    content = packed({"a.csv": PROJECT}, how=zipfile.ZIP_STORED)
    with pytest.raises(MalformedRequest):
        rows(content.replace(b"Milk", b"Silk"))


@pytest.mark.parametrize("members", [{"a.csv": PROJECT, "b.csv": PROJECT}, {"data.json": DATA}], ids=["csv", "json"])
def test_an_archive_that_ends_early_is_refused_wherever_it_ends(members: dict[str, str | bytes]) -> None:
    content = packed(members)
    for end in range(2, len(content)):
        with pytest.raises(MalformedRequest):
            rows(content[:end])


@pytest.mark.parametrize(
    "change",
    [
        lambda content: with_central(content, OFFSET, "<I", 0xFFFF_FFFE),
        lambda content: with_central(content, OFFSET, "<I", 5),
        lambda content: with_central(content, PACKED_SIZE, "<I", 1),
        lambda content: with_central(content, 28, "<H", 0xFFFF),
        lambda content: with_central(content, 6, "<H", 0xFF),
        lambda content: with_end(content, 16, "<I", 0xFFFF_FFFE),
        lambda content: with_end(content, 16, "<I", 1),
        lambda content: with_end(content, 12, "<I", 10),
        lambda content: with_local(content, 26, "<H", 0xFFFF),
        lambda content: with_local(content, 26, "<H", 1),
        lambda content: with_local(content, 30, "<B", 0x41),
        lambda content: with_local(content, 0, "<I", 0),
    ],
)
def test_a_directory_that_does_not_fit_is_refused(change: Any) -> None:
    with pytest.raises(MalformedRequest):
        rows(change(packed({"b.csv": PROJECT, "c.csv": PROJECT})))


def test_names_of_any_signs_do_no_harm(api: Api) -> None:
    names: list[str] = [
        "../../etc/x.csv",
        "/abs.csv",
        "C:\\x.csv",
        "a\\b.csv",
        "ä🛠 [1].csv",
        "x" * 300 + ".csv",
        "\x07\n.csv",
    ]
    response = bring(
        api,
        packed({name: PROJECT.replace("Milk", f"Milk {number}") for number, name in enumerate(names)}),
        "application/zip",
    )
    assert (response.status_code, response.json()["tasks"]["created"]) == (200, len(names))
    for category in Category.objects.all():
        assert category.name == category.name.strip()
        assert 0 < len(category.name) <= 100
        assert category.name.isprintable()


def test_names_that_come_twice_are_read_twice_or_once() -> None:
    content = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(content, "w") as archive:
        warnings.simplefilter("ignore")
        archive.writestr("data.json", DATA)
        archive.writestr("data.json", DATA.replace("Milk", "Bread"))
    assert tasks(content.getvalue()) == 1


VALID = (
    packed({"Work [1].csv": PROJECT + "section,S\ntask,Bread @a\nnote,x\n", "Home [2].csv": PROJECT, "readme.txt": "x"}),
    packed({"data.json": DATA, "VERSION": "1"}, comment=b"Vikunja"),
    packed({"Work [1].csv": PROJECT}, how=zipfile.ZIP_STORED, large=True),
)  # fmt: skip


@pytest.mark.parametrize("number", range(len(VALID)))
def test_a_broken_archive_is_read_or_refused(number: int) -> None:
    chance = random.Random(number)
    outcomes = set()
    for _ in range(1200):
        content = bytearray(VALID[number])
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(2, len(content))
            match chance.randrange(6):
                case 0:
                    del content[place : place + chance.randint(1, 4)]
                case 1:
                    content[place:place] = chance.randbytes(chance.randint(1, 4))
                case 2:
                    content[place] = chance.choice((0, 1, 0xFF))
                case 3:
                    content[place : place + 4] = chance.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f"))
                case _:
                    content[place] = chance.randrange(256)
        try:
            rows(bytes(content))
        except Refused as refused:
            outcomes.add(refused.code)
        else:
            outcomes.add("rows")
    assert outcomes >= {"rows", "malformed_request"}


def test_every_byte_of_an_archive_may_be_any_of_the_worst() -> None:
    for content in VALID[1:]:
        for place in range(2, len(content)):
            for value in {0, 1, 0x7F, 0x80, 0xFF, content[place] ^ 1, content[place] ^ 0x80}:
                changed = bytearray(content)
                changed[place] = value
                try:
                    rows(bytes(changed))
                except (MalformedRequest, BodyTooLarge):
                    continue


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=80), st.binary(max_size=80))
def test_any_bytes_around_an_archive_are_read_or_refused(before: bytes, after: bytes) -> None:
    for content in (b"PK" + before + VALID[0] + after, b"PK" + before + END + after.ljust(18, b"\0"), b"PK" + before):
        try:
            rows(content)
        except (MalformedRequest, BodyTooLarge):
            continue
