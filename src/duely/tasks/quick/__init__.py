"""A task in one line of English: `Pay rent tomorrow 9am #home @bank !high`. No database, no clock.

What is not understood for certain stays in the title.
"""

from duely.tasks.quick.due import read_due
from duely.tasks.quick.line import MAX_TEXT, category_names, understand
from duely.tasks.quick.spans import Field, Span, Understood

__all__ = ["MAX_TEXT", "Field", "Span", "Understood", "category_names", "read_due", "understand"]
