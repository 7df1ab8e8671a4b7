"""Names that become paths. Checked when they are entered and again when they arrive from elsewhere."""

import re

from peer.core.hashing import hash_bytes
from peer.errors import NameInvalidError

NAME_CHARACTERS_MAX = 128
HIVE_CHARACTERS_MAX = 32
_HIVE = re.compile(r"[a-z0-9_-]{2,32}\Z")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}\Z")


def is_name(text: str) -> bool:
    """True for 1 to 128 characters of `[A-Za-z0-9._-]`, the first no dot."""
    return _NAME.match(text) is not None


def check_name(text: str, what: str) -> str:
    """`text`, if it may name a `what`. Raises `NameInvalidError` that says what is wrong with it."""
    if is_name(text):
        return text
    if not text:
        problem = "is empty"
    elif len(text) > NAME_CHARACTERS_MAX:
        problem = f"has {len(text)} characters"
    elif text.startswith("."):
        problem = "starts with a dot"
    else:
        wrong = next(character for character in text if not re.match(r"[A-Za-z0-9._-]", character))
        problem = f"contains {wrong!r}"
    shown = text if len(text) <= NAME_CHARACTERS_MAX else text[:32] + "..."
    raise NameInvalidError(
        f"{what} name {shown!r} {problem}", fix=f"use 1 to {NAME_CHARACTERS_MAX} characters of A-Z a-z 0-9 . _ - and no dot in front"
    )


def folded(name: str) -> str:
    """The form in which two names are compared: file systems differ in case, names may not."""
    return name.casefold()


def hive_of(name: str) -> str:
    """What a hub calls a group of this name: its folded form, or the hash of that where a hub would not take it."""
    form = folded(name)
    return form if _HIVE.match(form) else "g-" + hash_bytes(form.encode()).hex()[: HIVE_CHARACTERS_MAX - 2]
