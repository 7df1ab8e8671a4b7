"""How values look in JSON: bytes in hex; what is in nanoseconds as decimal strings, since 53 bits are not enough, with an RFC 3339 twin."""

from datetime import UTC, datetime

NS_PER_S = 1_000_000_000
NS_SUFFIX = "_ns"
Json = dict[str, object]


def rfc3339(time_ns: int) -> str:
    """A time with all nine digits of its nanoseconds, in UTC."""
    seconds, fraction = divmod(time_ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09}Z"


def to_json(value: object) -> object:
    """`value`, made of what CBOR holds, as JSON holds it."""
    if isinstance(value, dict):
        shown: Json = {}
        for key, item in value.items():
            if key.endswith(NS_SUFFIX) and (item is None or type(item) is int):
                shown[key] = None if item is None else str(item)
                shown[key.removesuffix(NS_SUFFIX)] = _twin(item)
            else:
                shown[key] = to_json(item)
        return shown
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return value.hex() if isinstance(value, bytes) else value


def _twin(time_ns: int | None) -> str | None:
    try:
        return None if time_ns is None else rfc3339(time_ns)
    except (ValueError, OverflowError, OSError):
        return None  # A time that no calendar has: the number says it all.
