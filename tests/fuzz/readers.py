"""What reads bytes from elsewhere, one function each: it may refuse them with its own error, and what it takes has to be what was said.

Where a signature stands in the way the first byte says whether the bytes are signed as they are: then the damage lies behind it.
"""

import base64
import contextlib
import json
from collections.abc import Iterable
from typing import Any

import cbor2
from http_message_signatures.exceptions import HTTPMessageSignaturesException

from gossip.record import RECORD_CONTEXT, is_endpoint, read_record
from materializer import bodies, edits, keeping
from materializer.bodies import AttachmentAdd, ChunkAdd, PoisonError, RecordingCreate, read_body
from materializer.fields import make_draft
from materializer.manifest import MANIFEST_VERSIONS, RecordingFacts, make_manifest
from materializer.manifest_reading import read_manifest
from peer.core.certificate import CERTIFICATE_CONTEXT, read_certificate
from peer.core.control import read_fact
from peer.core.encoding import Value, decode, decode_fields, decode_map, decode_shallow, encode
from peer.core.event import link_event, read_event
from peer.core.group import CHECKSUM_SIZE, INVITATION_PREFIX, read_genesis, read_invitation
from peer.core.hashing import event_hash, hash_bytes
from peer.core.identity import EventId, GroupId
from peer.core.run import read_run, signed_bytes
from peer.errors import (
    CertificateInvalidError,
    EventRejectedError,
    HandshakeFailedError,
    HeaderInvalidError,
    HubAnswerInvalidError,
    InvitationInvalidError,
    ManifestInvalidError,
    NotCanonicalError,
    RecordInvalidError,
    RemoteProtocolError,
)
from peer.hub.orders import AgentOrder, HiveOrder, Joining, KeyOrder, Subscription, SwarmChange, SwarmOrder, check, read_json
from peer.hub.refusal import RefusedError
from peer.sync.effects import StoreRun
from peer.sync.messages import decode_message, encode_message
from peer.transport.blob_routes import RangeError, read_range
from peer.transport.poll_batches import decode_batch, encode_batch
from peer.transport.signatures import NONCE_HEADER, Request, RequestVerifier, sign_request
from resolver import hub_answers
from resolver.hub_cache import Kept, Seen, read_kept, write_kept
from tests.frame_attack import check_run
from tests.fuzz.pieces import split
from tests.samples import GROUP, SampleLog, key_pair

SIGN, LINK, BODIES = 1, 2, 4
"""What is put right in a run before it is read: the signature, the chain, sizes and hashes of bodies."""

NOW_MS = 1_000_000
MALLORY = key_pair("mallory")
LOG = SampleLog("mallory")
BODY_TYPES = tuple(bodies._READERS)
HUB_ORDERS = (SwarmOrder, SwarmChange, AgentOrder, HiveOrder, Joining, KeyOrder, Subscription)
CONTROL_TYPES = ("member.set", "invite", "event.void", "log.seal")


def encoding(data: bytes) -> None:
    """Strict CBOR: what is decoded is encoded to the same bytes, by every way in."""
    for read in (decode_shallow, decode_fields, decode_map):
        with contextlib.suppress(NotCanonicalError):
            read(data)
    try:
        value = decode(data)
    except NotCanonicalError:
        return
    assert encode(value) == data
    assert decode_shallow(data) == value


def run(data: bytes) -> None:
    """A run of a member's log."""
    mode, parts = data[:1], [bytes(piece) for piece in split(data[1:])]
    flags = mode[0] if mode else 0
    signature, pairs = parts[0] if parts else b"", list(zip(parts[1::2], parts[2::2], strict=False))
    pairs = _mended(pairs, flags)
    if flags & SIGN and pairs:
        with contextlib.suppress(EventRejectedError):
            seq = read_event(*pairs[-1]).header.seq
            event_id = EventId(event_hash(pairs[-1][0]))
            signature = LOG.key.sign(signed_bytes(GROUP, LOG.certificate.log, seq, event_id))
    try:
        found = read_run(LOG.certificate, pairs, signature)
    except EventRejectedError:
        return
    check_run(StoreRun(LOG.certificate, found, 0))


def _mended(pairs: list[tuple[bytes, bytes]], flags: int) -> list[tuple[bytes, bytes]]:
    """The same events, linked to one another and to their bodies as their author would have done it."""
    made: list[tuple[bytes, bytes]] = []
    for header, body in pairs:
        try:
            fields = cbor2.loads(header)
        except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
            fields = None
        if not isinstance(fields, list) or len(fields) != 10 or not flags & (LINK | BODIES):
            made.append((header, body))
            continue
        if flags & LINK:
            fields[1:3] = [GROUP, LOG.certificate.log]
            fields[3:5] = [len(made), event_hash(made[-1][0]) if made else LOG.certificate.log]
        if flags & BODIES:
            fields[8:10] = [len(body), hash_bytes(body)]
        try:
            made.append((encode(fields), body))
        except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError):
            made.append((header, body))
    return made


def certificate(data: bytes) -> None:
    """A certificate, signed as it stands if the first byte is odd."""
    flag, data = data[:1], data[1:]
    if flag and flag[0] & 1:
        unsigned = _items(data)[:5]
        data = encode([*unsigned, MALLORY.sign(CERTIFICATE_CONTEXT + encode(unsigned))])
    try:
        found = read_certificate(data, GROUP)
    except CertificateInvalidError:
        return
    assert found.to_bytes() == data
    assert found.group == GROUP


def genesis(data: bytes) -> None:
    """How a group begins; the id is that of just these bytes."""
    group = GroupId(hash_bytes(data))
    try:
        found = read_genesis(data, group)
    except RemoteProtocolError:
        return
    assert found.to_bytes() == data
    assert found.group == group


def invitation(data: bytes) -> None:
    """A line of text; with a checksum that fits if the first byte is odd."""
    flag, data = data[:1], data[1:]
    if flag and flag[0] & 1:
        text = INVITATION_PREFIX + base64.b32encode(data + hash_bytes(data)[:CHECKSUM_SIZE]).decode().rstrip("=").lower()
    else:
        text = data.decode("utf-8", "replace")
    try:
        found = read_invitation(text)
    except InvitationInvalidError:
        return
    assert found.to_text() == "".join(text.split()).lower()


def message(data: bytes) -> None:
    """A frame of a link."""
    try:
        found = decode_message(data)
    except RemoteProtocolError:
        return
    assert encode_message(found) == data


def body(data: bytes) -> None:
    """The body of a data event; the first byte chooses the type."""
    type_, data = BODY_TYPES[data[0] % len(BODY_TYPES)] if data else BODY_TYPES[0], data[1:]
    try:
        found = read_body(type_, data)
    except PoisonError:
        return
    assert found is not None
    again = _written_again(type_, found)
    assert read_body(type_, again) == found
    said, written = decode_map(data), decode_map(again)
    for key in set(said) & set(written):  # Others are of an earlier version, or of a later one.
        assert _of_any_version(said[key]) == _of_any_version(written[key])


def _of_any_version(value: Any) -> Any:
    """A value without what was not said from the beginning: hashes of schemas, behind the five other fields of a topic."""
    return [entry[:5] if isinstance(entry, list) else entry for entry in value] if isinstance(value, list) else value


def _written_again(type_: str, found: Any) -> bytes:
    if type_ in keeping.KEEPING_READERS:
        return make_draft(type_, found._asdict(), keeping.KEEPING_READERS[type_]).body
    return (edits._draft if type_ in edits.EDIT_READERS else bodies._draft)(type_, found).body


def control(data: bytes) -> None:
    """The body of a control event."""
    type_, data = CONTROL_TYPES[data[0] % len(CONTROL_TYPES)] if data else CONTROL_TYPES[0], data[1:]
    try:
        event = link_event(group=GROUP, log=LOG.certificate.log, seq=0, previous=LOG.certificate.log, hlc=1, type_=type_, refs=[], body=data)
    except HeaderInvalidError:
        return  # A body that is too long.
    read_fact(event)


def manifest(data: bytes) -> None:
    """The manifest of a recording made of whatever chunks and attachments others wrote."""
    create = RecordingCreate("run", "", 0, "")
    chunks: dict[int, ChunkAdd] = {}
    attachments: list[AttachmentAdd] = []
    for piece in split(data):
        for type_ in (bodies.RECORDING_CREATE, bodies.CHUNK_ADD, bodies.ATTACHMENT_ADD):
            with contextlib.suppress(PoisonError):
                match read_body(type_, piece):
                    case RecordingCreate() as found:
                        create = found
                    case ChunkAdd() as found:
                        chunks[found.index] = found
                    case AttachmentAdd() as found:
                        attachments.append(found)
    facts = RecordingFacts(GROUP, EventId(bytes(32)), MALLORY.peer_id, create)
    for version in MANIFEST_VERSIONS:
        made = make_manifest(facts, chunks.values(), attachments, version=version)
        assert encode(decode(made.cbor)) == made.cbor
        assert read_manifest(made.cbor).json == made.json
        assert read_manifest(made.json) == made
    names = [each["name"] for each in (*made.fields["chunks"], *made.fields["attachments"])]
    assert len({name.lower() for name in names}) == len(names)
    assert not any("/" in name or name in {"", ".", ".."} for name in names)


def manifest_file(data: bytes) -> None:
    """A manifest that somebody wrote, in either form."""
    try:
        found = read_manifest(data)
    except ManifestInvalidError:
        return
    assert read_manifest(found.cbor) == found
    assert read_manifest(found.json) == found


def record(data: bytes) -> None:
    """A peer record, signed as it stands if the first byte is odd."""
    flag, data = data[:1], data[1:]
    if flag and flag[0] & 1:
        data = encode([data, MALLORY.sign(RECORD_CONTEXT + data)])
    try:
        found = read_record(data)
    except RecordInvalidError:
        return
    assert found.data == data
    assert all(is_endpoint(endpoint) for endpoint in found.record.endpoints)


def request(data: bytes) -> None:
    """A signed request: method, target, body, then header lines. Signed as it stands, and then with more headers, if the first byte is odd."""
    flag, parts = data[:1], [bytes(piece).decode("latin-1") for piece in split(data[1:])]
    method, target, content, *lines = [*parts, *("GET", "/", "")[len(parts) :]] if len(parts) < 3 else parts
    headers = {name: value for name, _, value in (line.partition(":") for line in lines)}
    verifier = RequestVerifier(key_pair("server").peer_id)
    asked = Request(method, target, headers, content.encode("latin-1"))
    if flag and flag[0] & 1:
        plain = asked._replace(headers={})
        try:
            signed = sign_request(MALLORY, key_pair("server").peer_id, verifier.fresh_nonce(NOW_MS), plain)
        except (HTTPMessageSignaturesException, ValueError):
            return  # Nothing that could be sent.
        asked = asked._replace(headers={**signed, **headers})
    try:
        peer = verifier.verify(asked, NOW_MS, lambda _: True)
    except HandshakeFailedError:
        return
    assert peer == MALLORY.peer_id
    assert NONCE_HEADER not in asked.headers


def batch(data: bytes) -> None:
    """A body of a polled link: what is taken is what is written."""
    try:
        found = decode_batch(data)
    except RemoteProtocolError:
        return
    assert encode_batch(found) == data


def hub_order(data: bytes) -> None:
    """What somebody asks of a hub: what is taken can be said again as JSON, what is refused is told in JSON."""
    model = HUB_ORDERS[data[0] % len(HUB_ORDERS)] if data else HUB_ORDERS[0]
    try:
        order = check(read_json(data[1:]), model)
    except RefusedError as error:
        json.dumps(list(error.details)).encode()
        return
    said = json.dumps(order.model_dump(exclude_unset=True), ensure_ascii=False).encode()
    assert check(read_json(said), model) == order


def hub_answer(data: bytes) -> None:
    """What a hub says of who is there, or what is kept of it: what is taken can be kept, and comes back from there."""
    kept = read_kept(data, "https://hub")
    assert read_kept(write_kept("https://hub", kept), "https://hub") == kept
    try:
        document = hub_answers.read_json(data)
        listed = hub_answers.read_peers(document)
    except HubAnswerInvalidError:
        return
    described = hub_answers.describe(document)
    if described is not None:
        assert all(is_endpoint(endpoint) for endpoint in described.endpoints)
        kept = Kept(None, frozenset(), tuple(Seen(each._replace(online=None), described, float("-inf")) for each in listed))
        assert read_kept(write_kept("https://hub", kept), "https://hub") == kept


def byte_range(data: bytes) -> None:
    """A `Range` header."""
    size, text = int.from_bytes(data[:2], "big"), data[2:].decode("latin-1")
    try:
        start, stop = read_range(text, size)
    except RangeError:
        return
    assert 0 <= start < stop <= size


def _items(data: bytes) -> list[Value]:
    try:
        value = decode(data)
    except NotCanonicalError:
        return []
    return value if isinstance(value, list) else []


def labelled(flags: Iterable[int], data: bytes) -> list[bytes]:
    """`data` behind each of these first bytes."""
    return [bytes([flag]) + data for flag in flags]
