"""A small export of each format, made by hand after the public structure of what the programs write."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

DUELY = {
    "format": "duely",
    "version": 1,
    "exported_at": "2026-02-01T09:00:00.000Z",
    "categories": [{"id": "0198c3a0-0000-7000-8000-000000000002", "name": "Home"}],
    "tasks": [{"id": "0198c3a0-0000-7000-8000-000000000001", "title": "Milk"}],
}
TODOIST = (
    "TYPE,CONTENT,DESCRIPTION,IS_COLLAPSED,PRIORITY,INDENT,AUTHOR,RESPONSIBLE,DATE,DATE_LANG,TIMEZONE,DURATION,"
    "DURATION_UNIT,DEADLINE,DEADLINE_LANG\n"
    "task,Milk @shop,,,1,1,,,2099-01-31,en,UTC,,,,\n"
    "note,Two litres,,,,,,,,,,,,,\n"
)
VIKUNJA: list[Any] = [
    {
        "id": 7,
        "title": "Home",
        "hex_color": "1973ff",
        "is_archived": False,
        "tasks": [
            {
                "id": 1,
                "title": "Milk",
                "description": "<p>Two litres</p>",
                "done": False,
                "done_at": "0001-01-01T00:00:00Z",
                "due_date": "2099-01-31T09:00:00Z",
                "priority": 5,
                "labels": [{"id": 1, "title": "shop", "created": "2026-01-01T00:00:00Z"}],
                "reminders": [{"reminder": "2099-01-30T09:00:00Z", "relative_period": 0, "relative_to": ""}],
                "repeat_after": 604800,
                "related_tasks": {"parenttask": [{"id": 2, "title": "Shopping", "done": False}]},
                "created": "2026-01-01T00:00:00Z",
                "updated": "2026-01-02T00:00:00Z",
            }
        ],
    }
]
TICKTICK = (
    '\ufeff"Date: 2026-10-01+0000"\n"Version: 7.1"\n"Status: \n0 Normal\n1 Completed\n2 Archived"\n'
    '"Folder Name","List Name","Title","Kind","Tags","Content","Is Check list","Start Date","Due Date","Reminder",'
    '"Repeat","Priority","Status","Created Time","Completed Time","Order","Timezone","Is All Day","Is Floating",'
    '"Column Name","Column Order","View Mode","taskId","parentId"\n'
    '"Private","Home","Milk","TEXT","food, shop","Two litres","N","2099-09-29T22:00:00+0000","2099-09-30T22:00:00+0000",'
    '"-PT30M","RRULE:FREQ=WEEKLY;INTERVAL=1","5","0","2026-09-20T10:00:00+0000","","1","Europe/Berlin","true","false",'
    '"","","list","t1","t2"\n'
    '"","Home","Shopping","CHECKLIST","","▫Bread▪Wine","Y","","","","","3","2","2026-09-20T10:00:00+0000",'
    '"2026-09-21T10:00:00+0000","2","Europe/Berlin",,"false","","","list","t2","t1"\n'
    '"","Home","Never","TEXT","","","N","","","","","0","-1","2026-09-20T10:00:00+0000","","3","","","false","","",'
    '"list","t3",""\n'
)
CARD = "5f0c1a2b0000000000000001"
TRELLO: dict[str, Any] = {
    "id": "5f0c1a2b0000000000000000",
    "name": "House",
    "desc": "",
    "closed": False,
    "actions": [
        {
            "id": "a1",
            "type": "commentCard",
            "date": "2026-01-03T00:00:00.000Z",
            "data": {"text": "Ask Bob", "card": {"id": CARD, "name": "Milk"}, "board": {"id": "b"}},
        },
        {"id": "a2", "type": "updateCard", "data": {"old": {"pos": 1}, "card": {"id": CARD}}},
    ],
    "cards": [
        {
            "id": CARD,
            "name": "Milk",
            "desc": "Two *litres*",
            "closed": False,
            "dueComplete": False,
            "due": "2099-01-31T09:00:00.000Z",
            "dueReminder": 1440,
            "dateLastActivity": "2026-01-02T00:00:00.000Z",
            "idList": "l1",
            "idChecklists": ["c1"],
            "labels": [{"id": "g", "idBoard": "b", "name": "shop", "color": "green"}, {"name": "", "color": "red"}],
            "idMembers": [],
            "attachments": [{"id": "x", "name": "List", "url": "https://example.org/list"}],
            "pos": 65535,
        },
        {"id": "c2", "name": "Sold", "closed": True, "dueComplete": False, "idList": "l1", "labels": []},
        {"id": "c3", "name": "Built", "closed": True, "dueComplete": True, "idList": "l2", "labels": []},
    ],
    "labels": [{"id": "g", "name": "shop", "color": "green"}],
    "lists": [
        {"id": "l1", "name": "Doing", "closed": False, "pos": 1},
        {"id": "l2", "name": "Ideas", "closed": False, "pos": 2},
    ],
    "checklists": [
        {
            "id": "c1",
            "idCard": CARD,
            "name": "Shops",
            "checkItems": [
                {"id": "i", "name": "Market", "state": "complete", "pos": 1},
                {"id": "j", "name": "Bakery", "state": "incomplete", "pos": 2},
            ],
        }
    ],
}
GOOGLE_TASKS: dict[str, Any] = {
    "kind": "tasks#taskLists",
    "items": [
        {
            "kind": "tasks#tasks",
            "id": "L1",
            "title": "Home",
            "updated": "2026-01-02T00:00:00.000Z",
            "items": [
                {
                    "kind": "tasks#task",
                    "id": "t1",
                    "title": "Milk",
                    "notes": "Two litres",
                    "status": "needsAction",
                    "due": "2099-01-31T00:00:00.000Z",
                    "updated": "2026-01-02T00:00:00.000Z",
                    "position": "00000000000000000000",
                    "links": [{"type": "email", "description": "Mail", "link": "https://mail.example.org/1"}],
                },
                {
                    "kind": "tasks#task",
                    "id": "t2",
                    "title": "Bread",
                    "parent": "t1",
                    "status": "completed",
                    "completed": "2026-01-03T00:00:00.000Z",
                    "updated": "2026-01-03T00:00:00.000Z",
                    "hidden": True,
                },
                {"kind": "tasks#task", "id": "t3", "title": "Gone", "deleted": True, "status": "needsAction"},
            ],
        }
    ],
}
MICROSOFT_TODO: list[Any] = [
    {
        "displayName": "Home",
        "id": "AQ==",
        "isOwner": True,
        "isShared": False,
        "wellknownListName": "defaultList",
        "tasks": [
            {
                "id": "AAMk1",
                "status": "inProgress",
                "title": "Milk",
                "importance": "high",
                "isReminderOn": True,
                "createdDateTime": "2026-01-01T10:00:00.0646821Z",
                "lastModifiedDateTime": "2026-01-02T10:00:00.1234567Z",
                "hasAttachments": False,
                "categories": ["shop"],
                "body": {"content": "<p>Two litres</p>", "contentType": "html"},
                "dueDateTime": {"dateTime": "2099-01-30T23:00:00.0000000", "timeZone": "UTC"},
                "reminderDateTime": {"dateTime": "2099-01-30T09:00:00.0000000", "timeZone": "Europe/Berlin"},
                "recurrence": {
                    "pattern": {"type": "weekly", "interval": 2, "daysOfWeek": ["monday"], "firstDayOfWeek": "sunday"},
                    "range": {"type": "noEnd", "startDate": "2026-01-01", "endDate": "0001-01-01"},
                },
                "checklistItems": [
                    {"displayName": "Market", "isChecked": True, "id": "c1", "createdDateTime": "2026-01-01T10:00:00Z"},
                    {"displayName": "Bakery", "isChecked": False, "id": "c2"},
                ],
                "linkedResources": [{"displayName": "Mail", "webUrl": "https://mail.example.org/1", "id": "r"}],
            },
            {
                "id": "AAMk2",
                "status": "waitingOnOthers",
                "title": "Bread",
                "importance": "normal",
                "body": {"content": "", "contentType": "text"},
                "dueDateTime": {"dateTime": "2099-02-01T00:00:00.0000000", "timeZone": "Pacific Standard Time"},
            },
        ],
    }
]
SUPER_PRODUCTIVITY: dict[str, Any] = {
    "timestamp": 1785700000000,
    "lastUpdate": 1785700000000,
    "crossModelVersion": 4.4,
    "data": {
        "task": {
            "ids": ["t1", "t2"],
            "entities": {
                "t1": {
                    "id": "t1",
                    "title": "Milk",
                    "notes": "Two litres",
                    "projectId": "p1",
                    "tagIds": ["TODAY", "g1"],
                    "subTaskIds": ["t2"],
                    "timeSpentOnDay": {},
                    "timeSpent": 0,
                    "timeEstimate": 3600000,
                    "isDone": False,
                    "created": 1785600000000,
                    "modified": 1785600000000,
                    "attachments": [{"id": "a", "type": "LINK", "title": "List", "path": "https://example.org/list"}],
                    "dueDay": "2099-01-31",
                    "deadlineDay": "2099-02-28",
                    "priority": 3,
                    "repeatCfgId": "r1",
                    "remindAt": 4073155200000,
                },
                "t2": {
                    "id": "t2",
                    "title": "Market",
                    "projectId": "p1",
                    "parentId": "t1",
                    "tagIds": [],
                    "subTaskIds": [],
                    "isDone": True,
                    "doneOn": 1785650000000,
                    "created": 1785600000000,
                    "attachments": [],
                },
            },
        },
        "project": {"ids": ["p1"], "entities": {"p1": {"id": "p1", "title": "Home", "taskIds": ["t1"]}}},
        "tag": {
            "ids": ["g1"],
            "entities": {"g1": {"id": "g1", "title": "shop"}, "TODAY": {"id": "TODAY", "title": "Today"}},
        },
        "taskRepeatCfg": {
            "ids": ["r1"],
            "entities": {
                "r1": {"id": "r1", "repeatCycle": "WEEKLY", "repeatEvery": 1, "monday": True, "friday": False}
            },
        },
        "archiveYoung": {
            "task": {
                "ids": ["t3"],
                "entities": {"t3": {"id": "t3", "title": "Old", "isDone": True, "doneOn": 1785650000000, "tagIds": []}},
            }
        },
        "globalConfig": {"lang": {"lng": "en"}},
    },
}
TABLE = "Title,Notes,Due,List\nMilk,Two litres,2099-01-31,Home\n"


def archived(name: str, content: str | bytes) -> bytes:
    """An archive with one file in it."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return packed.getvalue()


def encoded(sample: Any) -> bytes:
    """A sample as its program writes it."""
    return sample.encode() if isinstance(sample, str) else json.dumps(sample).encode()


SAMPLES: dict[str, Any] = {
    "duely": DUELY,
    "todoist": TODOIST,
    "vikunja": VIKUNJA,
    "ticktick": TICKTICK,
    "trello": TRELLO,
    "google_tasks": GOOGLE_TASKS,
    "microsoft_todo": MICROSOFT_TODO,
    "super_productivity": SUPER_PRODUCTIVITY,
    "csv": TABLE,
}
TASK_OF: dict[str, Callable[[Any], dict[str, Any]]] = {
    "vikunja": lambda sample: sample[0]["tasks"][0],
    "trello": lambda sample: sample["cards"][0],
    "google_tasks": lambda sample: sample["items"][0]["items"][0],
    "microsoft_todo": lambda sample: sample[0]["tasks"][0],
    "super_productivity": lambda sample: sample["data"]["task"]["entities"]["t1"],
}
"""Where the task stands that tests change."""
TITLE_OF = {"todoist": "CONTENT", "ticktick": "Title", "csv": "Title", "trello": "name"}
"""What formats call the title."""
