"""Duely: a task manager with an API."""

__version__ = "0.1.0"
