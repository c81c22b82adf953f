"""Renders mails from templates, in the recipient's language and time zone."""

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
    """A rendered mail to one recipient.

    `kind`: the name of the template (see `rules.KINDS`). `account` and `event` are only for the limits (see
    `limits.counts_of`): the account and event of a notice to the proven address of that account.
    """

    kind: str
    to: str
    subject: str
    text: str
    html: str
    message_id: str
    unsubscribe_url: str | None = None
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
    """Render a mail from the templates `mail/<template>.subject.txt`, `.txt` and `.html` of any module.

    context: aware datetimes are shown in `zone`. The templates also get `public_url`, `unsubscribe_url` and, except for
    the template of the subject, `subject`. Only the HTML is escaped. Templates put text of users into `<bdi>`.
    locale: language tag (RFC 5646); English if Django does not know it. zone: IANA time zone.
    message_id: the part before the `@`. The same for every attempt, so that mail programs can detect a repetition.
    unsubscribe_url: absolute, in ASCII. GET shows a page, POST unsubscribes (RFC 8058).
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
    """Django's nearest language to a locale: `pt-BR` for `pt-BR`, `de` for `de-LI`; English for an unknown one."""
    try:
        return translation.get_supported_language_variant(locale.lower())
    except LookupError:
        return FALLBACK_LANGUAGE


def _render(name: str, values: Mapping[str, Any], *, autoescape: bool) -> str:
    return str(Engine.get_default().get_template(name).render(Context(dict(values), autoescape=autoescape)))
