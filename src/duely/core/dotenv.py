"""The file `.env`. Standard library only: `duely health` reads it, and must start quickly."""

import re
from pathlib import Path

LINE = re.compile(r"(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=\s*(?P<value>.*)", re.ASCII)


class UnreadableDotenv(Exception):
    """The file cannot be read, or one of its lines has a wrong form. The text names the reason."""


def read_dotenv(path: Path) -> dict[str, str]:
    """The variables of one `.env` file; an absent file has none.

    One `NAME=value` a line, optionally after `export`. `#` begins a comment at the start of a line or after a space.
    In single quotes nothing is replaced; in double quotes `\\n`, `\\"` and `\\\\` are understood.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableDotenv(f"{path} cannot be read: {error}.") from None
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = LINE.fullmatch(stripped)
        if match is None:
            raise UnreadableDotenv(f"line {number} of {path} must read NAME=value.")
        values[match["name"]] = _unquote(match["value"], path=path, number=number)
    return values


def _unquote(value: str, *, path: Path, number: int) -> str:
    if value[:1] not in {"'", '"'}:
        return re.split(r"(?:^|\s)#", value, maxsplit=1)[0].strip()
    quote = value[0]
    pattern = r"'([^']*)'" if quote == "'" else r'"((?:[^"\\]|\\.)*)"'
    match = re.fullmatch(pattern + r"\s*(?:#.*)?", value)
    if match is None:
        raise UnreadableDotenv(f"line {number} of {path} has a quote that is not closed.")
    if quote == "'":
        return match[1]
    return re.sub(r"\\(.)", lambda escape: "\n" if escape[1] == "n" else escape[1], match[1])
