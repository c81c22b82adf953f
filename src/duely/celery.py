"""What `celery -A duely` loads."""

import os
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "duely.config.settings")
django.setup()

from celery import signals  # noqa: E402 - settings come first

from duely.cli.exits import told_plainly  # noqa: E402
from duely.cli.keys import refuse_other_key_if_reachable  # noqa: E402
from duely.jobs.celery import app  # noqa: E402

__all__ = ["app"]


@signals.worker_init.connect
@signals.beat_init.connect
def refuse_other_key(**_: Any) -> None:
    """End the worker or the beat when the database belongs to another secret key."""
    with told_plainly():
        refuse_other_key_if_reachable()
