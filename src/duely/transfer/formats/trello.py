"""A board of Trello as JSON ("Print, export, and share", "Export as JSON").

The fields are those of boards, cards and lists in Trello's REST API.
"""

from datetime import UTC, datetime

from duely.core.clock import rfc3339
from duely.tasks.rules import IncomingCategory, IncomingTask
from duely.transfer import rules
from duely.transfer.formats import foreign
from duely.transfer.formats.base import Format, Outline, Source
from duely.transfer.formats.document import ITEM, Document, Entry, Kind
from duely.transfer.reading import Reading, Record
from duely.transfer.rules import Faulty, Rows

BOARD = ()
CARD, LIST, LABEL = ("cards", ITEM), ("lists", ITEM), ("labels", ITEM)
CHECK_LIST, ACTION = ("checklists", ITEM), ("actions", ITEM)
COMMENTS = frozenset({"commentCard", "copyCommentCard"})
OF_ITEM = frozenset({"id", "idChecklist", "pos", "nameData", "idMember", "due", "dueReminder"})
OF_ATTACHMENT = frozenset(
    (
        *("id", "bytes", "date", "edgeColor", "idMember", "isUpload", "mimeType", "pos", "previews", "fileName"),
        "isMalicious",
    )
)
KINDS = {
    BOARD: Kind(
        "board.",
        {"closed": False, "pinned": False, "starred": False, "subscribed": False},
        frozenset(
            (
                *("id", "nodeId", "descData", "idOrganization", "idEnterprise", "limits", "shortLink", "powerUps"),
                *("idTags", "datePluginDisable", "creationMethod", "ixUpdate", "enterpriseOwned", "idBoardSource"),
                *("idMemberCreator", "prefs", "labelNames", "memberships", "members", "pluginData", "dateLastView"),
                *(
                    "dateLastActivity",
                    "url",
                    "shortUrl",
                    "premiumFeatures",
                    "invitations",
                    "invited",
                    "templateGallery",
                ),
                *("type", "dateClosed", "creationMethodError", "creationMethodLoadingStartedAt"),
            )
        ),
    ),
    CARD: Kind(
        "card.",
        {"isTemplate": False, "subscribed": False, "pinned": False, "dueReminder": -1, "manualCoverAttachment": False},
        frozenset(
            (
                *(
                    "nodeId",
                    "address",
                    "badges",
                    "checkItemStates",
                    "descData",
                    "email",
                    "idBoard",
                    "idLabels",
                    "idShort",
                ),
                *(
                    "idAttachmentCover",
                    "limits",
                    "pos",
                    "shortLink",
                    "shortUrl",
                    "subscribed",
                    "cover",
                    "creationMethod",
                ),
                *("pluginData", "cardRole", "mirrorSourceId", "manualCoverAttachment", "idMembersVoted", "nodeId"),
                *("creationMethodError", "creationMethodLoadingStartedAt", "dateLastActivity", "idChecklists"),
                *("faviconUrl", "idOrganization", "dateClosed"),
            )
        ),
    ),
    LIST: Kind(
        "list.",
        {"closed": False, "subscribed": False},
        frozenset({"idBoard", "pos", "softLimit", "limits", "creationMethod", "status", "nodeId", "color", "type"}),
    ),
    LABEL: Kind("label.", {}, frozenset({"idBoard", "nodeId", "color", "uses", "limits"})),
    CHECK_LIST: Kind("checklist.", {}, frozenset({"idBoard", "pos", "limits", "creationMethod", "id"})),
    ACTION: Kind("action.", {}, frozenset({"id", "idMemberCreator", "memberCreator", "appCreator", "limits", "date"})),
}


def recognises(outline: Outline) -> bool:
    """An object with the lists and the cards of a board."""
    return outline.kind == "object" and outline.has("cards", "lists", "name")


class _Board:
    """What cards refer to: lists, labels, check lists and comments. Held in memory, up to a length together.

    known: the hashes of the ids of all cards; None as long as they are not known.
    """

    def __init__(self, known: set[int] | None = None) -> None:
        room = foreign.Room()
        self.cards: set[int] = set()
        self._known = known
        self.lists = foreign.References(room)
        self.closed: set[str] = set()
        self.labels = foreign.References(room)
        self.check_lists: dict[str, list[str]] = {}
        self.comments: dict[str, list[str]] = {}
        self._room = room

    def add(self, entry: Entry) -> None:
        """Take what one record says."""
        record = entry.record
        if entry.path == CARD:
            self._room.take("")
            self.cards.add(hash(record.text("id")))
        elif entry.path == LIST:
            identifier, name = record.text("id"), foreign.plain(record.text("name"))
            self.lists.add(identifier, name, record.place)
            if record.flag("closed"):
                self.closed.add(identifier)
                record.note("closed", "internal", name)
        elif entry.path == LABEL:
            self.labels.add(record.text("id"), record.text("name") or record.text("color"), record.place)
        elif entry.path == CHECK_LIST:
            self._check_list(record)
        elif entry.path == ACTION:
            self._action(record)

    def note_unused(self, reading: Reading) -> None:
        """Note the names that no card has."""
        self.lists.note_unused(reading, "list.name")
        self.labels.note_unused(reading, "label.name")

    def _has(self, card: str) -> bool:
        return card != "" and (self._known is None or hash(card) in self._known)

    def _check_list(self, record: Record) -> None:
        name, card = foreign.plain(record.text("name")), record.text("idCard")
        if not self._has(card):
            record.note("idCard", "unresolved", card)
            record.note("checkItems", "unresolved", [name, record.take("checkItems")])
            return
        rows = foreign.check_list(record, "checkItems", "name", "state", OF_ITEM)
        self.check_lists.setdefault(card, []).append(self._room.take(f"{name}:\n{rows}" if name else rows))

    def _action(self, record: Record) -> None:
        """A comment. The other actions are the board's log."""
        kind = record.text("type")
        data = record.record("data", frozenset({"list", "board", "old", "dateLastEdited", "textData"}))
        card = data.record("card", frozenset({"name", "idShort", "shortLink"}))
        text = data.text("text")
        if kind not in COMMENTS:
            # A log entry with a text is of a kind that is not known.
            record.note("data", "left_out" if text else "internal", [kind, text, data.values])
            return
        card_id = card.text("id")
        if self._has(card_id):
            self.comments.setdefault(card_id, []).append(self._room.take(text))
        else:
            record.note("data.card", "unresolved", card_id)
            record.note("data.text", "unresolved", text)
        card.finish()
        data.finish()


def read(source: Source, reading: Reading) -> Rows:
    """The rows of a board: it becomes a category, its lists and labels tags."""
    with source.only() as file:
        board = _Board()
        for entry in Document(file, reading.check).records(KINDS, Reading(reading.check)):
            if isinstance(entry, Entry):
                board.add(entry)
        for entry in Document(file, reading.check).records(KINDS, reading):
            if isinstance(entry, Faulty):
                yield entry
            elif entry.path == CARD:
                yield _card(entry.record, board, source.zone, reading)
            elif entry.path == BOARD:
                name = foreign.category_name(entry.record, entry.record.text("name"), "name") or foreign.NAMELESS
                yield IncomingCategory("board", {"name": name})
            else:
                _Board(board.cards).add(entry)
        board.note_unused(reading)


def _card(record: Record, board: _Board, zone: str, reading: Reading) -> IncomingTask | Faulty:
    task = foreign.Draft(record, reading, record.text("name"), "name")
    identifier = record.text("id")
    task.describe(record.text("desc"))
    list_id = record.text("idList")
    list_name = board.lists.use(record, "idList", list_id)
    task.fields["status"] = _status(record, list_name, is_closed=list_id in board.closed)
    task.tag([list_name], "idList")
    _set_labels(task, record, board)
    task.due(record.text("due"), zone, "due")
    task.say("Start", record.text("start"), "start")
    task.at("completed_at", record.text("dateCompleted"), zone, "dateCompleted")
    if created := _created(identifier):
        task.fields["created_at"] = created
    task.at("updated_at", record.text("dateLastActivity"), zone, "dateLastActivity")
    minutes = record.take("dueReminder")
    if isinstance(minutes, int) and minutes >= 0:
        task.remind(f"-PT{minutes}M", zone, "dueReminder")
    elif minutes not in (None, -1):
        record.note("dueReminder", "not_understood", minutes)
    for text in (*board.check_lists.get(identifier, ()), *board.comments.get(identifier, ())):
        task.describe(text)
    for attachment in record.records("attachments", OF_ATTACHMENT):
        name, url = foreign.plain(attachment.text("name")), attachment.text("url")
        task.say("Attachment", f"[{name}]({url})" if url and url != name else name, "attachments")
        attachment.finish()
    return task.finished(f"trello {identifier or record.place}", "board", follows=bool(identifier))


def _status(record: Record, list_name: str, *, is_closed: bool) -> str:
    """Done when it is ticked off; else as its list is called; an archived card that is not done is cancelled."""
    is_archived = record.flag("closed") or is_closed
    if record.flag("dueComplete"):
        return "completed"
    status = rules.STATUSES.get(rules.word(list_name), "pending")
    if is_archived and status != "completed":
        record.note("closed", "changed", record.values.get("name"))
        return "cancelled"
    return "pending" if status == "overdue" else status


def _set_labels(task: foreign.Draft, record: Record, board: _Board) -> None:
    ids = record.texts("idLabels")
    for label in record.records("labels", frozenset({"idBoard", "idOrganization", "nodeId", "uses", "limits"})):
        identifier, name, color = label.text("id"), label.text("name"), label.text("color")
        task.tag([name or color], "labels")
        if board.labels.has(identifier):
            board.labels.use(label, "id", identifier)
        if identifier in ids:
            ids.remove(identifier)
        label.finish()
    task.tag([board.labels.use(record, "idLabels", identifier) for identifier in ids], "idLabels")


def _created(identifier: str) -> str | None:
    """When a card was made: its id begins with the seconds since 1970, in sixteen's digits (MongoDB's ObjectId)."""
    if len(identifier) != 24 or not all(sign in "0123456789abcdef" for sign in identifier):
        return None
    return rfc3339(datetime.fromtimestamp(int(identifier[:8], 16), UTC))


FORMAT = Format("trello", "Trello", "a board as JSON", recognises, read)
