"""Types of the fields of tasks: how each is read from a request."""

from datetime import date
from typing import Annotated, Any

import msgspec

from duely.api.bodies import Invalid, far_year
from duely.api.types import Parsed, text_of
from duely.core.clock import OutOfRange, parse_instant, rfc3339
from duely.tasks import rules


def short_list(raw: Any, longest: int, what: str = "strings") -> list[Any]:
    """A list, refused by its length before anything in it is looked at."""
    if not isinstance(raw, list):
        raise Invalid("invalid_type", f"Use a list of {what}.")
    if len(raw) > longest:
        raise Invalid("too_many", f"Use at most {longest} items.")
    return raw


class Title(Parsed[str]):
    """1 to 255 characters after trimming, no control characters."""

    schema = {"type": "string", "minLength": 1, "maxLength": rules.MAX_TITLE}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        return text_of(raw, longest=rules.MAX_TITLE, shortest=1)


class Description(Parsed[str]):
    """Markdown, at most 64 KiB. Stored unchanged."""

    schema = {"type": "string", "maxLength": rules.MAX_DESCRIPTION_BYTES}

    @classmethod
    def read(cls, raw: Any) -> str:
        """Check it."""
        checked = text_of(raw, longest=rules.MAX_DESCRIPTION_BYTES, lines=True)
        if len(checked.encode("utf-8", "replace")) > rules.MAX_DESCRIPTION_BYTES:
            raise Invalid("too_long", "Use at most 64 KiB.")
        return checked


class DueDate(Parsed[date]):
    """A date (a whole day in the owner's time zone) or an instant."""

    schema = {
        "anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}],
        "examples": ["2026-01-31", "2026-01-31T09:00:00Z"],
    }

    @classmethod
    def read(cls, raw: Any) -> date:
        """Check it."""
        try:
            return rules.parse_due(raw if isinstance(raw, str) else "")
        except OutOfRange:
            raise far_year(rules.EARLIEST, rules.LATEST) from None
        except ValueError:
            raise Invalid("invalid_date", "Use 2026-01-31 or 2026-01-31T09:00:00Z.") from None


class Tags(Parsed[list[str]]):
    """Up to 20 tags of up to 50 characters. Case and Unicode form do not distinguish tags."""

    schema = {
        "type": "array",
        "items": {"type": "string", "minLength": 1, "maxLength": rules.MAX_TAG_LENGTH},
        "maxItems": rules.MAX_TAGS,
    }

    @classmethod
    def read(cls, raw: Any) -> list[str]:
        """Check it. Of two tags that count as the same the first stays."""
        tags: dict[str, str] = {}
        for item in short_list(raw, rules.MAX_TAGS):
            tag = text_of(item, longest=rules.MAX_TAG_LENGTH, shortest=1)
            if "," in tag:
                raise Invalid("invalid_format", "A tag must not contain a comma: filters use commas to separate tags.")
            tags.setdefault(rules.folded(tag), tag)
        return list(tags.values())


class Reminders(Parsed[list[str]]):
    """Up to 10 instants, or offsets before the due date such as `-PT30M`."""

    schema = {
        "type": "array",
        "items": {"type": "string", "examples": ["-PT30M", "2026-01-31T08:00:00Z"]},
        "maxItems": rules.MAX_REMINDERS,
    }

    @classmethod
    def read(cls, raw: Any) -> list[str]:
        """Check it; the same reminder twice counts once."""
        return list(dict.fromkeys(cls._one(item) for item in short_list(raw, rules.MAX_REMINDERS)))

    @staticmethod
    def _one(item: Any) -> str:
        text = item if isinstance(item, str) else ""
        try:
            if text.startswith("-"):
                rules.parse_offset(text)
                return text.upper()
            return rfc3339(parse_instant(text))
        except OutOfRange:
            raise far_year() from None
        except ValueError:
            raise Invalid("invalid_reminder", "Use -PT30M, -P1D or 2026-01-31T08:00:00Z.") from None


Version = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
"""The version that an edit was made from."""
