"""`duely`, or Celery's own command, with the sample jobs and shorter times.

    python launcher.py '{"LEASE": 3, "DRAIN_SECONDS": 1}' worker --scheduler
    python launcher.py '{}' celery -A duely beat
    python launcher.py '{}' supervise worker

The first argument is what differs from the real thing, as JSON; without `sample.tick` unless TICKS is true.
"""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

TESTS = Path(__file__).parents[1]


def main() -> None:
    text, program = sys.argv[1], sys.argv[2:]
    sys.path.insert(0, str(TESTS))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "duely.config.settings")
    change(json.loads(text), [sys.executable, "-P", __file__, text])
    if program[0] == "celery":
        from celery.__main__ import main as celery

        sys.argv = program
        sys.exit(celery())
    from duely.cli.main import main as duely

    if program[0] == "supervise":
        from duely.cli.supervisor import Command, Supervisor

        sys.argv = ["duely", *program[1:]]
        Supervisor([Command("worker", duely)]).run()
        return
    sys.argv = ["duely", *program]
    duely()


def change(times: dict[str, float], command: list[str]) -> None:
    """Before anything of the queue is loaded but its rules."""
    from duely.cli import serve
    from duely.jobs import registry, rules

    rules.LEASE = timedelta(seconds=times.pop("LEASE", 30))
    rules.FIRST_RETRY = timedelta(seconds=times.pop("FIRST_RETRY", 5))
    serve.duely_command = lambda: command
    with_ticks = times.pop("TICKS", False)

    import django

    django.setup()
    from duely.jobs import queue, worker
    from jobs import sample

    if not with_ticks:
        del registry._known[sample.tick.name]
    places = [worker, queue]
    if "RESEND_AFTER" in times or "MAX_MESSAGES" in times:
        from duely.jobs import celery

        celery.RESEND_AFTER = timedelta(seconds=times.pop("RESEND_AFTER", 60))
        places.append(celery)
    for name, value in times.items():
        for place in places:
            if hasattr(place, name):
                setattr(place, name, value)


if __name__ == "__main__":
    main()
