"""HTML of other programs' editors as plain Markdown."""

import re
from html import unescape

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*+)((?:\s|/)[^<>]*+)?>|<!--(?:[^<>-]|-(?!->))*+-->")
_TOO_LONG = re.compile(r"&#[0-9]{8,};?")
"""A number that no character has. `unescape` would take it for one of thousands of digits."""
_CHECKED = re.compile(r'data-checked="(true|false)"')
_ATTRIBUTE = {name: re.compile(rf'(?<![\w-]){name}="([^"]*+)"') for name in ("href", "src", "alt", "class")}
_LANGUAGE = re.compile(r"language-([\w+#-]{1,30})")
_SPACES = re.compile(r"[ \t\r\n]+")

BLOCKS = frozenset({"p", "div", "blockquote", "table", "tr", "section", "article", "header", "footer", "hr"})
HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
MARKS = {"strong": "**", "b": "**", "em": "*", "i": "*", "s": "~~", "del": "~~", "strike": "~~"}
DROPPED = frozenset({"label", "input", "span", "u", "mark", "sub", "sup", "small", "colgroup", "col", "tbody", "thead"})
OTHERS = frozenset({"br", "ul", "ol", "li", "pre", "code", "a", "img", "td", "th", "html", "body", "head", "font"})
KNOWN = BLOCKS | DROPPED | OTHERS | set(HEADINGS) | set(MARKS)
FIRST = KNOWN - {"i", "b", "s", "u"}
"""A text that begins with one of these is HTML. The short ones may be anything."""
MAX_INDENT = 8
"""Levels of lists that are indented. Deeper ones stay at that."""


def is_html(text: str) -> bool:
    """Whether a text is HTML, as an editor writes it: then it begins with a tag. All else is text, or Markdown."""
    first = _TAG.match(text, len(text) - len(text.lstrip()))
    return first is not None and first[2] is not None and first[2].lower() in FIRST


def text_of_html(text: str) -> str:
    """The text of HTML as plain Markdown. What is not HTML comes back as it is.

    It makes text, not HTML: nothing in it needs to be safe. Tags that HTML does not have are text.
    """
    return _Writer().written(text) if is_html(text) else text


class _Writer:
    """Goes through HTML once. No structure is kept but the open lists, links and marks."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.line: list[str] = []
        self.lists: list[int | None] = []
        """The open lists: the number of the last item, or None for one without numbers."""
        self.links: list[str] = []
        self.code = 0
        """Depth of preformatted text."""
        self.prefix = ""
        """What stands before the first text of a line: the sign of an item, or of a heading."""

    def written(self, html: str) -> str:
        """The whole text."""
        at = 0
        for tag in _TAG.finditer(html):
            if tag[2] is not None and tag[2].lower() not in KNOWN:
                continue
            self._text(html[at : tag.start()])
            at = tag.end()
            if tag[2] is not None:
                self._tag(tag[2].lower(), tag[3] or "", closes=bool(tag[1]))
        self._text(html[at:])
        self._end_line()
        return "\n".join(self.lines).strip("\n")

    def _text(self, html: str) -> None:
        text = unescape(_TOO_LONG.sub("\ufffd", html))
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

    def _tag(self, tag: str, attributes: str, *, closes: bool) -> None:
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
            self._list(tag, closes=closes)
        elif tag == "li":
            self._item(attributes, closes=closes)
        elif tag in MARKS or tag == "code":
            self._put(MARKS.get(tag, "`"))
        elif tag == "a":
            self._link(attributes, closes=closes)
        elif tag == "img":
            self._put(f"![{_attribute('alt', attributes)}]({_attribute('src', attributes)})")
        elif tag in ("td", "th") and closes:
            self._put(" | ")

    def _pre(self, attributes: str, *, closes: bool) -> None:
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

    def _list(self, tag: str, *, closes: bool) -> None:
        self._end_line()
        if not closes:
            if not self.lists:
                self._gap()
            self.lists.append(0 if tag == "ol" else None)
        elif self.lists:
            self.lists.pop()
            if not self.lists:
                self._gap()

    def _item(self, attributes: str, *, closes: bool) -> None:
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
        if checked := _CHECKED.search(attributes):
            self.prefix += "[x] " if checked[1] == "true" else "[ ] "

    def _link(self, attributes: str, *, closes: bool) -> None:
        if not closes:
            if target := _attribute("href", attributes):
                self.links.append(target)
                self._put("[")
        elif self.links:
            self._put(f"]({self.links.pop()})")


def _attribute(name: str, attributes: str) -> str:
    found = _ATTRIBUTE[name].search(attributes)
    return unescape(_TOO_LONG.sub("\ufffd", found[1])) if found else ""


def _language(attributes: str) -> str:
    found = _LANGUAGE.search(_attribute("class", attributes))
    return found[1] if found else ""
