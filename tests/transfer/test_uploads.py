"""The body of an import: media types that clients give to files, and forms with a file in them."""

import io
import zipfile
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.core.handlers.wsgi import WSGIRequest
from django.test import Client

import contract
from cast import V1, Api
from duely.core.errors import MalformedRequest
from duely.transfer.uploads import received
from transfer.helpers import bring, counts

CSV = b"title\nMilk\n"


def archive() -> bytes:
    """A backup of Todoist."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as whole:
        whole.writestr("Home.csv", "TYPE,CONTENT,INDENT\ntask,Milk,1\n")
    return file.getvalue()


SAME_AS_CSV = [
    *("text/csv", "application/csv", "text/x-csv", "application/x-csv", "text/comma-separated-values"),
    *("application/vnd.ms-excel", "text/plain", "text/plain; charset=utf-8", "Text/CSV", "application/octet-stream"),
]
SAME_AS_ZIP = ["application/zip", "application/x-zip-compressed", "application/x-zip", "application/octet-stream"]


@pytest.mark.parametrize("media", SAME_AS_CSV)
def test_a_table_comes_under_any_of_its_names(api: Api, media: str) -> None:
    assert counts(bring(api, CSV, media)) == {"created": 1}


@pytest.mark.parametrize("media", SAME_AS_ZIP)
def test_an_archive_comes_under_any_of_its_names(api: Api, media: str) -> None:
    assert counts(bring(api, archive(), media)) == {"created": 1}


def test_a_table_with_tabs_comes_under_its_name(api: Api) -> None:
    assert counts(bring(api, b"title\tdue\nMilk\t\n", "text/tab-separated-values")) == {"created": 1}


# Forms


def part(content: bytes = CSV, *, name: str = "file", filename: str | None = "x.csv", media: str = "") -> bytes:
    told = f'; filename="{filename}"' if filename is not None else ""
    kind = f"Content-Type: {media}\r\n" if media else ""
    return f'--b0\r\nContent-Disposition: form-data; name="{name}"{told}\r\n{kind}\r\n'.encode() + content + b"\r\n"


END = b"--b0--\r\n"


def send(api: Api, body: bytes, boundary: str = "b0", **more: Any) -> Any:
    kind = f"multipart/form-data; boundary={boundary}"
    return Client().generic("POST", f"{V1}import/", body, content_type=kind, headers=api.headers, **more)


@pytest.mark.parametrize(
    "body",
    [
        part() + END,
        part(media="application/vnd.ms-excel") + END,
        part(name="anything") + END,
        part(filename="../../etc/passwd") + END,
        part(filename="Aufgaben für Zuhause.csv") + END,
        part() + b"--b0--",
        part() + b"--b0-- \r\n",
    ],
)
def test_a_form_with_one_file_is_that_file(api: Api, body: bytes) -> None:
    assert counts(send(api, body)) == {"created": 1}


def test_a_form_brings_what_the_file_itself_brings(api: Api) -> None:
    with_signs = b'title\r\n"Milk\r\n--b\r\n--b1--"\r\n'
    assert counts(send(api, part(with_signs) + END)) == {"created": 1}
    assert counts(bring(api, with_signs, "text/csv")) == {"unchanged": 1}
    assert counts(send(api, part(archive(), filename="backup.zip") + END)) == {"created": 1}
    assert counts(bring(api, archive(), "application/zip")) == {"unchanged": 1}


def test_a_boundary_may_be_in_quotes(api: Api) -> None:
    kind = 'Multipart/Form-Data; charset=utf-8; Boundary="b0"'
    answer = Client().generic("POST", f"{V1}import/", part() + END, content_type=kind, headers=api.headers)
    assert counts(answer) == {"created": 1}


NOT_ONE_FILE = {
    "no part": END,
    "a part without a file name": part(filename=None) + END,
    "a part with an empty file name": part(filename="") + END,
    "a long field": part(b"x" * 3_000_000, filename=None) + END,
    "two files": part() + part() + END,
    "a field before the file": part(b"true", name="preview", filename=None) + part() + END,
    "a field after the file": part() + part(b"true", name="preview", filename=None) + END,
    "ten thousand parts": b"--b0\r\n\r\n" * 10_000 + END,
    "no end": part(),
    "half an end": part() + b"--b0-",
    "another end": part() + b"--b1--",
    "more after the end": part() + END + b"more",
    "no headers": b"--b0\r\n" + CSV + b"\r\n" + END,
    "endless headers": b"--b0\r\nX: " + b"x" * 100_000 + b"\r\n\r\n" + END,
    "a header that breaks off": b'--b0\r\nContent-Disposition: form-data; name="file"; filename="x\r\n\r\n' + END,
    "another boundary": part() + END.replace(b"b0", b"b1"),
    "not base64": part().replace(b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n", 1) + END,
    "a file as it is": CSV,
}


@pytest.mark.parametrize("name", NOT_ONE_FILE)
def test_other_forms_are_refused_and_nothing_is_written(api: Api, name: str) -> None:
    answer = send(api, NOT_ONE_FILE[name])
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request"), answer.content
    assert api.get("tasks/").json()["data"] == []


@pytest.mark.parametrize("boundary", ["", "é", "x" * 201, "a\tb", '"'])
def test_a_form_needs_a_boundary(api: Api, boundary: str) -> None:
    answer = send(api, part() + END, boundary)
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed_request"), answer.content


@pytest.mark.parametrize("length", range(1, len(part() + END) - 2))
def test_a_form_that_ends_early_is_refused(length: int) -> None:
    body = part() + END
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": "multipart/form-data; boundary=b0",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body[:length]),
    }
    with pytest.raises(MalformedRequest):
        received(WSGIRequest(environ))
    with pytest.raises(MalformedRequest):
        received(WSGIRequest({**environ, "CONTENT_LENGTH": str(length), "wsgi.input": io.BytesIO(body[:length])}))


def test_a_large_form_comes_in_and_a_larger_one_does_not(api: Api) -> None:
    rows = b"title,description\n" + b"".join(b"Task %d,%s\n" % (n, b"x" * 60_000) for n in range(20))
    assert len(rows) > 1024 * 1024
    assert counts(send(api, part(rows) + END)) == {"created": 20}
    (limit,) = django_settings.LARGE_BODIES.values()
    refused = send(api, b"", CONTENT_LENGTH=str(limit + 1))
    assert (refused.status_code, refused.json()["code"]) == (413, "body_too_large")


class Pieces(io.BytesIO):
    """A body that comes in pieces of any length, and knows the most that was asked for at once."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.most = max(self.most, size or 0)
        return super().read(size if size is None or size < 0 else max(1, size // 7))


def test_a_form_is_read_piece_by_piece() -> None:
    rows = b"title\n" + b"".join(b"Task %d\n" % n for n in range(200_000))
    body = part(rows) + END
    stream = Pieces(body)
    environ = {
        "REQUEST_METHOD": "POST",
        "CONTENT_TYPE": "multipart/form-data; boundary=b0",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": stream,
    }
    with received(WSGIRequest(environ)) as file:
        assert file.read() == rows
    assert 0 < stream.most <= 64 * 1024


def test_the_document_names_the_form() -> None:
    (operation,) = [each for each in contract.operations() if each.name == "importFile"]
    content = operation.spec["requestBody"]["content"]
    assert content["multipart/form-data"]["schema"]["properties"]["file"]["format"] == "binary"
    assert content.keys() == {"application/json", "application/octet-stream", "multipart/form-data"}
