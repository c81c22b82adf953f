"""HTML of other programs' editors as plain Markdown."""

import re
from collections.abc import Callable, Mapping
from html import unescape

_NAME = r"<(/?)([a-zA-Z][a-zA-Z0-9-]*+)"
_TAG = re.compile(
    # Values in quotes may hold `>`. With quotes that do not match, the tag ends at the first one.
    rf"""{_NAME}(?:((?:[\s/](?:[^<>"']|"[^"<]*+"|'[^'<]*+')*+)?)>|([\s/][^<>]*+)>)"""
)
_ATTRIBUTE = re.compile(r"""([^\s"'<>/=]++)(?:\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s"'<>]++)))?""")
_DOCTYPE = re.compile(r"\s*+<!doctype[^<>]*+>", re.IGNORECASE)
_TOO_LONG = re.compile(r"&#[0-9]{8,};?")
"""A number that no character has. `unescape` would take it for one of thousands of digits."""
_LANGUAGE = re.compile(r"language-([\w+#-]{1,30})")
_SPACES = re.compile(r"[ \t\r\n]+")

BLOCKS = frozenset(
    (
        *("p", "div", "blockquote", "table", "tr", "section", "article", "header", "footer", "hr"),
        *("main", "nav", "aside", "address", "figure", "figcaption", "center", "caption", "dl", "dt", "dd"),
    )
)
HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
MARKS = {"strong": "**", "b": "**", "em": "*", "i": "*", "s": "~~", "del": "~~", "strike": "~~"}
DROPPED = frozenset(
    (
        *("label", "span", "u", "mark", "sub", "sup", "small", "colgroup", "col", "tbody", "thead", "tfoot"),
        *("meta", "link", "ins", "kbd", "samp", "cite", "abbr", "big", "tt", "html", "body", "head", "font"),
    )
)
HIDDEN = frozenset({"style", "script"})
"""Elements whose text nobody sees."""
OTHERS = frozenset({"br", "ul", "ol", "li", "pre", "code", "a", "img", "td", "th", "input"})
KNOWN = BLOCKS | DROPPED | HIDDEN | OTHERS | set(HEADINGS) | set(MARKS)
FIRST = KNOWN - {"i", "b", "s", "u", "main", "address", "caption", "link", "script", "big", "abbr", "cite"}
"""A text that begins with one of these is HTML. The others may be anything."""
MENTION = "mention"
TAKEN = frozenset({"href", "src", "data-src", "alt", "data-checked", "start", "checked"})
"""Attributes whose values are used."""
UNSEEN = frozenset(
    (
        *("class", "id", "name", "rel", "target", "type", "for", "lang", "dir", "tabindex", "contenteditable"),
        *("spellcheck", "draggable", "data-type", "charset", "http-equiv", "data-mention-suggestion-char"),
    )
)
"""Attributes that change nothing that a reader sees."""
MAX_INDENT = 8
"""Levels of lists that are indented. Deeper ones stay at that."""
Note = Callable[[str, str], None]
"""Takes the reason and an example of something that is lost (`Record.note`)."""


def is_html(text: str) -> bool:
    """Whether a text is HTML, as an editor writes it: then it begins with a tag. All else is text, or Markdown."""
    if _DOCTYPE.match(text):
        return True
    first = _TAG.match(text, len(text) - len(text.lstrip()))
    return first is not None and _is_known(first[2].lower()) and first[2].lower() not in KNOWN - FIRST


def _is_known(tag: str) -> bool:
    return tag in KNOWN or tag.startswith(f"{MENTION}-")


def text_of_html(text: str, note: Note = lambda reason, example: None) -> str:
    """The text of HTML as plain Markdown. What is not HTML comes back as it is.

    It makes text, not HTML: nothing in it needs to be safe. Tags that HTML does not have are text. note: is told of
    comments, styles and attributes that are lost.
    """
    html, comments = _without_comments(text)
    if not is_html(html):
        return text
    for comment in comments:
        if comment.strip():
            note("left_out", comment)
    # Only at the beginning: `sub` would look for it after each of many spaces.
    doctype = _DOCTYPE.match(html)
    return _Writer(note).written(html[doctype.end() :] if doctype else html)


def _without_comments(text: str) -> tuple[str, list[str]]:
    """A text without its comments, and these."""
    pieces, comments, at = [], [], 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        pieces.append(text[at:start])
        comments.append(text[start + 4 : end])
        at = end + 3
    return "".join([*pieces, text[at:]]), comments


class _Writer:
    """Goes through HTML once. No structure is kept but the open lists, links and marks."""

    def __init__(self, note: Note) -> None:
        self.note = note
        self.lines: list[str] = []
        self.line: list[str] = []
        self.lists: list[int | None] = []
        """The open lists: the number of the last item, or None for one without numbers."""
        self.links: list[str] = []
        self.code = 0
        """Depth of preformatted text."""
        self.prefix = ""
        """What stands before the first text of a line: the sign of an item, or of a heading."""
        self.mention = ""
        """Who is mentioned by an element that has had no text so far."""
        self.hidden: list[str] | None = None
        """The text of an element that nobody sees, so far."""

    def written(self, html: str) -> str:
        """The whole text."""
        at = 0
        for match in _TAG.finditer(html):
            tag, closes = match[2].lower(), bool(match[1])
            if not _is_known(tag) or (self.hidden is not None and tag not in HIDDEN):
                continue
            self._text(html[at : match.start()])
            at = match.end()
            if tag in HIDDEN:
                self._hide(closes=closes)
            else:
                raw = match[3] or match[4] or ""
                self._tag(tag, {} if closes else self._attributes(tag, raw), closes=closes)
        self._text(html[at:])
        self._end_hidden()
        self._end_mention()
        for _ in range(len(self.links)):
            self._link({}, closes=True)
        self._end_line()
        return "\n".join(self.lines).strip("\n")

    def _attributes(self, tag: str, raw: str) -> Mapping[str, str]:
        """The attributes of a tag. Those that are not used are noted."""
        attributes: dict[str, str] = {}
        for name, double, single, bare in _ATTRIBUTE.findall(raw):
            attributes.setdefault(name.lower(), _unescaped(double or single or bare))
        is_mention = _is_mention(tag, attributes)
        for name, value in attributes.items():
            is_known = name in TAKEN | UNSEEN or (name in ("colspan", "rowspan") and value == "1")
            if value.strip() and not is_known and not (is_mention and name in ("data-id", "data-label")):
                self.note("changed", f'<{tag} {name}="{value}">')
        if is_mention:
            self._mention(attributes, is_empty=raw.endswith("/"))
        return attributes

    def _mention(self, attributes: Mapping[str, str], *, is_empty: bool) -> None:
        """Mention someone, by the text of the element or, without one, by name."""
        self._end_mention()
        self.mention = attributes.get("data-label") or attributes.get("data-id") or ""
        if self.mention:
            self.note("changed", f"@{attributes.get('data-id') or self.mention}")
        if is_empty:
            self._end_mention()

    def _end_mention(self) -> None:
        if mention := self.mention:
            self._put("@" + mention.lstrip("@"))

    def _hide(self, *, closes: bool) -> None:
        """Go into an element that nobody sees, or out of it."""
        if not closes:
            self.hidden = self.hidden or []
        elif self.hidden is not None:
            if hidden := "".join(self.hidden).strip():
                self.note("left_out", hidden)
            self.hidden = None

    def _end_hidden(self) -> None:
        """Show what an element hides that has no end: it may be all the text."""
        hidden, self.hidden = self.hidden, None
        self._text("".join(hidden or ()))

    def _text(self, html: str) -> None:
        if self.hidden is not None:
            self.hidden.append(html)
            return
        text = _unescaped(html)
        if text.strip():
            self.mention = ""
        if self.code and text:
            first, *rest = text.split("\n")
            self.line.append(first)
            for row in rest:
                self._end_code_line()
                self.line.append(row)
        if self.code:
            return
        text = _SPACES.sub(" ", text)
        if text.strip() or (text and self.line):
            self._put(text if self.line else text.lstrip(" "))

    def _put(self, text: str) -> None:
        self.mention = ""
        if not self.line:
            self.line.append(self._indent() + self.prefix)
            self.prefix = ""
        self.line.append(text)

    def _indent(self) -> str:
        levels = min(len(self.lists), MAX_INDENT) - bool(self.prefix)
        return "  " * max(levels, 0)

    def _end_line(self) -> None:
        row = "".join(self.line).rstrip()
        self.line = []
        if row:
            self.lines.append(row)

    def _end_code_line(self) -> None:
        self.lines.append("".join(self.line).rstrip("\r"))
        self.line = []

    def _gap(self) -> None:
        """An empty line, but none after another, and none within a list."""
        self._end_line()
        if self.lines and self.lines[-1] and not self.lists:
            self.lines.append("")

    def _tag(self, tag: str, attributes: Mapping[str, str], *, closes: bool) -> None:
        if closes:
            self._end_mention()
        if tag == "pre":
            self._pre(attributes, closes=closes)
        elif self.code:
            if tag == "code" and not closes and self.lines and self.lines[-1] == "```" and not self.line:
                self.lines[-1] += _language(attributes)
        elif tag == "br":
            self._end_line()
        elif tag in BLOCKS:
            self._gap()
        elif tag in HEADINGS:
            self._gap()
            self.prefix = "" if closes else f"{HEADINGS[tag]} "
        elif tag in ("ul", "ol"):
            self._list(tag, attributes, closes=closes)
        elif tag == "li":
            self._item(attributes, closes=closes)
        elif tag in MARKS or tag == "code":
            self._put(MARKS.get(tag, "`"))
        elif tag == "a":
            self._link(attributes, closes=closes)
        elif tag == "img":
            source = attributes.get("src") or attributes.get("data-src", "")
            self._put(f"![{attributes.get('alt', '')}]({source})")
        elif tag == "input":
            self._box(attributes)
        elif tag in ("td", "th") and closes:
            self._put(" | ")

    def _pre(self, attributes: Mapping[str, str], *, closes: bool) -> None:
        if not closes:
            self.code += 1
            if self.code == 1:
                self._gap()
                self.prefix = ""
                self.lines.append("```" + _language(attributes))
        elif self.code:
            self.code -= 1
            if not self.code:
                if "".join(self.line):
                    self._end_code_line()
                self.line = []
                self.lines += ["```", ""]

    def _list(self, tag: str, attributes: Mapping[str, str], *, closes: bool) -> None:
        self._end_line()
        if not closes:
            if not self.lists:
                self._gap()
            start = attributes.get("start", "1")
            first = int(start) if start.isascii() and start.isdecimal() and len(start) < 8 else 1
            self.lists.append(first - 1 if tag == "ol" else None)
        elif self.lists:
            self.lists.pop()
            if not self.lists:
                self._gap()

    def _item(self, attributes: Mapping[str, str], *, closes: bool) -> None:
        self._end_line()
        self.prefix = ""
        if closes:
            return
        if not self.lists:
            self.lists.append(None)
        number = self.lists[-1]
        self.prefix = "- "
        if number is not None:
            self.lists[-1] = number + 1
            self.prefix = f"{number + 1}. "
        if checked := attributes.get("data-checked"):
            self.prefix += "[x] " if checked == "true" else "[ ] "
            if checked not in ("true", "false"):
                self.note("not_understood", f'<li data-checked="{checked}">')

    def _box(self, attributes: Mapping[str, str]) -> None:
        """A check box. Within an item whose sign has one it is the same."""
        box = "[x] " if "checked" in attributes else "[ ] "
        if attributes.get("type", "").lower() != "checkbox" or self.prefix.endswith("] "):
            return
        if self.prefix:
            self.prefix += box
        else:
            self._put(box)

    def _link(self, attributes: Mapping[str, str], *, closes: bool) -> None:
        if not closes:
            if target := attributes.get("href"):
                self.links.append(target)
                self._put("[")
        elif self.links:
            self._put(f"]({self.links.pop()})")


def _is_mention(tag: str, attributes: Mapping[str, str]) -> bool:
    return tag.startswith(f"{MENTION}-") or MENTION in (
        *attributes.get("class", "").split(),
        attributes.get("data-type"),
    )


def _unescaped(html: str) -> str:
    return unescape(_TOO_LONG.sub("\ufffd", html))


def _language(attributes: Mapping[str, str]) -> str:
    found = _LANGUAGE.search(attributes.get("class", ""))
    return found[1] if found else ""
