"""JSON of any length, read piece by piece: all that is JSON, nothing else, and never an exception of another kind."""

import io
import json
import random
import tracemalloc
from collections.abc import Iterator
from typing import Any, BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cast import Api, alice, undone
from duely.core.clock import now
from duely.core.errors import MalformedRequest, Refused
from duely.tasks.models import Category, Task
from duely.transfer.files import opened
from duely.transfer.formats import document
from duely.transfer.formats.document import MAX_VALUE, Document
from duely.transfer.reading import Reading
from duely.transfer.rules import Faulty
from transfer.helpers import bring, export


def walked(source: Document, like: Any, depth: int) -> Any:
    """What a document holds, entering its objects and lists down to a depth, taking whole values below."""
    if depth and isinstance(like, dict):
        return {name: walked(source, like.get(name), depth - 1) for name in source.fields()}
    if depth and isinstance(like, list):
        return [walked(source, like[place] if place < len(like) else None, depth - 1) for place in source.items()]
    return source.value()


def read(content: bytes, *, chunk: int = 64 * 1024, depth: int = 1, like: Any = None) -> Any:
    """A whole text. like: tells where to enter; without it, the text itself does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(document, "CHUNK", chunk)
        source = Document(io.BytesIO(content))
        found = walked(source, json.loads(content.decode("utf-8-sig")) if like is None else like, depth)
        source.end()
        return found


def items(content: bytes, chunk: int = 64 * 1024) -> list[Any]:
    """What is in a list, whether or not Python would read it."""
    found: list[Any] = read(content, chunk=chunk, like=[])
    return found


def rows(content: bytes) -> list[Any]:
    """What the reader of a file makes of it."""
    with opened(io.BytesIO(content), "UTC", now()) as source:
        return list(source.rows(Reading()))


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=12)
    | st.sampled_from(["\U0001f600", '\\"', "\\", "\u2028", "\ufeff", "a\x7f\x00b", "/", "\ud7ff\ue000"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=6), inner, max_size=5),
    max_leaves=15,
)
OUTER = st.lists(VALUES, max_size=6) | st.dictionaries(st.text(max_size=6), VALUES, max_size=6)


@settings(max_examples=150, deadline=None)
@given(
    whole=OUTER,
    chunk=st.integers(1, 7),
    depth=st.integers(0, 3),
    is_ascii=st.booleans(),
    indent=st.sampled_from([None, 0, 1]),
    has_bom=st.booleans(),
)
def test_it_reads_what_python_reads_however_it_is_cut(
    whole: Any, chunk: int, depth: int, is_ascii: bool, indent: int | None, has_bom: bool
) -> None:
    text = json.dumps(whole, ensure_ascii=is_ascii, indent=indent)
    content = text.encode("utf-8-sig" if has_bom else "utf-8")
    assert read(content, chunk=chunk, depth=depth) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        *("0", "-0", "-1", "12345678901234567890", "1.5", "-0.25", "1e5", "1E+5", "1.5e-7", "0.1e1", "0e0"),
        *("true", "false", "null", '""', '"a"', r'"\ud83d\ude00"', r'"\u00e9"', r'"\\"', r'"\""', r'"\\\""'),
        *('"é"', '"\U0001f600"', "[]", "{}", '{"a":1.5}', "[1.5]", '[ ] , { "b" : [ ] }', r'"\/\b\f\n\r\t"'),
    ],
)
def test_a_value_may_be_cut_anywhere(text: str) -> None:
    """In a list, in an object, and before it, so that every cut falls once into each place of it."""
    listed, named = f"[{text},{text}]".encode(), f'{{"a":{text.partition(" , ")[0]},"b":0}}'.encode()
    for chunk in range(1, len(named) + 1):
        assert read(listed, chunk=chunk) == json.loads(listed)
        assert read(named, chunk=chunk) == json.loads(named)
    for before in range(8):
        assert read(b" " * before + listed, chunk=8) == json.loads(listed)


def test_blanks_and_a_mark_of_utf8_around_it_do_not_matter() -> None:
    for chunk in (1, 2, 3, 1000):
        assert items(b"\xef\xbb\xbf \r\n\t[ \n1 ,\t2\r]\n \n", chunk) == [1, 2]
        assert items(b"\xef\xbb\xbf[]", chunk) == []


def test_null_is_a_list_with_nothing_in_it() -> None:
    assert items(b" null ") == []
    with pytest.raises(MalformedRequest):
        items(b"nul")


def test_what_is_skipped_is_read_all_the_same() -> None:
    for chunk in (1, 5, 1000):
        source = Document(io.BytesIO(b'{"a":[1,{"b":[2]},"c"],"d":{"e":null},"f":[],"g":1.25,"h":7}'))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(document, "CHUNK", chunk)
            found = []
            for name in source.fields():
                if name == "h":
                    found.append(source.value())
                else:
                    source.skip()
            source.end()
        assert found == [7]
        for broken in (b'{"a":[1,{"b":[2}]}', b'{"a":[1,]}', b'{"a":{"b":1,"b":2}}', b'{"a":[NaN]}'):
            source = Document(io.BytesIO(broken))
            with pytest.raises(MalformedRequest):
                for _ in source.fields():
                    source.skip()


@pytest.mark.parametrize(
    "follows", ["x", "]", "}", "[]", "{}", ",", "1", "\x00", '"', "null", " \n ]", "\ufeff", "\x0c"]
)
@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_nothing_may_follow_after_the_end(follows: str, chunk: int) -> None:
    for text in ("[1]", "[]", "null"):
        with pytest.raises(MalformedRequest):
            items((text + follows).encode(), chunk)
    with pytest.raises(MalformedRequest):
        read(('{"a":1}' + follows).encode(), chunk=chunk, like={})


@pytest.mark.parametrize(
    "text",
    [
        *("NaN", "Infinity", "-Infinity", '{"a":NaN}', "[-Infinity]"),
        *('{"a":1,"a":2}', '{"b":{"a":1,"\\u0061":2}}'),
        *(r'"\ud800"', r'"\udc00"', r'"\ud800\ud800"', r'{"\udfff":1}', r'["\ude00\ud83d"]'),
        *("9" * 5000, "-" + "9" * 5000, "[" + "9" * 5000 + "]"),
        *("01", "1.", ".5", "+1", "-", "1e", "1e+", "0x1", "1_0", "--1"),
        *(
            "tru",
            "True",
            "nul",
            "nulll",
            "undefined",
            "'a'",
            '"a',
            '"\n"',
            '"\t"',
            '"\x00"',
            r'"\x"',
            r'"\u12"',
            r'"\u12g4"',
        ),
        *("[1,]", '{"a":1,}', "{a:1}", '{"a"}', '{"a":}', "{1:2}", "[1 2]", "[", "{", "]", "/* */1", "//\n1", ""),
    ],
)
def test_what_is_not_json_is_refused(text: str) -> None:
    for chunk in (1, 2, 7, 64 * 1024) if len(text) < 100 else (4096, 64 * 1024):
        with pytest.raises(MalformedRequest):
            items(f"[0,{text},1]".encode(), chunk)
        with pytest.raises(MalformedRequest):
            read(f'{{"x":0,"y":{text}}}'.encode(), chunk=chunk, like={})
        with pytest.raises(MalformedRequest):
            items(f"[{text}]".encode() if text else b"[,]", chunk)


@pytest.mark.parametrize(
    "content", [b"[\xff]", b'["\xc3"]', b'["\xed\xa0\x80"]', b'["\xf4\x90\x80\x80"]', b'["a"]\xc3']
)
def test_what_is_not_utf8_is_refused(content: bytes) -> None:
    for chunk in (1, 2, 1000):
        with pytest.raises(MalformedRequest):
            items(content, chunk)


def test_names_of_the_outer_object_may_not_come_twice() -> None:
    for text in (b'{"a":1,"a":1}', b'{"a":[],"b":0,"a":[1]}', b'{"":1,"":2}', b'{"a":1,"\\u0061":2}'):
        with pytest.raises(MalformedRequest):
            read(text, like={})


def test_numbers_that_are_no_finite_floats_do_no_harm() -> None:
    assert items(b"[1e999,-1e999,1e-999]") == [float("inf"), float("-inf"), 0.0]
    assert items(b"[" + b"9" * 4000 + b"]") == [int("9" * 4000)]


@pytest.mark.parametrize("sign", [b"[", b'{"a":', b'[{"a":'])
def test_nesting_without_end_is_refused(sign: bytes) -> None:
    for depth in (1_100, 100_000):
        with pytest.raises(MalformedRequest):
            items(b"[" + sign * depth)
        with pytest.raises(MalformedRequest):
            rows(b'{"format":"duely","version":1,"tasks":[' + sign * depth)
        with pytest.raises(MalformedRequest):
            rows(b'[{"title":' + sign * depth)


@pytest.mark.parametrize(
    "around", ['[{"tasks":[%s]}]', '[{"title":%s}]', '{"tasks":[%s]}', '{"format":%s}', '{"x":%s}']
)
def test_nesting_is_read_or_refused_up_to_the_depth_where_python_gives_up(around: str) -> None:
    """At each depth, as what checks a value may give up earlier than what reads it."""
    reached = set()
    for depth in range(850, 1_050):
        content = (around % ("[" * depth + r'"\u00e9"' + "]" * depth)).encode()
        try:
            rows(content)
        except MalformedRequest as refused:
            reached.add("deep" if "deep" in refused.detail else "other")
    assert "deep" in reached


def test_a_value_has_a_length() -> None:
    fits = b"[" + json.dumps("a" * (MAX_VALUE - 100)).encode() + b",1]"
    assert [len(str(item)) for item in items(fits)] == [MAX_VALUE - 100, 1]
    for value in (b'"%s"' % (b"a" * (MAX_VALUE + 100_000)), b"[%s]" % (b"1," * MAX_VALUE)):
        with pytest.raises(MalformedRequest, match=f"longer than {MAX_VALUE}"):
            items(b"[" + value + b"]")
    source = Document(io.BytesIO(b'{"a":"%s"}' % (b"a" * (MAX_VALUE + 100_000))))
    with pytest.raises(MalformedRequest):
        [source.skip() for _ in source.fields()]
    with pytest.raises(MalformedRequest):
        read(b'{"%s":1}' % (b"a" * (MAX_VALUE + 100_000)), like={})


def test_faults_say_where_they_are() -> None:
    content = b'["' + b"a" * 200_000 + b'", !]'
    with pytest.raises(MalformedRequest, match=f"at character {content.index(b'!')}\\."):
        items(content)
    with pytest.raises(MalformedRequest, match=f"at character {content.index(b'!')}\\."):
        items(content, 1000)


class Long(io.RawIOBase):
    """A file of which nothing is held: a list of so many numbered items."""

    def __init__(self, item: bytes, number: int) -> None:
        super().__init__()
        self.item, self.number = item, number
        self.pieces = self._pieces()
        self.read_bytes = 0

    def _pieces(self) -> Iterator[bytes]:
        yield b"["
        for number in range(self.number):
            yield (b"," if number else b"") + self.item
        yield b"]"

    def seek(self, offset: int, whence: int = 0) -> int:
        assert (offset, whence, self.read_bytes) == (0, 0, 0)
        return 0

    def read(self, size: int = -1) -> bytes:
        held = bytearray()
        while len(held) < size and (piece := next(self.pieces, b"")):
            held += piece
        self.read_bytes += len(held)
        return bytes(held)


def peak(file: BinaryIO, *, is_skipped: bool) -> int:
    """Bytes that reading a list takes at most."""
    tracemalloc.start()
    try:
        source = Document(file)
        if is_skipped:
            source.skip()
        else:
            for _ in source.items():
                source.value()
        source.end()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("is_skipped", [False, True])
def test_a_list_of_any_length_takes_little_memory(is_skipped: bool) -> None:
    item = json.dumps({"title": "Milk", "description": "a" * 4000}).encode()
    file = Long(item, 20 * 1024 * 1024 // len(item))
    assert peak(file, is_skipped=is_skipped) < 8 * 1024 * 1024  # type: ignore[arg-type]
    assert file.read_bytes > 20 * 1000 * 1000


# Exports of ours, whole and broken.

TASK = {
    "id": "0198c3a0-0000-7000-8000-000000000001",
    "title": "Mílk",
    "description": 'two\n"lines"',
    "status": "completed",
    "former_status": None,
    "completed_at": "2026-01-31T09:00:00.123Z",
    "priority": "high",
    "due_date": "2026-01-31",
    "category": "0198c3a0-0000-7000-8000-000000000002",
    "tags": ["a", "\U0001f600"],
    "reminders": ["-PT1H"],
    "version": 3,
    "created_at": "2026-01-01T09:00:00.000Z",
    "updated_at": "2026-01-31T09:00:00.123Z",
    "deleted_at": None,
}
CATEGORY = {
    "id": TASK["category"],
    "name": "Home",
    "color": "#ff0000",
    "position": 1,
    "version": 1,
    "created_at": "2026-01-01T09:00:00.000Z",
    "updated_at": "2026-01-01T09:00:00.000Z",
}
OURS = {
    "format": "duely",
    "version": 1,
    "exported_at": "2026-02-01T09:00:00.000Z",
    "profile": {"name": "alice", "numbers": [1.5, -2e3]},
    "categories": [CATEGORY],
    "tasks": [TASK, {"id": "0198c3a0-0000-7000-8000-000000000003", "title": "More"}],
    "activity": [{"seq": 1, "changes": {"title": [None, "Milk"]}}],
}
VALID = json.dumps(OURS, ensure_ascii=False).encode()


def test_an_export_that_ends_early_is_refused_wherever_it_ends() -> None:
    assert len(rows(VALID)) == 3
    for end in range(len(VALID)):
        with pytest.raises(MalformedRequest):
            rows(VALID[:end])


@pytest.mark.parametrize(
    "content",
    [
        *(
            {},
            {"format": "duely"},
            {"version": 1},
            {"format": "other", "version": 1},
            {"format": "duely", "version": 2},
        ),
        *({"format": "duely", "version": "1"}, {"format": None, "version": 1}, {"format": ["duely"], "version": 1}),
        *({"tasks": [], "format": "duely"}, {"format": "duely", "version": {"a": 1}}),
        *({**OURS, "tasks": {}}, {**OURS, "tasks": "x"}, {**OURS, "categories": 1}, {**OURS, "tasks": False}),
    ],
)
def test_what_is_no_export_of_ours_is_refused(content: Any) -> None:
    with pytest.raises(MalformedRequest):
        rows(json.dumps(content).encode())


def test_what_an_export_says_first_does_not_matter() -> None:
    turned = json.dumps({name: OURS[name] for name in reversed(OURS)}).encode()
    assert {str(row) for row in rows(turned)} == {str(row) for row in rows(VALID)}
    assert rows(b'{"format":"duely","version":1,"tasks":null,"categories":null}') == []


@pytest.mark.parametrize("item", [None, 1, "x", [], [TASK], True])
def test_what_is_no_row_is_a_fault_with_its_place(item: Any) -> None:
    for name in ("tasks", "categories"):
        found = rows(json.dumps({**OURS, name: [OURS[name][0], item]}).encode())  # type: ignore[index]
        (fault,) = [fault for row in found if isinstance(row, Faulty) for fault in row.faults]
        assert (fault.field, fault.code) == (f"{name}[1]", "invalid_type")


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A text with some bytes changed, cut out, doubled or put in."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place, length = chance.randrange(len(changed)), chance.randint(1, 8)
        match chance.randrange(5):
            case 0:
                changed[place] = chance.randrange(256)
            case 1:
                changed[place] = chance.choice(b'[]{}",:\\0123456789.eE-+ntfu \n')
            case 2:
                del changed[place : place + length]
            case 3:
                changed[place:place] = changed[place : place + length]
            case _:
                other = chance.randrange(len(changed))
                changed[place : place + length] = changed[other : other + length]
    return bytes(changed)


@pytest.mark.parametrize("chunk", [5, 64 * 1024])
def test_a_broken_export_is_read_or_refused(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "CHUNK", chunk)
    chance = random.Random(chunk)
    outcomes = set()
    for _ in range(700):
        try:
            found = rows(mutated(VALID, chance))
        except Refused as refused:
            outcomes.add(refused.code)
        else:
            outcomes.add("faults" if any(isinstance(row, Faulty) for row in found) else "rows")
    assert outcomes >= {"rows", "faults", "malformed_request"}


@pytest.mark.django_db
def test_a_broken_export_of_a_real_account_is_answered() -> None:
    api = Api(alice())
    home = api.post("categories/", {"name": "Home"}).json()["id"]
    api.post(
        "tasks/", {"title": "Mílk", "category": home, "tags": ["a"], "reminders": ["-PT1H"], "due_date": "2099-01-31"}
    )
    whole, chance = export(api), random.Random(1)
    statuses = set()
    for _ in range(60):
        with undone():
            statuses.add(bring(api, mutated(whole, chance)).status_code)
    assert statuses == {200, 400}


@pytest.mark.django_db
@pytest.mark.parametrize(
    "content",
    [
        *(
            b" \n",
            b"\xef\xbb\xbf",
            b"{",
            b'{"format":"duely"',
            b'{"format":"duely","version":1}x',
            b"[",
            b"[1]",
            b"{]",
        ),
        *(b"\xff\xfe{\x00}\x00", b'{"format":"duely","version":1,"tasks":[NaN]}', b"[" * 100_000, b'{"a":' * 100_000),
    ],
)
def test_a_file_that_cannot_be_read_is_answered_so(content: bytes) -> None:
    answer = bring(Api(alice()), content)
    codes = {"malformed_request", "validation_failed", "unknown_format"}
    assert answer.status_code == 400
    assert answer.json()["code"] in codes


@pytest.mark.django_db
def test_every_fault_of_an_export_has_its_place_and_nothing_is_written() -> None:
    api = Api(alice())
    bad = [{**TASK, "title": "", "priority": "x"}, {"title": "No id"}, {**TASK, "extra": 1}, {**TASK, "version": 0}, 7]
    answer = bring(api, {**OURS, "categories": [{**CATEGORY, "color": "red"}], "tasks": [TASK, *bad]})
    assert answer.status_code == 400
    assert {error["field"]: error["code"] for error in answer.json()["errors"]} == {
        "categories[0].color": "invalid_format",
        "tasks[1].title": "required",
        "tasks[1].priority": "invalid_choice",
        "tasks[2].id": "required",
        "tasks[3].extra": "unknown_field",
        "tasks[4].version": "out_of_range",
        "tasks[5]": "invalid_type",
    }
    assert not Task.objects.exists()
    assert not Category.objects.exists()
