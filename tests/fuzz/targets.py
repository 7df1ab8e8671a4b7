"""All targets, each with the seeds that a fuzzer starts from. Seeds are made here, by the code that writes what is read: none lies in a file."""

import base64
import json
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from gossip.record import PeerRecord, Reachability, sign_record
from materializer import bodies, edits, keeping, receipts
from materializer.edits import AnnotationAdd
from materializer.manifest import MANIFEST_VERSIONS, RecordingFacts, make_manifest
from peer.core.certificate import LogKind
from peer.core.control import Point, Role, event_void, invite, log_seal, member_set
from peer.core.encoding import encode
from peer.core.frontier import Tip
from peer.core.group import CHECKSUM_SIZE, Genesis, Invitation
from peer.core.identity import BlobId, EventId
from peer.core.run import Draft
from peer.sync import messages
from peer.sync.messages import Message, encode_message
from peer.transport.poll_batches import Batch, encode_batch
from resolver.hub_answers import PROTOCOL, describe, read_peers
from resolver.hub_cache import Kept, Seen, write_kept
from tests.frame_attack import Attack
from tests.fuzz import files, readers, sites
from tests.fuzz.pieces import join
from tests.fuzz.readers import BODY_TYPES, CONTROL_TYPES, labelled
from tests.histories import chunk_body, create_body, facts_of
from tests.samples import GROUP, SampleLog, genesis, key_pair, note, parts
from tests.sync_site import events_of, have_of

ID = EventId(bytes(32))
BLOB = BlobId(bytes(32))
ANNOTATION = AnnotationAdd(ID, "odd", "a noise", 1, 2, None)


class Target(NamedTuple):
    """Something that reads bytes."""

    run: Callable[[bytes], None]
    """Raises for what is a bug."""
    seeds: Callable[[], Iterable[bytes]]
    size_max: int = 4096


def _values() -> Iterable[bytes]:
    values: list[object] = [None, True, 0, -1, 2**64 - 1, -(2**64), b"bytes", "text", [], {}, [1, [2, {"a": 1}]], {"a": 1, "bb": [b""]}]
    return [encode(value) for value in values]


def _runs() -> Iterable[bytes]:
    log = SampleLog("mallory")
    for drafts in ([note()], [note(1), note(2)], [Draft("test.refs", b"", [ID]), Draft("ü" * 32, bytes(100))]):
        run = log.write(*drafts)
        yield from labelled(range(8), join([run.signature, *(piece for part in parts(run) for piece in part)]))


def _certificates() -> Iterable[bytes]:
    return labelled((0, 1), SampleLog("mallory").certificate.to_bytes())


def _geneses() -> Iterable[bytes]:
    return [genesis().to_bytes(), Genesis("lab", (key_pair("alice").peer_id, key_pair("bob").peer_id), bytes(32), 0, {"a": [1]}).to_bytes()]


def _invitations() -> Iterable[bytes]:
    alice = key_pair("alice").peer_id
    made = Invitation(GROUP, "lab", alice, alice, "https://127.0.0.1:7850", Role.WRITER, 1, bytes(32))
    fields = encode([1, GROUP, "lab", alice, alice, made.endpoint, int(Role.WRITER), 1, bytes(32)])
    assert CHECKSUM_SIZE
    return [b"\0" + made.to_text().encode(), b"\1" + fields]


def _messages() -> list[Message]:
    attack = Attack(member=True)
    group, log = attack.group.id, attack.alices.certificate.log
    attack.logs[0].write_notes(1)
    said: list[Message] = [
        messages.Want(group, log, (), search=False),
        messages.Want(group, log, (ID,), search=True),
        messages.Unwant(group, log),
        messages.Unknown(group, log),
        messages.Rejected(group, log, "log_gap"),
        messages.Credit(1000),
        messages.BlobWant(1, group, BLOB, 0, 10, relay=False),
        messages.Records(group, ((b"record", 1),)),
        messages.Sites(group, ((b"status", 1),)),
        messages.Digests(group, 3, bytes(32), (("chunks", bytes(32)), ("recordings", ID))),
        messages.DigestWant(group, bytes(32), "chunks", b"\1"),
        messages.DigestPart(group, bytes(32), "chunks", b"", rows=False, entries=((b"\1", bytes(32)),)),
        messages.DigestPart(group, bytes(32), "chunks", b"\1", rows=True, entries=((b"\1" * 32, bytes(32)),)),
        messages.BlobPart(1, "", b"bytes"),
        messages.PossessionWant(1, group, EventId(ID), bytes(32), ((BLOB, 0),)),
        messages.Possession(1, "", (bytes(32),)),
        messages.RoundsWant(group, (bytes(32),)),
        messages.RoundsEnded(group, (bytes(32),)),
        messages.Ping(1),
        messages.Pong(1),
        messages.Error("not_a_member", "no", group),
        messages.Error("not_a_member", "no", b""),
        messages.Proof(bytes(64), joining=True),
        messages.Join(group, bytes(32), bytes(64), "bob"),
        messages.JoinRequest(group, bytes(32), key_pair("zoe").peer_id, "zoe", bytes(32), bytes(64), 2),
        messages.JoinRefused(group, bytes(32), key_pair("zoe").peer_id, "invitation_refused"),
        messages.Guest(group),
        messages.Member(group),
        messages.Offer(group, attack.group.genesis.to_bytes()),
        messages.Offer(genesis(name="new").group, genesis(name="new").to_bytes()),
        messages.Joined(group, genesis().to_bytes()),
        messages.Hello((1,), key_pair("mallory").peer_id, bytes(32), bytes(16), bytes(16), "mallory", b""),
        have_of(group, *attack.logs[:1]),
        messages.Have(group, complete=False, more=True, logs=(messages.LogEntry(log, b"", (Tip(1, ID), Tip(9, ID))),)),
    ]
    return said


def _frames() -> Iterable[bytes]:
    return [encode_message(message) for message in _messages()]


def _sessions() -> Iterable[bytes]:
    attack = Attack(member=True)
    log, other = attack.logs[:2]
    good = log.write_notes(2)
    more = log.write_notes(1)
    fork = other.write_notes(1)
    lines: list[list[Message]] = [[message] for message in _messages()]
    lines.append([have_of(attack.group.id, log), events_of(attack.group.id, good), events_of(attack.group.id, more)])
    lines.append([have_of(attack.group.id, log), events_of(attack.group.id, more), events_of(attack.group.id, good)])
    lines.append([have_of(attack.group.id, log, other), events_of(attack.group.id, fork), events_of(attack.group.id, good)])
    for line in lines:
        for orders in (b"\0", b"\1", b"\3", b"\7"):
            yield b"\0" + join(orders + encode_message(message) for message in line)
    yield b"\1" + join(b"\0" + encode_message(message) for message in _messages()[-3:])
    yield from _strangers(attack)


def _strangers(attack: Attack) -> Iterable[bytes]:
    """What a guest shows, and what a joiner asks."""
    zoes = SampleLog("zoe", attack.group.id, kind=LogKind.CONTROL)
    run = zoes.write_notes(1)
    shown: list[Message] = [have_of(attack.group.id, attack.group.control), events_of(attack.group.id, attack.group.decisions[0])]
    own: list[Message] = [have_of(attack.group.id, zoes), events_of(attack.group.id, run)]
    for line in (shown, own, [*own, *shown]):
        yield b"\2" + join(b"\3" + encode_message(message) for message in line)
        yield b"\2" + join(b"\7" + encode_message(message) for message in line)
    join_frame = encode_message(messages.Join(attack.group.id, bytes(32), bytes(64), "joiner"))
    for order in (b"\1", b"\3", b"\x13", b"\x23", b"\x27"):
        yield b"\3" + join([order + join_frame, order + encode_message(have_of(attack.group.id, attack.group.control))])


def _drafts(recording: EventId = ID, chunk: EventId = ID) -> list[Draft]:
    body = chunk_body(recording)
    return [
        bodies.recording_create(create_body("run")),
        bodies.chunk_add(body),
        bodies._draft(bodies.CHUNK_TOPICS, bodies.ChunkTopics(recording, chunk, body.topics)),
        bodies.attachment_add(recording, "metadata.yaml", facts_of(b"bytes")),
        bodies.recording_finalize(recording, bytes(32), [chunk]),
        bodies._draft(bodies.RECORDING_FINALIZE, bodies.RecordingFinalize(recording, bytes(32), None, bytes(32))),
        edits.recording_tag(recording, "good", present=True),
        edits.recording_set(recording, "place", "hall 3"),
        edits.recording_delete(recording),
        edits.recording_restore(recording),
        keeping.recording_hold(keeping.RecordingHold(recording, held=True, reason="crash", site="lab", person="ann")),
        keeping.recording_retain(keeping.RecordingRetain(recording, "raw", 2**62, "law", "lab", "ann")),
        edits.annotation_add(ANNOTATION._replace(recording=recording)),
        edits.annotation_delete(recording, chunk),
        edits.annotation_edit(edits.AnnotationEdit(recording, chunk, "slip", "", 5, None, "lab", "ann")),
        edits.review_set(recording, 4, site="lab", person="ann", annotation=chunk),
        edits.group_set("colour", "green"),
        edits.group_set("required_properties", ["robot", "task"]),
        edits.machine_set("arm: 1", "axes", 6),
        receipts.blob_receipt([BlobId(chunk)]),
        receipts.blob_release([BlobId(chunk)], [recording]),
    ]


def _bodies() -> Iterable[bytes]:
    return [bytes([BODY_TYPES.index(draft.type)]) + draft.body for draft in _drafts()]


def _controls() -> Iterable[bytes]:
    log = SampleLog("mallory").certificate.log
    points = [Point(log, 1, ID), Point(log, 9, ID)]
    peer = key_pair("bob").peer_id
    drafts = [
        member_set(peer, "bob", Role.ADMIN, cut=points, invite=bytes(32)),
        invite(bytes(32), Role.NONE, 0),
        event_void(ID),
        log_seal(log, points),
    ]
    return [bytes([CONTROL_TYPES.index(draft.type)]) + draft.body for draft in drafts]


def _manifests() -> Iterable[bytes]:
    chunks = [bodies.chunk_add(chunk_body(ID, index, source_name=name)).body for index, name in enumerate(("a.mcap", "A.mcap", "../x"))]
    drafts = [draft.body for draft in _drafts()]
    return [join(drafts), join([drafts[0], *chunks]), join([drafts[3], drafts[3]])]


def _manifest_files() -> Iterable[bytes]:
    facts = RecordingFacts(GROUP, ID, key_pair("mallory").peer_id, create_body("run"))
    attachments = [bodies.AttachmentAdd(ID, "metadata.yaml", *facts_of(b"bytes"))]
    for version in MANIFEST_VERSIONS:
        made = make_manifest(facts, [chunk_body(ID, dropped=3, embedded=[("metadata", "robot", "", 9)])], attachments, version=version)
        yield from (made.cbor, made.json)


def _projections() -> Iterable[bytes]:
    first, second = EventId(bytes(32)), EventId(b"\1" * 32)
    pieces = [bytes([8 * BODY_TYPES.index(draft.type)]) + draft.body for draft in _drafts(first, second)]
    yield join(pieces)
    yield join(reversed(pieces))
    yield join(bytes([piece[0] | 5]) + piece[1:] for piece in pieces)
    yield from (join([piece]) for piece in pieces)


def _records() -> Iterable[bytes]:
    record = PeerRecord(key_pair("mallory").peer_id, 1, ("https://127.0.0.1:7850", "http://[::1]:80"), Reachability.DIALLABLE, 60)
    return [b"\0" + sign_record(key_pair("mallory"), record).data, b"\1" + record.to_bytes()]


def _requests() -> Iterable[bytes]:
    path = f"/sync/v1/groups/{GROUP.hex()}/blobs/{BLOB.hex()}".encode()
    components = b'("@method" "@path" "@query" "recmesh-destination");keyid="00";nonce="00";tag="recmesh/http/v1"'
    made = join([b"GET", path, b"", b"Signature-Input:recmesh=" + components, b"Signature:recmesh=:AA==:", b"Recmesh-Destination:00"])
    posted = join([b"POST", b"/sync/v1/handshake?a=b", b"frame", b"Content-Digest:sha-256=:AA==:"])
    return [*labelled((0, 1), made), *labelled((0, 1), posted), b"\1" + join([b"GET", path, b"", b"Range:bytes=0-1"])]


def _ranges() -> Iterable[bytes]:
    return [b"\x01\x00" + text for text in (b"bytes=0-9", b"bytes=-5", b"bytes=5-", b"bytes=0-0,2-3")]


def _batches() -> Iterable[bytes]:
    batches = [
        Batch(b"", 0, last=False, frames=()),
        Batch(bytes(32), 1, last=False, frames=(b"", b"x" * 100)),
        Batch(bytes(32), 2**40, last=True, frames=()),
    ]
    return [encode_batch(each) for each in batches]


def _hub_orders() -> Iterable[bytes]:
    swarm = {"name": "arm", "map_endpoint": "https://arm:7850", "map_transport": "http-sse", "metadata": {"a": [1.5, None, "ü"]}}
    yield from labelled((0, 1), json.dumps({**swarm, "capabilities": {"federation": True, "protocols": ["hive-sync/1"]}}).encode())
    orders: list[object] = [{"name": "arm"}, {"name": "lab", "settings": {}}, {"hive_name": "lab"}, {"uses": 2, "expires_in_hours": 1}]
    orders.append({"type": "subscribe", "channels": ["map:discovery"]})
    for number, order in enumerate(orders, 2):
        yield bytes([number]) + json.dumps(order).encode()


def _hub_answers() -> Iterable[bytes]:
    key = key_pair("alice")
    record = sign_record(key, PeerRecord(key.peer_id, 7, ("https://10.0.0.1:7850",), Reachability.UNKNOWN, 3600)).data
    peer = {
        "swarm_id": "swarm_1",
        "map_endpoint": "https://x",
        "shared_hives": ["lab"],
        "capabilities": {"protocols": [PROTOCOL]},
        "status": "online",
    }
    metadata = {"peer_id": key.peer_id.hex(), "sync_endpoint": "https://10.0.0.1:7850"}
    signed = {**metadata, "record": base64.b64encode(record).decode()}
    for each in (metadata, signed):
        answer = {"peers": [peer], "name": "alice", "metadata": each}
        described = describe(answer)
        assert described is not None
        yield json.dumps(answer).encode()
        yield write_kept("https://hub", Kept("swarm_1", frozenset({"lab"}), (Seen(read_peers(answer)[0], described, 0.0),)))


TARGETS: Mapping[str, Target] = {
    "encoding": Target(readers.encoding, _values),
    "run": Target(readers.run, _runs),
    "certificate": Target(readers.certificate, _certificates, 512),
    "genesis": Target(readers.genesis, _geneses),
    "invitation": Target(readers.invitation, _invitations, 1024),
    "message": Target(readers.message, _frames),
    "session": Target(sites.session, _sessions, 8192),
    "body": Target(readers.body, _bodies),
    "control": Target(readers.control, _controls),
    "manifest": Target(readers.manifest, _manifests, 8192),
    "manifest file": Target(readers.manifest_file, _manifest_files),
    "projection": Target(sites.projection, _projections, 8192),
    "record": Target(readers.record, _records, 1200),
    "request": Target(readers.request, _requests, 2048),
    "range": Target(readers.byte_range, _ranges, 64),
    "batch": Target(readers.batch, _batches),
    "hub": Target(readers.hub_order, _hub_orders, 1024),
    "hub answer": Target(readers.hub_answer, _hub_answers),
    "ROS message": Target(files.ros_message, files.ros_messages, 2048),
    "MCAP file": Target(files.mcap_file, files.mcap_files),
}
