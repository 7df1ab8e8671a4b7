"""What a hub answers, read as if a stranger had written it. Pure.

Anybody may register any name, address and metadata at a hub, and the hub itself may say anything. So every field is checked for type, length and
characters, what is not known is passed over, and nothing of it is more than a hint: who is there is proved in the handshake.
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gossip.record import SignedRecord, is_endpoint, read_record
from peer.core.identity import PeerId
from peer.core.names import is_name
from peer.errors import HubAnswerInvalidError, RecordInvalidError

PROTOCOL = "hive-sync/1"
"""What a swarm that is a peer like this one has among the protocols of its capabilities."""

PEERS_MAX = 1000
"""Of one answer; what comes after them is passed over."""

HIVES_MAX = 64
ENDPOINT_CHARACTERS_MAX = 512
RECORD_CHARACTERS_MAX = 2048
PROTOCOLS_MAX = 16

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}\Z")
_HIVE = re.compile(r"[a-z0-9_-]{2,32}\Z")
_REASON = re.compile(r"[A-Z][A-Z_]{1,39}\Z")
_KEY = re.compile(r"[!-~]{8,512}\Z")
_HEX_ID = re.compile(r"[0-9a-f]{64}\Z")
ONLINE: Mapping[object, bool] = {"online": True, "offline": False, "unreachable": False}


class ListedPeer(NamedTuple):
    """A peer, as it is in the list of those who share a hive with us."""

    swarm: str
    endpoint: str
    """Where the hub thinks it is. Never dialled: it is compared to see whether something changed."""
    hives: frozenset[str]
    online: bool | None


class Described(NamedTuple):
    """What a swarm says of the peer that it stands for."""

    peer: PeerId
    name: str
    endpoints: tuple[str, ...]
    seq: int | None
    """That of the peer's own signed record, where the endpoints are from one; None where anybody may have written them."""


def read_json(data: bytes) -> object:
    """A document. Raises `HubAnswerInvalidError`."""
    try:
        document: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise HubAnswerInvalidError("the hub's answer is no JSON", fix="check hub_source.url: is that a hub?") from error
    return document


def reason_of(document: object) -> str:
    """The word that an answer gives for an error, or nothing."""
    word = document.get("error") if isinstance(document, dict) else None
    return word if isinstance(word, str) and _REASON.match(word) else ""


def read_swarm_id(document: object) -> str:
    """Of the swarm that was registered. Raises `HubAnswerInvalidError`."""
    swarm = document.get("swarm") if isinstance(document, dict) else None
    return _checked_id(swarm.get("id") if isinstance(swarm, dict) else None, "the swarm that was registered")


def read_hive_id(document: object) -> str:
    """Of a hive. Raises `HubAnswerInvalidError`."""
    return _checked_id(document.get("id") if isinstance(document, dict) else None, "a hive")


def read_api_key(document: object) -> str:
    """The key of an agent that was registered. Raises `HubAnswerInvalidError`."""
    key = document.get("api_key") if isinstance(document, dict) else None
    if not isinstance(key, str) or not _KEY.match(key):
        raise HubAnswerInvalidError("the hub gives no key to the agent that it registered", fix="check hub_source.url: is that a hub?")
    return key


def find_swarm(document: object, endpoint: str) -> tuple[str | None, int]:
    """The id of the swarm with this `map_endpoint` in a page of swarms, and how many swarms that page has."""
    page = document.get("data") if isinstance(document, dict) else None
    swarms = page if isinstance(page, list) else []
    found = (each.get("id") for each in swarms if isinstance(each, dict) and each.get("map_endpoint") == endpoint)
    return next((each for each in found if isinstance(each, str) and _ID.match(each)), None), len(swarms)


def read_peers(document: object) -> Sequence[ListedPeer]:
    """Peers of our kind. One that cannot be read is passed over. Raises `HubAnswerInvalidError` if it is no list at all."""
    peers = document.get("peers") if isinstance(document, dict) else None
    if not isinstance(peers, list):
        raise HubAnswerInvalidError("the hub's list of peers is none", fix="check hub_source.url: is that a hub?")
    found: dict[str, ListedPeer] = {}
    for each in peers[:PEERS_MAX]:
        listed = _read_listed(each)
        if listed is not None:
            found[listed.swarm] = listed
    return list(found.values())


def describe(document: object) -> Described | None:
    """What a swarm says of its peer; None if that is not what a peer of our kind says."""
    metadata = document.get("metadata") if isinstance(document, dict) else None
    if not isinstance(document, dict) or not isinstance(metadata, dict):
        return None
    record, text = _record_in(metadata.get("record")), metadata.get("peer_id")
    peer = PeerId(bytes.fromhex(text)) if isinstance(text, str) and _HEX_ID.match(text) else None
    if peer is None and record is None:
        return None
    name = document.get("name")
    shown = name if isinstance(name, str) and is_name(name) else ""
    if record is not None and peer in (None, record.record.peer):
        return Described(record.record.peer, shown, record.record.endpoints, record.record.seq)
    assert peer is not None
    endpoint = metadata.get("sync_endpoint")
    return Described(peer, shown, (endpoint,) if isinstance(endpoint, str) and is_endpoint(endpoint) else (), None)


def read_described(value: object) -> Described | None:
    """What `described_form` made, wherever it has been since."""
    match value:
        case {"peer": str(peer), "name": str(name), "endpoints": list(endpoints), "seq": seq} if _HEX_ID.match(peer):
            good = tuple(each for each in endpoints if isinstance(each, str) and is_endpoint(each))
            number = seq if type(seq) is int else None
            return Described(PeerId(bytes.fromhex(peer)), name if is_name(name) else "", good, number)
        case _:
            return None


def described_form(described: Described) -> dict[str, object]:
    """To be kept as JSON."""
    return {"peer": described.peer.hex(), "name": described.name, "endpoints": list(described.endpoints), "seq": described.seq}


def read_listed(value: object) -> ListedPeer | None:
    """What `listed_form` made, wherever it has been since."""
    return _read_listed(value)


def listed_form(listed: ListedPeer) -> dict[str, object]:
    """To be kept as JSON, in the hub's own words."""
    capabilities = {"protocols": [PROTOCOL]}
    return {"swarm_id": listed.swarm, "map_endpoint": listed.endpoint, "shared_hives": sorted(listed.hives), "capabilities": capabilities}


def is_id(text: object) -> bool:
    """True for what may be part of a path."""
    return isinstance(text, str) and _ID.match(text) is not None


def is_hive(text: object) -> bool:
    """True for what may be the name of a hive."""
    return isinstance(text, str) and _HIVE.match(text) is not None


def _read_listed(value: object) -> ListedPeer | None:
    if not isinstance(value, dict):
        return None
    match value:
        case {"swarm_id": str(swarm), "map_endpoint": str(endpoint), "shared_hives": list(hives), "capabilities": {"protocols": list(protocols)}}:
            pass
        case _:
            return None
    if not _ID.match(swarm) or len(endpoint) > ENDPOINT_CHARACTERS_MAX or PROTOCOL not in protocols[:PROTOCOLS_MAX]:
        return None
    status = value.get("status")
    names = frozenset(each for each in hives[:HIVES_MAX] if isinstance(each, str) and _HIVE.match(each))
    return ListedPeer(swarm, endpoint, names, ONLINE.get(status) if isinstance(status, str) else None)


def _record_in(text: object) -> SignedRecord | None:
    if not isinstance(text, str) or len(text) > RECORD_CHARACTERS_MAX:
        return None
    try:
        return read_record(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError, RecordInvalidError):
        return None


def _checked_id(value: object, what: str) -> str:
    if not isinstance(value, str) or not _ID.match(value):
        raise HubAnswerInvalidError(f"the hub gives no usable id to {what}", fix="check hub_source.url: is that a hub?")
    return value
