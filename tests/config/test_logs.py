import io
import json
import logging
import logging.config
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import structlog

from duely.config import logs


def lines(wanted: str, message: str, *values: object, exc_info: bool = False) -> list[str]:
    """What one warning looks like on the stream."""
    stream = io.StringIO()
    output = logs.LineHandler(stream)
    output.setFormatter(logs.formatter(wanted))
    logger = logging.getLogger("duely.test_logs")
    logger.propagate = False
    logger.addHandler(output)
    try:
        logger.warning(message, *values, exc_info=exc_info)
    finally:
        logger.removeHandler(output)
    return stream.getvalue().splitlines()


def record_of(message: Any) -> logging.LogRecord:
    return logging.LogRecord("duely.test_logs", logging.WARNING, "", 0, message, (), None)


def test_a_line_that_cannot_be_written_stops_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    logs.LineHandler(Full()).handle(record_of("lost"))
    assert "No space left on device" in capsys.readouterr().err


def test_what_a_filter_holds_back_is_not_written() -> None:
    stream = io.StringIO()
    output = logs.LineHandler(stream)
    output.addFilter(lambda record: record.msg != "secret")
    for message in ("secret", "known"):
        output.handle(record_of(message))
    assert stream.getvalue() == "known\n"


def test_lines_of_many_threads_stay_whole() -> None:
    stream = io.StringIO()
    output = logs.LineHandler(stream)
    texts = [letter * 100 for letter in "abcdefgh"]
    with ThreadPoolExecutor(len(texts)) as threads:
        for text in texts:
            threads.submit(lambda text=text: [output.handle(record_of(text)) for _ in range(50)])
    assert sorted(stream.getvalue().split()) == sorted(texts * 50)


HOSTILE = 'GET /\r\n{"level": "info"} \x1b[2J\x00 \u2028 \u202e \x9b'


def test_a_json_line_is_one_line_whatever_is_logged() -> None:
    (line,) = lines("json", "said %s", HOSTILE)
    record: dict[str, Any] = json.loads(line)
    assert list(record)[:4] == ["timestamp", "level", "logger", "message"]
    assert record["message"] == ('said GET /\\r\\n{"level": "info"} \\x1b[2J\\x00 \\u2028 \\u202e \\x9b')


def test_all_that_is_unsafe_is_not_printable() -> None:
    assert not [letter for letter in map(chr, range(0x110000)) if letter.isprintable() and logs.UNSAFE.match(letter)]


def test_a_console_line_is_one_line_too() -> None:
    (line,) = lines("console", "said %s", HOSTILE)
    assert not logs.UNSAFE.search(line)


def test_a_traceback_cannot_forge_a_line() -> None:
    try:
        raise ValueError("first\n2026-01-01 [info] forged \x1b[31m")
    except ValueError:
        text = lines("console", "failed", exc_info=True)
    assert any("forged \\x1b[31m" in line for line in text)
    assert all(line.startswith("    ") for line in text[1:])


def test_values_inside_values_are_escaped_and_plain_ones_keep_their_type() -> None:
    event = logs.escape_values(
        None,
        "info",
        {"event": "e", "list": ["a\n", 1], "map": {"k\n": None}, "flag": True, "error": ValueError("x\ny")},
    )
    assert event == {"event": "e", "list": ["a\\n", 1], "map": {"k\\n": None}, "flag": True, "error": "x\\ny"}


def test_our_own_and_others_records_look_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    before = structlog.get_config()
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        logging.config.dictConfig(logs.configure("INFO", "json"))
        structlog.get_logger("duely.request").info("request", path="/a\nb", status=200)
        logging.getLogger("django.request").error("Not Found: %s", "/x")
        logging.getLogger("_granian").error("Unexpected exit")
        logging.getLogger("django.db.backends").debug("select 1")
    finally:
        structlog.configure(**before)
        root.handlers[:] = handlers
        root.setLevel(level)
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(record["logger"], record["level"]) for record in records] == [
        ("duely.request", "info"),
        ("django.request", "error"),
        ("_granian", "error"),
    ]
    assert records[0]["path"] == "/a\\nb"
    assert records[0]["status"] == 200


@pytest.mark.parametrize(
    "value",
    [
        *("/tasks/", "/a\nb\u2028", "/Zoë", "/\ud800"),
        *(200, 2**70, 1.5, None, True, ["x\x00"], {"k\r": "v"}, {1: 2}, ValueError("x\ny")),
    ],
)
def test_our_own_records_are_written_as_structlog_would_have_it(value: object) -> None:
    made = logs.formatter("json")
    event = {"event": "request", "path": value, "level": "info", "logger": "duely.request", "timestamp": "2026"}
    record = logging.makeLogRecord({"msg": event, "_logger": logging.getLogger("duely.request"), "_name": "info"})
    assert made.format(record) == structlog.stdlib.ProcessorFormatter.format(made, record)  # type: ignore[arg-type]
    assert list(event) == ["event", "path", "level", "logger", "timestamp"]
