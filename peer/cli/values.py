"""Values as people write and read them: text, whole numbers, true or false."""

from peer.errors import ConfigError

TYPES = ("text", "number", "truth")
TYPE_HELP = "What the value is: text, number (a whole one) or truth (true or false)."
WORDS = {"true": True, "yes": True, "false": False, "no": False}


def read_value(text: str, value_type: str) -> str | int | bool:
    """What somebody wrote, as the value of this type. Raises `ConfigError`. The empty text takes a value away, whatever the type."""
    if value_type not in TYPES:
        raise ConfigError(f"{value_type!r} is no type of a value", fix=f"write --type {', '.join(TYPES)}")
    if value_type == "text" or not text:
        return text
    if value_type == "truth":
        if text.casefold() not in WORDS:
            raise ConfigError(f"{text!r} is neither true nor false", fix="write true or false, or leave out --type truth")
        return WORDS[text.casefold()]
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdecimal():
        raise ConfigError(f"{text!r} is no whole number", fix="write digits only, or leave out --type number")
    return int(text)


def show_value(value: object) -> str:
    """A value as people read it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(str(each) for each in value)
    if isinstance(value, dict):
        return str(value.get("label", value.get("value")))  # What an annotation says, or a review.
    return str(value)
