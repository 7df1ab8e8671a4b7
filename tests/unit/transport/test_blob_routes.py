"""What a `Range` header means."""

import pytest

from peer.transport.blob_routes import RangeError, read_range


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=0-99", (0, 100)),
        ("bytes=0-1000", (0, 100)),
        ("bytes=99-", (99, 100)),
        ("bytes=-1", (99, 100)),
        ("bytes=-1000", (0, 100)),
        ("Bytes=10-19", (10, 20)),
        (" bytes = 10 - 19 ", (10, 20)),
    ],
)
def test_a_range_names_bytes(text: str, expected: tuple[int, int]) -> None:
    assert read_range(text, 100) == expected


@pytest.mark.parametrize(
    "text",
    [
        "bytes=100-",
        "bytes=100-200",
        "bytes=-0",
        "bytes=5-4",
        "bytes=-",
        "bytes=0-1,3-4",
        "items=0-1",
        "bytes",
        "",
        "bytes=a-b",
        "bytes=" + "9" * 5000 + "-",
    ],
)
def test_a_range_that_no_bytes_are_in_is_refused(text: str) -> None:
    with pytest.raises(RangeError):
        read_range(text, 100)


def test_no_range_is_in_the_empty_blob() -> None:
    for text in ("bytes=0-", "bytes=0-0", "bytes=-1"):
        with pytest.raises(RangeError):
            read_range(text, 0)
