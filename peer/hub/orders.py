"""What clients send to a hub, checked: fields that are not known are passed over, as hubs do; what is wrong is told in the words of zod.

Whatever goes in here comes out as JSON that can be sent and stored: no numbers without end, no broken text, nothing large.
"""

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NoReturn, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from peer.hub.limits import CHANNELS_MAX, DOCUMENT_SIZE_MAX, KEY_HOURS_MAX, SECRET_CHARACTERS_MAX, USES_MAX
from peer.hub.refusal import RefusedError

URL_CHARACTERS_MAX = 512
COUNT_MAX = 1_000_000
CHANNEL_CHARACTERS_MAX = 128
DIGITS_MAX = 32
SCHEMES = ("https", "http", "wss", "ws")
M = TypeVar("M", bound=BaseModel)
Json = dict[str, object]


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme in SCHEMES and bool(parts.hostname) and text.isascii() and text.isprintable() and " " not in text
        good = good and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError("Invalid url")
    return text


def _small(document: Json) -> Json:
    if len(json.dumps(document, ensure_ascii=False).encode()) > DOCUMENT_SIZE_MAX:
        raise ValueError(f"At most {DOCUMENT_SIZE_MAX} bytes")
    return document


Url = Annotated[str, Field(max_length=URL_CHARACTERS_MAX), AfterValidator(_url)]
Document = Annotated[Json, AfterValidator(_small)]
Secret = Annotated[str, Field(max_length=SECRET_CHARACTERS_MAX)]
HiveName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{2,32}$")]
Count = Annotated[int, Field(ge=0, le=COUNT_MAX)]
Transport = Literal["websocket", "http-sse", "ndjson"]
Authentication = Literal["bearer", "api-key", "mtls", "none"]
Status = Literal["online", "offline", "unreachable"]


class _Order(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class Capabilities(_Order):
    """What a peer can do."""

    observation: bool = False
    messaging: bool = False
    lifecycle: bool = False
    scopes: bool = False
    federation: bool = False
    protocols: list[Annotated[str, Field(max_length=64)]] = Field(default_factory=list, max_length=16)


class AgentOrder(_Order):
    """Somebody who comes with a pre-auth key."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{2,32}$")
    description: str | None = Field(default=None, max_length=500)


class HiveOrder(_Order):
    """A hive to make."""

    name: HiveName
    description: str | None = Field(default=None, max_length=1000)
    is_public: bool = True
    settings: Document | None = None


class SwarmOrder(_Order):
    """A swarm to register."""

    name: str = Field(min_length=1, max_length=100)
    description: str | None = Field(default=None, max_length=500)
    map_endpoint: Url
    map_transport: Transport = "websocket"
    capabilities: Capabilities | None = None
    auth_method: Authentication = "bearer"
    metadata: Document | None = None
    preauth_key: Secret | None = None


class SwarmChange(_Order):
    """What is to be different about a swarm; what is left out stays."""

    name: str = Field(default="", min_length=1, max_length=100)
    description: str | None = Field(default=None, max_length=500)
    map_endpoint: Url = ""
    map_transport: Transport = "websocket"
    status: Status = "online"
    capabilities: Capabilities | None = None
    auth_method: Authentication = "bearer"
    agent_count: Count = 0
    scope_count: Count = 0
    metadata: Document | None = None


class Joining(_Order):
    """A hive to join."""

    hive_name: str = Field(min_length=1, max_length=32)


class KeyOrder(_Order):
    """A pre-auth key to make."""

    hive_id: str | None = Field(default=None, max_length=64)
    uses: int = Field(default=1, ge=1, le=USES_MAX)
    expires_in_hours: int | None = Field(default=None, ge=1, le=KEY_HOURS_MAX)


class Subscription(_Order):
    """What the client of a WebSocket says."""

    type: Literal["subscribe", "unsubscribe", "ping"]
    channels: list[Annotated[str, Field(max_length=CHANNEL_CHARACTERS_MAX)]] = Field(default_factory=list, max_length=CHANNELS_MAX)


def read_json(data: bytes | str) -> object:
    """A JSON document; nothing for no bytes. Raises `RefusedError`."""
    try:
        document: object = json.loads(data, parse_constant=_refuse, parse_int=_whole, parse_float=_finite) if data else {}
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise RefusedError(400, "Bad Request", "Body is not valid JSON") from error
    return document


def check(document: object, model: type[M]) -> M:
    """`document` as `model`. Raises `RefusedError` with details of what is wrong."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        details = [_issue(dict(each)) for each in error.errors(include_url=False, include_context=True)]
        raise RefusedError(422, "VALIDATION_ERROR", "Invalid request body", details=details) from error


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)


def _whole(text: str) -> int:
    if len(text) > DIGITS_MAX:
        raise ValueError("a number with too many digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number without end")
    return number


_EXPECTED: Mapping[str, str] = {
    "string_type": "string",
    "int_type": "number",
    "bool_type": "boolean",
    "dict_type": "object",
    "model_type": "object",
    "model_attributes_type": "object",
    "list_type": "array",
}
_TOO_SMALL, _TOO_BIG = ("string_too_short", "too_short", "greater_than_equal"), ("string_too_long", "too_long", "less_than_equal")


def _issue(error: dict[str, Any]) -> Json:
    """What is wrong, as zod says it."""
    kind, place, message = str(error["type"]), [str(each)[:64] if isinstance(each, str) else each for each in error["loc"]], str(error["msg"])[:200]
    message = message.removeprefix("Value error, ")
    if kind == "missing":
        return {"code": "invalid_type", "expected": "string", "received": "undefined", "path": place, "message": "Required"}
    if kind in _EXPECTED:
        received = _kind_of(error["input"])
        text = f"Expected {_EXPECTED[kind]}, received {received}"
        return {"code": "invalid_type", "expected": _EXPECTED[kind], "received": received, "path": place, "message": text}
    code = "custom"
    if kind in _TOO_SMALL:
        code = "too_small"
    elif kind in _TOO_BIG:
        code = "too_big"
    elif kind == "literal_error":
        code = "invalid_enum_value"
    elif kind in ("string_pattern_mismatch", "value_error"):
        code = "invalid_string"
    return {"code": code, "path": place, "message": message}


def _kind_of(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = ((str, "string"), ((int, float), "number"), (list, "array"), (dict, "object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "null")
