"""Names become paths, so little is allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peer.core.names import check_name, folded, is_name
from peer.errors import NameInvalidError

ALLOWED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"


@pytest.mark.parametrize("name", ["a", "run-2026_11.20", "-", "_", "0", "A" * 128, "a..b", "a.", "CON"])
def test_a_name_of_allowed_characters_is_taken(name: str) -> None:
    assert is_name(name)
    assert check_name(name, "recording") == name


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        ("a" * 129, "has 129 characters"),
        ("a" * 10_000_000, "has 10000000 characters"),
        (".", "starts with a dot"),
        ("..", "starts with a dot"),
        (".hidden", "starts with a dot"),
        ("../../etc/passwd", "starts with a dot"),
        ("a/b", "contains '/'"),
        ("/absolute", "contains '/'"),
        ("a\\b", "contains"),
        ("a\n", "contains"),
        ("a\0", "contains"),
        ("a\x1b[2J", "contains"),
        ("a b", "contains ' '"),
        (" ", "contains ' '"),
        ("höhe", "contains 'ö'"),
        ("a\u202eb", "contains"),
        ("\uff0e\uff0e", "contains"),
        ("a\u0661", "contains"),
        ("\ud800", "contains"),
        ("C:", "contains ':'"),
        ("~root", "contains '~'"),
        ("*", "contains '*'"),
    ],
)
def test_any_other_name_is_refused_saying_why(name: str, problem: str) -> None:
    assert not is_name(name)
    with pytest.raises(NameInvalidError) as caught:
        check_name(name, "group")
    assert problem in caught.value.text
    assert caught.value.fix
    assert len(caught.value.text) < 1000
    assert caught.value.text.isprintable()


@given(st.text())
def test_a_name_is_what_the_rule_says_and_nothing_else(text: str) -> None:
    assert is_name(text) == (1 <= len(text) <= 128 and all(character in ALLOWED for character in text) and not text.startswith("."))


@given(st.text(st.sampled_from(ALLOWED + "/\n \0é"), max_size=140))
def test_texts_that_are_nearly_names_follow_the_rule_too(text: str) -> None:
    assert is_name(text) == (1 <= len(text) <= 128 and all(character in ALLOWED for character in text) and not text.startswith("."))


def test_names_that_differ_in_case_alone_are_the_same_name() -> None:
    assert folded("Run-A") == folded("rUN-a") != folded("run-b")
