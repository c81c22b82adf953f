"""Mails as their readers see them: rendered in the reader's language and time zone."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.template import Context, Engine
from django.utils import timezone, translation

from duely.mail.rules import one_line, paragraphs, printable

FALLBACK_LANGUAGE = "en"

_MESSAGE_ID = re.compile(r"[A-Za-z0-9_=+-]+(\.[A-Za-z0-9_=+-]+)*", re.ASCII)
# One header line holds at most 998 characters (RFC 5322, section 2.1.1).
_LINK = re.compile(r"https?://[!-;=?-~]{1,900}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail to one person, ready to be sent.

    The rest is for counting (see `limits.counts_of`). `kind`: the name of its template (see `rules.KINDS`).
    `requester`: the address of the client that asked for it. `account`, `event`: the account that a notice is about and
    what happened; only when `to` was the proven address of that account.
    """

    kind: str
    to: str
    subject: str
    text: str
    html: str
    message_id: str
    unsubscribe_url: str | None = None
    requester: str = ""
    account: str = ""
    event: str = ""


def compose(
    template: str,
    *,
    to: str,
    context: Mapping[str, Any],
    locale: str,
    zone: str,
    message_id: str,
    unsubscribe_url: str | None = None,
) -> Mail:
    """A mail from the templates `mail/<template>.subject.txt`, `.txt` and `.html` of any module.

    context: aware datetimes in it are shown in `zone`. The templates are also given `public_url`, `unsubscribe_url`
    and, but for the subject's own, `subject`. Only the HTML is escaped; templates put what people wrote into `<bdi>`.
    locale: language tag (RFC 5646); English when Django does not know it. zone: IANA time zone.
    message_id: the part before the `@`; the same for every try, so that mail boxes can tell a repeat.
    unsubscribe_url: absolute, in ASCII; answers GET with a page and POST with the deed (RFC 8058).
    Raises ValueError for a message id or a link that does not fit into a header.
    """
    if not _MESSAGE_ID.fullmatch(message_id):
        raise ValueError("A message id has letters, digits and single dots.")
    if unsubscribe_url is not None and not _LINK.fullmatch(unsubscribe_url):
        raise ValueError("The link to unsubscribe is no absolute address in ASCII.")
    values = {**context, "public_url": settings.PUBLIC_URL, "unsubscribe_url": unsubscribe_url}
    with translation.override(language_for(locale)), timezone.override(zone):
        subject = one_line(_render(f"mail/{template}.subject.txt", values, autoescape=False))
        values["subject"] = subject
        text = paragraphs(_render(f"mail/{template}.txt", values, autoescape=False))
        html = printable(_render(f"mail/{template}.html", values, autoescape=True))
    return Mail(template, to, subject, text, html, message_id, unsubscribe_url)


def language_for(locale: str) -> str:
    """The language of Django's that comes nearest to `locale`: `pt-BR` for Brazil, `de` for `de-LI`; else English."""
    try:
        return translation.get_supported_language_variant(locale.lower())
    except LookupError:
        return FALLBACK_LANGUAGE


def _render(name: str, values: Mapping[str, Any], *, autoescape: bool) -> str:
    return str(Engine.get_default().get_template(name).render(Context(dict(values), autoescape=autoescape)))
