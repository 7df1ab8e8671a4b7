"""Our part of a policy comes and goes, and leaves every other byte as it was."""

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.core.mesh_policy import BEGIN, END, our_grants, read_policy, with_grants
from peer.errors import PolicyTextError

OURS = [{"src": ["100.64.0.1"], "dst": ["100.64.0.2"], "ip": ["tcp:7850"]}, {"src": ["a"], "dst": ["b // no comment"], "ip": ["tcp:1"]}]
WRITTEN = """// Who may talk to whom.
{
\t/* groups */ "groups": {"group:robotics": ["alice@example.org",],},
\t"grants": [ // grants
\t\t{"src": ["*"], "dst": ["tag:web"], "ip": ["tcp:443"],}, // the "grants": [] of the site
\t],
\t"hosts": {"// recmesh begin": "100.64.0.9", "grants": "100.64.0.8"},
}
"""
TEXTS = [
    WRITTEN,
    "{}",
    "{ }\n",
    '{"grants":[]}',
    '{"acls": [{"action": "accept", "src": ["*"], "dst": ["*:*"]}]}',
    '{"a": {"grants": [1]}, "grants": [2, 3]}',
]


@pytest.mark.parametrize("text", TEXTS)
def test_our_grants_come_change_and_go_and_nothing_else_does(text: str) -> None:
    before = read_policy(text)
    once = with_grants(text, OURS)

    assert read_policy(once) == {**before, "grants": [*OURS, *before.get("grants", [])]}
    assert our_grants(once) == OURS
    assert with_grants(once, OURS) == once
    changed = with_grants(once, OURS[:1])
    assert our_grants(changed) == OURS[:1]
    assert with_grants(changed, OURS) == once
    assert with_grants(once, []) == text
    start, stop = once.index(BEGIN), once.index(END) + len(END)
    assert once[: start - 1] + once[stop + 1 :] == text


def test_a_policy_without_us_has_no_grants_of_ours() -> None:
    assert our_grants(WRITTEN) == []
    assert with_grants(WRITTEN, []) == WRITTEN


@pytest.mark.parametrize(
    "change",
    [
        ("tcp:7850", "tcp:22"),
        (END, END + " "),
        (END, "// something\n" + END),
        (END + "\n", ""),
        (BEGIN + "\n", ""),
        (BEGIN, BEGIN + "\n" + BEGIN),
        (BEGIN, "/* */" + BEGIN),
        (END + "\n", END + "\n" + BEGIN + "\n" + END + "\n"),
    ],
)
def test_where_somebody_changed_our_part_nothing_is_written(change: tuple[str, str]) -> None:
    once = with_grants(WRITTEN, OURS)
    touched = once.replace(*change, 1)
    assert touched != once
    if change[0] == "tcp:7850":
        assert our_grants(touched) != OURS  # What is well-formed is ours to change: the plan shows it.
        assert with_grants(touched, OURS) == once
        return

    with pytest.raises(PolicyTextError):
        with_grants(touched, OURS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"a": [,]}',
        "{,}",
        "// only",
        "{]",
        '{"a": }',
        '{"a": 1,, }',
        '{"a": "x}',
        "{/* }",
        "{} {}",
        '{"grants": {}}',
        "{'a': 1}",
        "[" * 100_000,
        "{/}",
        '{"a": 1 2}',
    ],
)
def test_what_is_no_policy_is_one_clear_error(text: str) -> None:
    with pytest.raises(PolicyTextError):
        with_grants(text, OURS)


def written(chance: random.Random, value: Any) -> str:
    """The same in HuJSON, with blanks, comments and commas where they may be."""
    blank = chance.choice(["", " ", "\n", "\t", "\r\n", '// a "comment" {[\n', "/* and, another ] */", "// recmesh\n"])
    comma = chance.choice(["", ","])
    match value:
        case dict() if value:
            inner = ",".join(f"{blank}{json.dumps(key)}{blank}:{written(chance, each)}" for key, each in value.items())
            return f"{blank}{{{inner}{comma}{blank}}}{blank}"
        case list() if value:
            return f"{blank}[{','.join(written(chance, each) for each in value)}{comma}{blank}]{blank}"
    return f"{blank}{json.dumps(value, ensure_ascii=chance.random() < 0.5)}{blank}"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=6) | st.just("acls"), VALUES, max_size=4), st.lists(VALUES, max_size=3) | st.none(), st.integers())
def test_whatever_is_written_comes_back_byte_for_byte(rest: dict[str, Any], grants: list[Any] | None, seed: int) -> None:
    policy = {key: value for key, value in rest.items() if key != "grants"} | ({} if grants is None else {"grants": grants})
    chance = random.Random(seed)
    items = list(policy.items())
    chance.shuffle(items)
    text = written(chance, dict(items))

    assert read_policy(text) == policy
    once = with_grants(text, OURS)
    assert read_policy(once) == {**policy, "grants": [*OURS, *(grants or [])]}
    assert (with_grants(once, OURS), with_grants(once, [])) == (once, text)
