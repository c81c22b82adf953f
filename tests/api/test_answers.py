"""An answer of our own is Django's, in all but its cost."""

import pytest
from django.http import BadHeaderError, HttpResponse
from django.http.response import ResponseHeaders

from duely.api.answers import Answer, Headers


@pytest.mark.parametrize("headers", [None, {"ETag": '"1"', "Location": "/api/v1/tasks/"}])
def test_it_has_all_that_djangos_has(headers: dict[str, str] | None) -> None:
    ours = Answer(b"{}", status=201, content_type="application/json", headers=headers)
    theirs = HttpResponse(b"{}", status=201, content_type="application/json", headers=headers)
    assert vars(ours).keys() <= vars(theirs).keys()
    assert {name: getattr(ours, name) for name in vars(theirs)} == vars(theirs)
    assert list(ours.items()) == list(theirs.items())
    assert (ours.reason_phrase, ours.charset, ours.text) == (theirs.reason_phrase, theirs.charset, theirs.text)


def test_without_a_content_type_it_has_none() -> None:
    assert dict(Answer(status=204).headers) == {}


NAMES_AND_VALUES = [
    ("ETag", '"1"'),
    ("Content-Length", 12),
    ("X-Name", "Zoë"),
    ("X-Name", "名"),
    ("X-Name", b"bytes"),
]


@pytest.mark.parametrize("name, value", NAMES_AND_VALUES)
def test_headers_are_kept_as_django_keeps_them(name: str, value: str | bytes | int) -> None:
    ours, theirs = Headers({}), ResponseHeaders({})
    ours[name] = theirs[name] = value
    assert list(ours.items()) == list(theirs.items())
    assert name.upper() in ours
    assert name.lower() in ours
    assert "Other" not in ours
    del ours[name.lower()]
    assert name not in ours


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\rb"])
def test_a_value_never_begins_a_new_line(value: str) -> None:
    with pytest.raises(BadHeaderError):
        Answer(headers={"X-Name": value})
