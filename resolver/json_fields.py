"""Fields of documents that others wrote, in JSON: what is missing or of another type stands for nothing. Pure.

What goes to people, a log or a list is read as a line: short, and of characters that can be shown. What is sent back as it came is read as text.
"""

from collections.abc import Mapping, Sequence

LINE_MAX = 512
LIST_MAX = 64
"""Texts of one field."""

OBJECTS_MAX = 10_000
"""Objects of one field, such as the machines of a mesh."""

Fields = Mapping[str, object]


def object_of(fields: Fields, key: str) -> Fields:
    """A field that is an object, else an empty one."""
    value = fields.get(key)
    return value if isinstance(value, dict) else {}


def objects_of(fields: Fields, key: str) -> Sequence[Fields]:
    """The objects in a field that is a list of them, or an object of them; what else is in it is passed over."""
    value = fields.get(key)
    values = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    return [each for each in values if isinstance(each, dict)][:OBJECTS_MAX]


def text_of(fields: Fields, key: str) -> str:
    """A field that is text, as it came; else nothing."""
    value = fields.get(key)
    return value if isinstance(value, str) else ""


def line_of(fields: Fields, key: str) -> str:
    """A field that is text, as one line; else nothing."""
    return as_line(text_of(fields, key))


def texts_of(fields: Fields, key: str) -> tuple[str, ...]:
    """A field that is a list of texts, each as it came; else nothing."""
    value = fields.get(key)
    return tuple(each for each in value[:LIST_MAX] if isinstance(each, str)) if isinstance(value, list) else ()


def lines_of(fields: Fields, key: str) -> tuple[str, ...]:
    """A field that is a list of texts, each as one line; else nothing."""
    return tuple(as_line(each) for each in texts_of(fields, key))


def as_line(text: str, length_max: int = LINE_MAX) -> str:
    """One line of what others wrote, fit for a terminal."""
    return "".join(each if each.isprintable() else " " for each in text[:length_max])
