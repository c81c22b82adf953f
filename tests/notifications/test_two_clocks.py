"""Several schedulers at the same instant."""

import threading

import pytest
from django.db import connection

from cast import Api, reader
from duely.core.clock import now, rfc3339
from duely.jobs.models import Job
from duely.notifications import actions, jobs
from duely.notifications.models import Notice
from duely.notifications.rules import next_digest
from notifications.helpers import remind

pytestmark = pytest.mark.usefixtures("committed_db")


def test_each_reminder_and_digest_is_queued_once() -> None:
    hour = (now().hour + 2) % 24
    due = next_digest(hour, "UTC", now())
    for number in range(20):
        me = Api(reader(f"p{number}"))
        me.patch("profile/", {"digest_hour": hour})
        me.post("tasks/", {"title": "Rent", "due_date": rfc3339(due), "reminders": ["-PT30M"]})
    start = threading.Barrier(3)
    ended = []

    def tick() -> None:
        start.wait()
        remind(due)
        while actions.queue_digests(deliver=jobs.deliver, now=due):
            pass
        ended.append(True)
        connection.close()

    threads = [threading.Thread(target=tick) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ended) == 3
    assert sorted(Notice.objects.values_list("kind", flat=True)) == ["digest"] * 20 + ["reminder"] * 20
    assert Job.objects.filter(name="notifications.deliver").count() == 40
