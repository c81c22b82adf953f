"""The body of an import: a file as it is, or one in a form."""

from typing import Any, BinaryIO

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest, UnreadablePostError
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from duely.api.bodies import refuse_coding
from duely.core.errors import MalformedRequest, UnsupportedMediaType
from duely.transfer.files import CHUNK, temporary

FORM = "multipart/form-data"
MEDIA = ("application/json", "application/octet-stream", FORM)
"""The media types in the OpenAPI document: those that programs which make clients of it know."""
NAMED = (*MEDIA, "text/csv", "application/zip")
ACCEPTED = frozenset(
    {
        *NAMED,
        *("text/json", "text/plain", "text/tab-separated-values", "text/comma-separated-values"),
        *("text/x-csv", "application/csv", "application/x-csv", "application/vnd.ms-excel"),
        *("application/x-zip", "application/x-zip-compressed", "multipart/x-zip"),
    }
)
"""Further names of the same files: browsers on Windows with Excel call a CSV `application/vnd.ms-excel`."""
TAIL = 256
"""Bytes that hold the end of a form: a boundary has up to 200 characters here, 70 by RFC 2046."""
ONE_FILE = "The form must contain one file and nothing else. Send options in the query string."
NO_FILE = "The form contains no file. Send one part with a file name."


def received(request: HttpRequest) -> BinaryIO:
    """The file in the body of a request, which is gone when it is closed. What it is shows in the file itself.

    Raises UnsupportedMediaType (415), MalformedRequest (400) for a body that ends early or a form that is not one.
    """
    refuse_coding(request)
    if request.content_type not in ACCEPTED:
        raise UnsupportedMediaType(f"Send a file with its Content-Type: {', '.join(NAMED)}.")
    file = temporary()
    try:
        if request.content_type == FORM:
            _read_form(request, file)
        else:
            _read(request, file)
    except UnreadablePostError:
        file.close()
        raise MalformedRequest("The body could not be read to its end.") from None
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


def _read(request: HttpRequest, file: BinaryIO) -> None:
    while chunk := request.read(CHUNK):
        file.write(chunk)
    _refuse_short(request, file.tell())


def _refuse_short(request: HttpRequest, length: int) -> None:
    if length != int(request.META.get("CONTENT_LENGTH") or 0):
        raise MalformedRequest("The body is shorter than its Content-Length says.")


def _read_form(request: HttpRequest, file: BinaryIO) -> None:
    """Read the one file of a form (RFC 7578) piece by piece. Its name and headers are not used."""
    boundary = request.content_params.get("boundary", "") if request.content_params else ""
    parameters = request.META["CONTENT_TYPE"].partition(";")[2]
    meta = {"CONTENT_TYPE": f"{FORM};{parameters}", "CONTENT_LENGTH": request.META.get("CONTENT_LENGTH")}
    form = _Form(request, b"--" + boundary.encode("ascii", "replace"))
    target = _Target(file)
    try:
        MultiPartParser(meta, form, [target], "utf-8").parse()  # type: ignore[arg-type]  # it only reads
    except RequestDataTooBig:
        raise MalformedRequest(NO_FILE) from None
    except (MultiPartParserError, SuspiciousOperation) as fault:
        raise MalformedRequest(f"The form cannot be read: {str(fault)[:200]}") from None
    _refuse_short(request, form.length)
    if not form.is_whole:
        raise MalformedRequest("The form ends before its last boundary.")
    if not target.has_come:
        raise MalformedRequest(NO_FILE)


class _Form:
    """The bytes of a form as they come. Refuses a second part: thousands of tiny ones would cost much time.

    Django's parser takes a form that is cut off for a whole one, so the end is looked at here.
    """

    def __init__(self, request: HttpRequest, delimiter: bytes) -> None:
        self.length = 0
        self._request = request
        self._delimiter = delimiter
        self._delimiters = 0
        self._end = b""

    def read(self, size: int) -> bytes:
        """The next piece. Raises MalformedRequest."""
        piece = self._request.read(size)
        self.length += len(piece)
        # A delimiter may lie across two pieces. As a whole it does not fit into what is kept for that.
        kept = self._end[-len(self._delimiter) + 1 :]
        self._delimiters += (kept + piece).count(self._delimiter)
        if self._delimiters > 2:
            raise MalformedRequest(ONE_FILE)
        self._end = (self._end + piece)[-TAIL:]
        return piece

    @property
    def is_whole(self) -> bool:
        """Whether the last boundary has come, and nothing but blanks after it."""
        return self._end.rstrip(b" \t\r\n").endswith(self._delimiter + b"--")


class _Target(FileUploadHandler):
    """Writes a file of a form into `file`."""

    chunk_size = CHUNK

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self.has_come = False
        self._target = file

    def new_file(self, *_: Any, **__: Any) -> None:
        self.has_come = True

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._target.write(raw_data)

    def file_complete(self, file_size: int) -> None:
        """Nothing: the form keeps no file of its own."""
