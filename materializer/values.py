"""What people may give a value: properties of recordings and machines, settings of a group.

Known keys have a type of their own; any other key holds text of one line, a whole number, or true or false. The empty text takes a value away,
whatever the key. A value that does not fit is poison where it arrives, and refused where it is entered, by the same rule.
"""

from materializer.fields import VALUE_BYTES_MAX, PoisonError, is_key, key_field, line_field, need
from peer.core.encoding import Value

PlainValue = str | int | bool
"""What a property holds."""
SettingValue = str | int | bool | list[str]
"""What a setting holds."""

NUMBER_MAX = 2**53 - 1
"""The greatest whole number, above and below zero, that every JSON reader keeps."""
TEXT_PROPERTIES = ("robot", "operator", "task", "place", "title")
"""Properties of a recording that are text."""
DESCRIPTION = "description"
MIN_COPIES = "min_copies"
RETENTION = "retention"
REQUIRED_PROPERTIES = "required_properties"
KNOWN_SETTINGS = (DESCRIPTION, MIN_COPIES, RETENTION, REQUIRED_PROPERTIES)
COPIES_MAX = 100
RETENTION_CLASSES = ("transient", "raw", "summary", "reference", "permanent")
REQUIRED_MAX = 32
"""Properties that a group requires of its recordings."""


def plain_field(value: Value) -> PlainValue:
    """Text of one line, a whole number, or true or false."""
    if type(value) is str:
        return line_field(value, VALUE_BYTES_MAX)
    if type(value) is bool:
        return value
    if type(value) is not int or not -NUMBER_MAX <= value <= NUMBER_MAX:
        raise PoisonError("a value that is neither text, nor a whole number of 53 bits, nor true or false")
    return value


def property_field(key: str, value: Value) -> PlainValue:
    """The value of a property of a recording."""
    need(key not in TEXT_PROPERTIES or type(value) is str, f"{key} is text")
    return plain_field(value)


def setting_field(key: str, value: Value) -> SettingValue:
    """The value of a setting of a group."""
    if value == "" or key not in KNOWN_SETTINGS:
        return plain_field(value)
    match key:
        case "min_copies":
            need(type(value) is int and 1 <= value <= COPIES_MAX, f"{key} is a whole number from 1 to {COPIES_MAX}")
        case "retention":
            need(type(value) is str and value in RETENTION_CLASSES, f"{key} is one of {', '.join(RETENTION_CLASSES)}")
        case "required_properties":
            return _keys(key, value)
        case _:
            need(type(value) is str, f"{key} is text")
    return plain_field(value)


def setting_of_text(key: str, text: str) -> SettingValue:
    """The value of a setting that somebody wrote as text: a number in digits, keys with commas between them."""
    if key == MIN_COPIES and text.isascii() and text.isdecimal() and len(text) <= len(str(COPIES_MAX)):
        return int(text)
    if key == REQUIRED_PROPERTIES and text:
        return [each.strip() for each in text.split(",")]
    return text


def text_of(value: Value) -> str:
    """A value as text, for filters and for people: `true`, `12`, `robot, task`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(text_of(each) for each in value)
    return str(value)


def _keys(key: str, value: Value) -> list[str]:
    if type(value) is not list or len(value) > REQUIRED_MAX or not all(type(each) is str and is_key(each) for each in value):
        raise PoisonError(f"{key} is a list of up to {REQUIRED_MAX} keys of properties")
    keys = [key_field(each) for each in value]
    need(len(set(keys)) == len(keys), f"{key} names a property twice")
    return keys
