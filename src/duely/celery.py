"""What `celery -A duely` loads."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "duely.config.settings")
django.setup()

from duely.jobs.celery import app  # noqa: E402 - settings come first

__all__ = ["app"]
