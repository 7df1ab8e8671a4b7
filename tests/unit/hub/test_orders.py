"""What clients send to a hub: read, stripped, or refused in words that they know."""

import json

import pytest

from peer.hub.limits import DOCUMENT_SIZE_MAX, SECRET_CHARACTERS_MAX
from peer.hub.orders import SwarmChange, SwarmOrder, check, read_json
from peer.hub.refusal import RefusedError

GOOD = {"name": "arm", "map_endpoint": "https://arm.example:7850"}


def issues(document: object) -> list[dict[str, object]]:
    with pytest.raises(RefusedError) as caught:
        check(document, SwarmOrder)
    assert (caught.value.status, caught.value.error) == (422, "VALIDATION_ERROR")
    return [dict(each) for each in caught.value.details]  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "data",
    [
        b"{", b"[1,", b"\xff", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": 1e999}', b'{"a": "\\ud800"}', b"[" * 100_000, b'{"a": ' + b"9" * 33 + b"}",
    ],
)  # fmt: skip
def test_what_cannot_be_said_again_as_json_is_not_read(data: bytes) -> None:
    with pytest.raises(RefusedError) as caught:
        read_json(data)

    assert caught.value.status == 400


def test_fields_that_are_not_known_are_passed_over_and_metadata_is_kept_as_it_is() -> None:
    metadata = {"sync_groups": ["lab"], "deep": {"er": [1, 2.5, None, True]}}

    order = check({**GOOD, "hive_sync": True, "capabilities": {"federation": True, "hive_sync": 1}, "metadata": metadata}, SwarmOrder)

    assert order.metadata == metadata
    assert order.capabilities is not None
    assert order.capabilities.model_dump(exclude_unset=True) == {"federation": True}
    assert "hive_sync" not in order.model_dump()


@pytest.mark.parametrize(
    ("change", "issue"),
    [
        ({"map_endpoint": 7}, {"code": "invalid_type", "expected": "string", "received": "number", "path": ["map_endpoint"]}),
        ({"name": None}, {"code": "invalid_type", "expected": "string", "received": "null", "path": ["name"]}),
        ({"name": ""}, {"code": "too_small", "path": ["name"]}),
        ({"name": "x" * 101}, {"code": "too_big", "path": ["name"]}),
        ({"map_endpoint": "nowhere"}, {"code": "invalid_string", "path": ["map_endpoint"]}),
        ({"map_endpoint": "file:///etc/passwd"}, {"code": "invalid_string", "path": ["map_endpoint"]}),
        ({"map_endpoint": "https://a b"}, {"code": "invalid_string", "path": ["map_endpoint"]}),
        ({"preauth_key": "x" * (SECRET_CHARACTERS_MAX + 1)}, {"code": "too_big", "path": ["preauth_key"]}),
        ({"map_transport": "smoke"}, {"code": "invalid_enum_value", "path": ["map_transport"]}),
        ({"metadata": []}, {"code": "invalid_type", "expected": "object", "received": "array", "path": ["metadata"]}),
        ({"metadata": {"x": "y" * DOCUMENT_SIZE_MAX}}, {"code": "invalid_string", "path": ["metadata"]}),
        ({"capabilities": {"protocols": ["x"] * 17}}, {"code": "too_big", "path": ["capabilities", "protocols"]}),
        ({"capabilities": {"federation": 1}}, {"code": "invalid_type", "expected": "boolean", "received": "number"}),
    ],
)
def test_what_is_wrong_is_told_field_by_field(change: dict[str, object], issue: dict[str, object]) -> None:
    (found,) = issues({**GOOD, **change})

    assert issue.items() <= found.items()
    assert json.dumps(found)


@pytest.mark.parametrize("document", [[], "x", 7, None])
def test_what_is_no_object_is_refused(document: object) -> None:
    assert issues(document)[0]["path"] == []


def test_a_change_says_only_what_is_different() -> None:
    assert check({"status": "offline", "id": "other"}, SwarmChange).model_dump(exclude_unset=True) == {"status": "offline"}
