"""What a request's body may be (RFC 8259, and no more)."""

import io
import json
import re
import sys
import unicodedata
from typing import Any

import pytest
from django.test import Client
from hypothesis import example, given, settings
from hypothesis import strategies as st

import contract
from cast import V1, Api, alice, bearer, faults
from duely.api.bodies import is_plain
from duely.tasks.models import Task

pytestmark = pytest.mark.django_db

LIMIT = 1024 * 1024
WITH_BODY = [("POST", "tasks/"), ("POST", "categories/"), ("PATCH", "profile/"), ("POST", "auth/login/")]


def send(body: bytes, *, content_type: str = "application/json", user: Any = None, **extra: Any) -> Any:
    """POST these very bytes to tasks/."""
    headers = bearer(user or alice())
    return Client().generic("POST", f"{V1}tasks/", body, content_type=content_type, headers=headers, **extra)


def assert_malformed(response: Any, *words: str) -> None:
    assert response.status_code == 400, response.content
    assert response.headers["Content-Type"] == "application/problem+json"
    document = response.json()
    assert document["code"] == "malformed_request"
    for word in words:
        assert word in document["detail"], document["detail"]


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"'],
)
def test_a_body_is_json_by_its_type(content_type: str) -> None:
    assert send(b'{"title": "Milk"}', content_type=content_type).status_code == 201


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "text/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/jsonx",
        "application/json-patch+json",
        "application/vnd.api+json",
        "application",
        "json",
        "*/*",
        "text/plain; application/json",
    ],
)
def test_a_body_of_another_type_is_unsupported(content_type: str) -> None:
    response = send(b'{"title": "Milk"}', content_type=content_type)
    assert response.status_code == 415
    assert response.json()["code"] == "unsupported_media_type"
    assert "application/json" in response.json()["detail"]
    assert not Task.objects.exists()


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd", "x", "gzip, identity", "identity, gzip"])
@pytest.mark.parametrize("path", ["tasks/", "import/", "auth/login/"])
def test_a_coded_body_is_refused_with_the_supported_codings(path: str, coding: str) -> None:
    response = Client().generic(
        "POST", V1 + path, b"{}", "application/json", headers={**bearer(alice()), "Content-Encoding": coding}
    )
    contract.check("POST", V1 + path, response)
    assert (response.status_code, response.json()["code"]) == (415, "unsupported_media_type")
    assert response.headers["Accept-Encoding"] == "identity"
    assert "Content-Encoding" in response.json()["detail"]


@pytest.mark.parametrize("coding", ["identity", "Identity", ""])
def test_the_identity_coding_is_accepted(coding: str) -> None:
    assert send(b'{"title": "Milk"}', HTTP_CONTENT_ENCODING=coding).status_code == 201


def test_a_refused_media_type_names_no_codings() -> None:
    assert "Accept-Encoding" not in send(b"{}", content_type="text/plain").headers


def test_a_byte_order_mark_before_a_body_is_ignored() -> None:
    response = send(b'\xef\xbb\xbf{"title": "Milk"}')
    assert (response.status_code, response.json()["title"]) == (201, "Milk")


@pytest.mark.parametrize("body", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf{}", b"\xef\xbb{}"])
def test_a_byte_order_mark_alone_or_twice_is_no_body(body: bytes) -> None:
    assert_malformed(send(body))


@pytest.mark.parametrize("method, path", WITH_BODY)
def test_every_operation_that_takes_a_body_needs_one(method: str, path: str) -> None:
    headers = {**bearer(alice()), "Content-Type": "application/json"}
    assert_malformed(Client().generic(method, V1 + path, b"", headers=headers), "empty")


@pytest.mark.parametrize("method, path", WITH_BODY)
def test_every_operation_that_takes_a_body_names_unknown_fields(method: str, path: str) -> None:
    response = Api(alice()).call(method, path, {"zzz": 1})
    assert response.status_code == 400
    assert faults(response)["zzz"] == "unknown_field"


def test_nothing_is_read_from_someone_who_has_not_signed_in() -> None:
    for body, content_type in [(b"{", "application/json"), (b"x", "text/plain"), (b"", "")]:
        response = Client().generic("POST", f"{V1}tasks/", body, content_type)
        assert response.status_code == 401


@pytest.mark.parametrize(
    "body, words",
    [
        (b" ", ["not valid JSON"]),
        (b"{", ["line 1 column 2 (character 1)"]),
        (b'{"title": "x",\n "due_date": }', ["line 2 column 14 (character 28)"]),
        (b'{"title": "x"} {}', ["Extra data", "line 1 column 16"]),
        (b"{'title': 'x'}", ["line 1 column 2"]),
        (b'{"title": "x",}', ["line 1"]),
        (b'{"title": x}', ["line 1 column 11"]),
        (b'{"title": "a\nb"}', ["line 1 column 13"]),
        (b'{"title": "\\x41"}', ["line 1"]),
        (b'{"title": 01}', ["line 1"]),
        (b'{"title": +1}', ["line 1"]),
        (b'{"title": .5}', ["line 1"]),
        (b"title=x", ["line 1 column 1"]),
        (b"<task/>", ["line 1 column 1"]),
        (b"\x00", ["line 1 column 1"]),
    ],
)
def test_invalid_json_is_refused_with_its_position(body: bytes, words: list[str]) -> None:
    assert_malformed(send(body), *words)


@pytest.mark.parametrize("body", [b"[]", b'[{"title": "x"}]', b'"x"', b"1", b"null", b"true"])
def test_a_body_is_an_object(body: bytes) -> None:
    assert_malformed(send(body), "must be a JSON object")


@pytest.mark.parametrize(
    "body, name",
    [
        (b'{"title": "a", "title": "b"}', "title"),
        (b'{"title": "a", "title": "a"}', "title"),
        (b'{"title": "a", "\\u0074itle": "b"}', "title"),
        (b'{"title": "a", "tags": [{"x": 1, "x": 2}]}', "x"),
    ],
)
def test_a_name_may_not_come_twice_in_one_object(body: bytes, name: str) -> None:
    assert_malformed(send(body), f"'{name}' twice")


@pytest.mark.parametrize("constant", [b"NaN", b"Infinity", b"-Infinity"])
@pytest.mark.parametrize("field", [b"title", b"tags", b"zzz"])
def test_not_a_number_is_not_json(field: bytes, constant: bytes) -> None:
    assert_malformed(send(b'{"description": "x", "%s": %s}' % (field, constant)), constant.decode())


NUMBERS = [
    b"1e400",
    b"-1e400",
    b"%d" % 2**63,
    b"%d" % -(2**63),
    b"%d" % 2**4096,
    b"1" + b"0" * 5000,
    b"1e-400",
    b"-0",
    b"1.5",
]


@pytest.mark.parametrize("number", NUMBERS, ids=lambda number: number[:12].decode())
@pytest.mark.parametrize("field", ["title", "status", "completed", "due_date", "category", "tags", "id", "zzz"])
def test_no_number_breaks_a_field_that_takes_none(field: str, number: bytes) -> None:
    title = b"" if field == "title" else b'"title": "x", '
    response = send(b'{%s"%s": %s}' % (title, field.encode(), number))
    assert response.status_code == 400
    assert response.json()["code"] in {"validation_failed", "malformed_request"}


@pytest.mark.parametrize("number", [*NUMBERS, b"1e2", b"1.0"], ids=lambda number: number[:12].decode())
def test_a_whole_number_is_written_as_one(number: bytes) -> None:
    user = alice()
    body = b'{"name": "x", "position": %s}' % number
    response = Client().generic("POST", f"{V1}categories/", body, "application/json", headers=bearer(user))
    assert response.status_code == (201 if number == b"-0" else 400)


@pytest.mark.parametrize(
    "body",
    [
        rb'{"title": "\ud800"}',
        rb'{"title": "a\udfffb"}',
        rb'{"title": "\udc00\ud800"}',
        rb'{"title": "x", "description": "\ud800"}',
        rb'{"title": "x", "tags": ["\ud800"]}',
        rb'{"title": "x", "status": "\ud800"}',
        rb'{"title": "x", "due_date": "\ud800"}',
        rb'{"title": "x", "category": "\ud800"}',
        rb'{"title": "x", "\ud800": 1}',
        # And beside other faults, which are explained one by one:
        rb'{"title": "", "category": "\ud800"}',
        rb'{"title": "", "status": "\ud800"}',
        rb'{"title": "", "id": "\ud800"}',
        rb'{"title": "", "due_date": "\ud800"}',
        rb'{"title": "", "tags": ["\ud800"]}',
        rb'{"title": "", "\ud800": 1}',
        rb'{"title": 5, "zzz": {"\ud800": "\udc00"}}',
        rb'{"\ud800": 1, "\ud800": 2}',
    ],
)
def test_text_that_is_not_unicode_is_refused(body: bytes) -> None:
    response = send(body)
    assert response.status_code == 400, response.content
    assert response.json()["code"] in {"validation_failed", "malformed_request"}
    assert not Task.objects.exists()


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert send(rb'{"title": "\ud83d\ude42 \u00e9"}').json()["title"] == "🙂 é"


@pytest.mark.parametrize(
    "body, place",
    [
        (b'{"title": "\xff"}', "byte 11"),
        (b'{"title": "\xc3"}', "byte 11"),
        (b'{"title": "\xed\xa0\x80"}', "byte 11"),
        (b'{"title": "\xc0\x80"}', "byte 11"),
        ('{"title": "é"}'.encode("latin-1"), "byte 11"),
    ],
)
def test_a_body_is_utf_8(body: bytes, place: str) -> None:
    assert_malformed(send(body), "UTF-8", place)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le"])
def test_other_encodings_are_not_guessed(encoding: str) -> None:
    assert_malformed(send('{"title": "x"}'.encode(encoding)))


def nested(depth: int, opening: bytes, closing: bytes) -> bytes:
    """A body whose deepest value lies so deep; the body itself is level 1."""
    return b'{"title": "x", "zzz": ' + opening * (depth - 1) + b"1" + closing * (depth - 1) + b"}"


@pytest.mark.parametrize("opening, closing", [(b"[", b"]"), (b'{"a":', b"}")])
def test_a_body_is_thirty_two_levels_deep_at_most(opening: bytes, closing: bytes) -> None:
    user = alice()
    assert faults(send(nested(32, opening, closing), user=user)) == {"zzz": "unknown_field"}
    assert_malformed(send(nested(33, opening, closing), user=user), "32 levels")
    assert_malformed(send(nested(900, opening, closing), user=user), "32 levels")
    for depth in (1010, 10_000, 100_000):
        assert_malformed(send(nested(depth, opening, closing), user=user), "objects and lists", "1000 are allowed")


@pytest.mark.parametrize("body", [b"[" * 10_000, b'{"a":' * 10_000, b"[" * 1_000_000])
def test_depth_without_an_end_is_refused_too(body: bytes) -> None:
    assert_malformed(send(body))


def keyed(many: int, *, inside: int = 0) -> bytes:
    """A body whose objects have so many keys together, `inside` of them in an object within a list."""
    inner = {f"i{number}": 1 for number in range(inside)}
    return json.dumps({"zzz": [inner], **{f"k{number}": 1 for number in range(many - inside - 1)}}).encode()


@pytest.mark.parametrize("inside", [0, 1, 900])
def test_the_objects_of_a_body_have_a_thousand_keys_at_most(inside: int) -> None:
    user = alice()
    assert "zzz" in faults(send(keyed(1000, inside=inside), user=user))
    assert_malformed(send(keyed(1001, inside=inside), user=user), "1001 keys", "1000 are allowed")
    assert_malformed(send(keyed(60_000, inside=inside), user=user), "60000 keys")


def test_a_body_has_a_thousand_objects_and_lists_at_most_and_those_in_texts_are_none() -> None:
    user = alice()
    text = '[{"\\' * 5000
    inner: list[Any] = [[], {}] * 499
    assert faults(send(json.dumps({"title": "x", "zzz": inner, "y": text}).encode(), user=user)).keys() == {"zzz", "y"}
    assert_malformed(send(json.dumps({"zzz": [*inner, []]}).encode(), user=user), "1001 objects")
    assert_malformed(send(b'{"zzz":"' + b'\\"' * 9 + b"[" * 2000, user=user), "Unterminated string")
    assert send(json.dumps({"title": "x", "description": "[" * 60_000}).encode(), user=user).status_code == 201


def sized(size: int) -> bytes:
    body = b'{"title": "x"}'
    return body + b" " * (size - len(body))


def test_a_body_has_a_mebibyte_at_most() -> None:
    user = alice()
    assert send(sized(LIMIT), user=user).status_code == 201
    for size in (LIMIT + 1, 2 * LIMIT, 8 * LIMIT):
        response = send(sized(size), user=user)
        assert response.status_code == 413
        assert response.json()["code"] == "body_too_large"
        assert str(LIMIT) in response.json()["detail"]
    assert Task.objects.count() == 1


def test_a_body_that_is_too_large_is_refused_unread_wherever_it_is_sent() -> None:
    class Unread(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise AssertionError("the body was read")

    for method, path in [("POST", "tasks/"), ("GET", "tasks/"), ("DELETE", "nowhere/"), ("POST", "auth/login/")]:
        response = Client().generic(
            method, V1 + path, b"", "application/json", CONTENT_LENGTH=str(LIMIT + 1), **{"wsgi.input": Unread()}
        )
        assert response.status_code == 413


@pytest.mark.parametrize("length", ["abc", "-1", "1.5", "", " ", "0x10", "٣", "9" * 5000, "1,1"])
def test_a_length_that_is_none_never_breaks_the_server(length: str) -> None:
    response = send(b'{"title": "x"}', CONTENT_LENGTH=length)
    assert response.status_code in {400, 413}
    assert not Task.objects.exists()


def test_a_body_of_many_unknown_fields_gets_a_short_answer() -> None:
    body = json.dumps({f"k{number}": 1 for number in range(70_000)}).encode()
    assert len(body) <= LIMIT
    user = alice()
    response = send(body, user=user)
    assert response.status_code == 400
    assert len(response.content) < 128 * 1024


@pytest.mark.parametrize("field", ["tags", "reminders"])
def test_a_list_that_is_far_too_long_is_refused_quickly(field: str) -> None:
    items = [f"-PT{number}M" for number in range(80_000)]
    user = alice()
    body = json.dumps({"title": "x", field: items}).encode()
    assert len(body) <= LIMIT
    assert faults(send(body, user=user)) == {field: "too_many"}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ("title", "description", "status", "completed", "priority", "due_date", "category", "tags", "reminders", "id")


def test_no_json_object_breaks_the_server() -> None:
    me = Api(alice())

    @settings(deadline=None, max_examples=150)
    @given(st.dictionaries(st.sampled_from([*FIELDS, "zzz"]), json_values, max_size=4))
    @example({"title": "\ud800"})
    @example({"title": "x" * 256, "category": "\ud800", "status": "\udfff"})
    def check(body: dict[str, Any]) -> None:
        response = me.post("tasks/", body)
        assert response.status_code in {201, 400}, response.content
        if response.status_code == 201:
            assert me.get(response.headers["Location"]).json() == response.json()

    check()


def test_no_bytes_break_the_server() -> None:
    user = alice()

    @settings(deadline=None, max_examples=100)
    @given(
        st.binary(min_size=1, max_size=40) | st.text(min_size=1).map(lambda text: text.encode("utf-8", "surrogatepass"))
    )
    @example(b" {} ")
    def check(body: bytes) -> None:
        response = send(body, user=user)
        assert response.status_code == 400, response.content
        assert response.json()["code"] == "malformed_request" or re.fullmatch(rb"\s*{\s*}\s*", body)

    check()


def test_plain_text_has_no_control_characters_and_no_surrogates() -> None:
    """In whatever version of Unicode."""
    letters = map(chr, range(sys.maxunicode + 1))
    assert not [one for one in letters if is_plain(one) == (unicodedata.category(one) in ("Cc", "Cs"))]
    assert is_plain("")
    assert not is_plain("two\nlines")
