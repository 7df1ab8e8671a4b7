"""Values as people write and read them."""

import pytest

from peer.cli.values import read_value, show_value
from peer.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value_type", "expected"),
    [("12", "text", "12"), ("12", "number", 12), ("-3", "number", -3), ("", "number", ""), ("true", "truth", True), ("No", "truth", False)],
)
def test_a_value_is_read_as_its_type_says(text: str, value_type: str, expected: object) -> None:
    value = read_value(text, value_type)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(("text", "value_type"), [("1.5", "number"), ("--1", "number"), ("\u0661", "number"), ("maybe", "truth"), ("x", "colour")])
def test_what_is_no_value_of_a_type_is_refused(text: str, value_type: str) -> None:
    with pytest.raises(ConfigError):
        read_value(text, value_type)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, "true"), (False, "false"), (3, "3"), ("x", "x"), (["a", "b"], "a, b"), ({"label": "slip", "text": ""}, "slip"), ({"value": 4}, "4")],
)
def test_a_value_is_shown_as_people_write_it(value: object, expected: str) -> None:
    assert show_value(value) == expected
