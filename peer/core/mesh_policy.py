"""The access policy of a mesh as its admins wrote it, and the one part of it that is ours. Pure.

Policies are HuJSON: JSON with comments and commas behind last items. What is ours stands between two comments at the beginning of the array `grants`:
putting it in, changing it and taking it out leaves every other byte as it was. Without such an array the comments enclose a whole one.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from peer.errors import PolicyTextError

BEGIN = "// recmesh begin: kept by `recmesh network apply`, which refuses to go on where this was changed by hand"
END = "// recmesh end"
GRANTS = "grants"
DEPTH_MAX = 64
SIZE_MAX = 4 * 1024 * 1024

Grant = dict[str, Any]


class _Token(NamedTuple):
    """A piece of the text that is neither blank nor comment."""

    text: str
    start: int
    stop: int


class _Place(NamedTuple):
    """Where an array or an object of the text opens, and where it closes."""

    start: int
    stop: int


def read_policy(text: str) -> dict[str, Any]:
    """What a policy says. Raises `PolicyTextError` for what is no object in HuJSON."""
    tokens = [token.text for token in _tokens(text)]
    plain = [
        token for token, before, after in zip(tokens, ["[", *tokens], [*tokens[1:], ""], strict=False) if not _is_last_comma(before, token, after)
    ]
    try:
        document = json.loads(" ".join(plain))
    except (ValueError, RecursionError) as error:
        raise _broken(str(error)) from error
    if not isinstance(document, dict):
        raise _broken("it is no object")
    return document


def our_grants(text: str) -> list[Grant]:
    """The grants between our comments; none if there are no such comments. Raises `PolicyTextError` where somebody changed something there."""
    found = _ours(text)
    if found is None:
        return []
    block = text[found.start : found.stop]
    inner = block.partition("\n")[2].rpartition("\n")[0].strip()
    is_whole = inner.startswith(f'"{GRANTS}"')
    document = read_policy("{" + inner + "}" if is_whole else f'{{"{GRANTS}": [{inner}]}}')
    grants = document.get(GRANTS)
    if not isinstance(grants, list) or block != _block(grants, is_whole=is_whole):
        raise PolicyTextError("the part of the policy that recmesh keeps was changed by hand", fix="take it out of the policy, then apply again")
    return grants


def with_grants(text: str, grants: Sequence[Grant]) -> str:
    """The policy with these grants as ours, and everything else byte for byte as it was. Raises `PolicyTextError`."""
    read_policy(text)
    our_grants(text)
    bare = _without(text)
    if not grants:
        return bare
    array = _array(bare)
    is_whole = array is None
    at = _top(bare).start + 1 if array is None else array.start + 1
    changed = bare[:at] + "\n" + _block(list(grants), is_whole=is_whole) + "\n" + bare[at:]
    read_policy(changed)
    return changed


def _is_last_comma(before: str, piece: str, after: str) -> bool:
    """True for a comma behind a last item, which JSON itself does not have."""
    return piece == "," and after in ("]", "}") and before not in ("[", "{", ",")


def _without(text: str) -> str:
    found = _ours(text)
    return text if found is None else text[: found.start - 1] + text[found.stop + 1 :]


def _ours(text: str) -> _Place | None:
    """From the first of our comments to the end of the second one; the line breaks around them are ours, too."""
    comments = [(start, stop) for start, stop in _comments(text) if text[start:stop] in (BEGIN, END)]
    if not comments:
        return None
    words = [text[start:stop] for start, stop in comments]
    if words != [BEGIN, END]:
        raise PolicyTextError("the comments around the part of the policy that recmesh keeps are not a pair", fix="take them out, then apply again")
    start, stop = comments[0][0], comments[1][1]
    if text[start - 1 : start] != "\n" or text[stop : stop + 1] != "\n":
        raise PolicyTextError("the part of the policy that recmesh keeps was changed by hand", fix="take it out of the policy, then apply again")
    return _Place(start, stop)


def _block(grants: Sequence[Grant], *, is_whole: bool) -> str:
    lines = [f"{json.dumps(grant, sort_keys=True, ensure_ascii=False)}," for grant in grants]
    if is_whole:
        lines = [f'"{GRANTS}": [', *lines, "],"]
    return "\n".join([BEGIN, *lines, END])


def _top(text: str) -> _Place:
    tokens = list(_tokens(text))
    return _Place(tokens[0].start, tokens[-1].stop)


def _array(text: str) -> _Place | None:
    """The array of grants of a policy that was read, None if it has none."""
    depth, key, found = 0, "", None
    tokens = list(_tokens(text))
    for token, following in zip(tokens, [*tokens[1:], tokens[-1]], strict=True):
        if depth == 1 and following.text == ":":
            key = json.loads(token.text)
        if token.text in ("[", "{"):
            depth += 1
            if depth == 2 and key == GRANTS:  # noqa: PLR2004  (a member of the policy itself)
                if token.text != "[":
                    raise _broken(f"its {GRANTS} are no array")
                found = _Place(token.start, token.stop)
        elif token.text in ("]", "}"):
            depth -= 1
    return found


def _tokens(text: str) -> Iterator[_Token]:
    """Everything but blanks and comments."""
    if len(text) > SIZE_MAX:
        raise _broken(f"it is longer than {SIZE_MAX} characters")
    depth = 0
    for start, stop in _pieces(text):
        token = text[start:stop]
        if token.startswith(("//", "/*")):
            continue
        depth += token in ("[", "{")
        depth -= token in ("]", "}")
        if depth > DEPTH_MAX:
            raise _broken("it is nested too deep")
        yield _Token(token, start, stop)


def _comments(text: str) -> Iterator[tuple[int, int]]:
    """Where each comment of one line begins and ends."""
    return ((start, stop) for start, stop in _pieces(text) if text.startswith("//", start))


def _pieces(text: str) -> Iterator[tuple[int, int]]:
    """Where strings, comments, brackets and words begin and end."""
    at, size = 0, len(text)
    while at < size:
        if text[at] in " \t\r\n":
            at += 1
            continue
        stop = _end_of(text, at)
        yield at, stop
        at = stop


def _end_of(text: str, at: int) -> int:
    """The end of the piece that begins at `at`."""
    if text.startswith("//", at):
        end = text.find("\n", at)
        return len(text) if end < 0 else end
    if text.startswith("/*", at):
        end = text.find("*/", at + 2)
        if end < 0:
            raise _broken("a comment has no end")
        return end + 2
    if text[at] == '"':
        end = at + 1
        while end < len(text) and text[end] != '"':
            end += 2 if text[end] == "\\" else 1
        if end >= len(text):
            raise _broken("a text has no end")
        return end + 1
    if text[at] in "[]{},:":
        return at + 1
    end = at
    while end < len(text) and text[end] not in ' \t\r\n[]{},:"/':
        end += 1
    if end == at:
        raise _broken(f"there is a {text[at]!r} at {at}")
    return end


def _broken(why: str) -> PolicyTextError:
    return PolicyTextError(f"the policy of the mesh cannot be read: {why}", fix="look at it where it is edited")
