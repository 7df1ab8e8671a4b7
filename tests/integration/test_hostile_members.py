"""Members that ask for more than is theirs, at whole peers: bytes of another group, writes of a reader, requests with one thing changed."""

import asyncio
import base64
import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from materializer.bodies import attachment_add, recording_create
from materializer.edits import recording_tag
from peer.blobs.plan import PIECE_SIZE_MIN
from peer.cli.sample import write_sample
from peer.core.byte_store import BlobFacts
from peer.core.encoding import encode
from peer.core.group import Invitation, read_invitation
from peer.core.identity import BlobId, EventId, GroupId, KeyPair, PeerId
from peer.sync import messages
from peer.sync.messages import BlobPart, BlobWant, Joined, encode_message
from peer.transport.listener import PeerListener
from peer.transport.signatures import DESTINATION_HEADER, NONCE_HEADER, Request, sign_request
from tests.conftest import LONG
from tests.frame_attack import KNOWN_CODES
from tests.histories import create_body
from tests.integration.hostile_peer import HostilePeer, hostile_link
from tests.integration.running_peer import RunningPeer, running_peer
from tests.samples import SampleLog, key_pair
from tests.sync_site import events_of
from tests.wrong_inputs import changed, signed_run

GROUPS = "/api/v1/sync/groups"
RECORDINGS = "/api/v1/recordings"
SIZE = 64 * 1024
REQUESTS = 6000 if LONG else 600


class Scene(NamedTuple):
    """Alice's peer has two groups with a recording each; Bob's is linked to it in one of them, and Mallory is a member of that one, too."""

    alice: RunningPeer
    bob: RunningPeer
    group: GroupId
    other: GroupId
    ours: BlobId
    """A blob of the group."""
    secret: BlobId
    """A blob of the other group."""

    async def invitation(self, role: str = "writer") -> Invitation:
        """Into the group that Bob is in."""
        made = await self.alice.post(f"{GROUPS}/shared/invitations", {"role": role, "expires_in_ms": 60_000})
        return read_invitation(made["invitation"])


@pytest.fixture
def routes(monkeypatch: pytest.MonkeyPatch) -> list[web.RouteDef]:
    """What the peer listener serves beside the link, as it is told so by the peer itself."""
    found: list[web.RouteDef] = []
    start = PeerListener.start

    async def told(self: PeerListener, served: Iterable[web.RouteDef]) -> str:
        found[:] = served
        return await start(self, found)

    monkeypatch.setattr(PeerListener, "start", told)
    return found


@pytest.fixture
async def scene(tmp_path: Path, routes: list[web.RouteDef]) -> AsyncIterator[Scene]:
    del routes  # To be told of them, it has to stand before the listener.
    async with AsyncExitStack() as stack:
        alice = await stack.enter_async_context(running_peer(tmp_path / "alice", "alice"))
        bob = await stack.enter_async_context(running_peer(tmp_path / "bob", "bob"))
        groups, blobs = [], []
        for number, name in enumerate(("shared", "secret")):
            groups.append(GroupId(bytes.fromhex((await alice.post(GROUPS, {"name": name}))["group_id"])))
            write_sample(tmp_path / f"{name}.mcap", SIZE, number + 1)
            added = await alice.post(RECORDINGS, {"paths": [str(tmp_path / f"{name}.mcap")], "group": name})
            blobs.append(BlobId(bytes.fromhex(added["chunks"][0]["blob_id"])))
        made = Scene(alice, bob, groups[0], groups[1], blobs[0], blobs[1])
        await bob.post(f"{GROUPS}/join", {"invitation": (await made.invitation()).to_text()})
        (link,) = (await bob.until("/api/v1/status", lambda status: status["links"][0]["state"] == "up_to_date"))["links"]
        yield made
        (after,) = (await bob.until("/api/v1/status", lambda status: status["links"][0]["state"] == "up_to_date"))["links"]
        assert after["last_error"] == link["last_error"]
        write_sample(tmp_path / "after.mcap", SIZE, 9)
        await alice.post(RECORDINGS, {"paths": [str(tmp_path / "after.mcap")], "group": "shared"})  # The good link beside brings what is written now.
        await bob.until(f"{RECORDINGS}?group=shared", lambda listed: "after" in [each["name"] for each in listed["recordings"]])


async def joined(scene: Scene, stack: AsyncExitStack, role: str = "writer") -> HostilePeer:
    """Mallory, let in by an invitation and linked to Alice's peer."""
    invitation = await scene.invitation(role)
    peer = await stack.enter_async_context(hostile_link(invitation.endpoint, invitation.member, key_pair("mallory"), invitation))
    await peer.hears(lambda message: isinstance(message, Joined))
    return peer


async def part_of(peer: HostilePeer, number: int, group: GroupId, blob: BlobId) -> BlobPart:
    """What comes of asking for a part of a blob over the link."""
    await peer.say(BlobWant(number, group, blob, 0, SIZE, relay=False))
    part = await peer.hears(lambda message: isinstance(message, BlobPart) and message.number == number)
    assert isinstance(part, BlobPart)
    return part


async def test_a_blob_of_one_group_is_not_to_be_had_in_another_over_a_link(scene: Scene) -> None:
    async with AsyncExitStack() as stack:
        mallory = await joined(scene, stack)

        assert len((await part_of(mallory, 1, scene.group, scene.ours)).data) > 0
        for number, (group, blob, code) in enumerate(
            [
                (scene.group, scene.secret, "not_found"),
                (scene.other, scene.secret, "not_a_member"),
                (scene.other, scene.ours, "not_a_member"),
                (scene.group, BlobId(bytes(32)), "not_found"),
                (GroupId(bytes(32)), scene.ours, "not_a_member"),
            ],
            start=2,
        ):
            part = await part_of(mallory, number, group, blob)
            assert (part.code, part.data) == (code, b"")
        await mallory.is_heard_out()


@pytest.mark.parametrize("start", [SIZE * 100, 2**31, 2**63 - 1, 2**63, 2**64 - 1])
async def test_a_part_beyond_the_end_of_a_blob_is_empty(scene: Scene, start: int) -> None:
    """However far: also where no file can be read."""
    async with AsyncExitStack() as stack:
        mallory = await joined(scene, stack)
        await mallory.say(BlobWant(1, scene.group, scene.ours, start, SIZE, relay=False))
        part = await mallory.hears(lambda message: isinstance(message, BlobPart))

        assert part == BlobPart(1, "", b"")
        await mallory.is_heard_out()


async def test_what_a_reader_writes_is_held_and_shows_nowhere(scene: Scene) -> None:
    """Its events are signed and follow one another: they are stored like any other, and count nowhere, neither here nor at Bob's."""
    recording = EventId(bytes.fromhex((await scene.alice.get(f"{RECORDINGS}/shared"))["id"]))
    async with AsyncExitStack() as stack:
        mallory = await joined(scene, stack, "reader")
        log = SampleLog("mallory", scene.group)
        run = log.write(recording_create(create_body("of-a-reader")), recording_tag(recording, "of-a-reader", present=True))
        await mallory.give(log, run)
        await mallory.is_heard_out()

        def has_come(events: Any) -> bool:
            return any(event["event_id"] == run.last.id.hex() for event in events["events"])

        for peer in (scene.alice, scene.bob):
            await peer.until(f"{GROUPS}/shared/events?limit=500", has_come)
            assert [each["name"] for each in (await peer.get(f"{RECORDINGS}?group=shared"))["recordings"]] == ["shared"]
            assert (await peer.get(f"{RECORDINGS}/shared"))["tags"] == []


async def test_a_hello_with_somebody_elses_peer_record_teaches_no_address(scene: Scene) -> None:
    """The link stands: its key was proven. What the record says is not believed."""
    async with AsyncExitStack() as stack:
        mallory = await joined(scene, stack)
        await mallory.is_heard_out()
        status = await scene.alice.get("/api/v1/status")

    (link,) = [each for each in status["links"] if each["peer_id"] == key_pair("mallory").public.hex()]
    assert link["address"] is None


# Requests


class Answer(NamedTuple):
    """What a request got."""

    status: int
    body: bytes
    nonce: str


async def send(http: aiohttp.ClientSession, endpoint: str, method: str, path: str, headers: Mapping[str, str]) -> Answer:
    async with http.request(method, endpoint + path, headers=headers) as response:
        return Answer(response.status, await response.read(), response.headers.get(NONCE_HEADER, ""))


def with_parameter(header: str, name: str, value: str) -> str:
    """A `Signature-Input` with another value of one parameter."""
    before, _, rest = header.partition(f';{name}="')
    return f'{before};{name}="{value}"{rest[rest.index(chr(34)) + 1 :]}'


def other_bit(signature: str) -> str:
    """A `Signature` with one bit changed."""
    label, _, value = signature.partition("=:")
    data = bytearray(base64.b64decode(value.rstrip(":")))
    data[0] ^= 1
    return f"{label}=:{base64.b64encode(data).decode()}:"


INPUT, SIGNATURE = "Signature-Input", "Signature"
OTHER_KEY = key_pair("carol")

CHANGES: Mapping[str, Callable[[dict[str, str]], dict[str, str]]] = {
    # What is changed in the headers of a signed request. Every one of them is answered 401.
    "the key": lambda sent: {**sent, INPUT: with_parameter(sent[INPUT], "keyid", OTHER_KEY.public.hex())},
    "the key, in capitals": lambda sent: {**sent, INPUT: with_parameter(sent[INPUT], "keyid", key_pair("mallory").public.hex().upper())},
    "no key": lambda sent: {**sent, INPUT: with_parameter(sent[INPUT], "keyid", "")},
    "the nonce": lambda sent: {**sent, INPUT: with_parameter(sent[INPUT], "nonce", "00" * 56)},
    "the tag": lambda sent: {**sent, INPUT: with_parameter(sent[INPUT], "tag", "recmesh/http/v2")},
    "what is covered": lambda sent: {**sent, INPUT: sent[INPUT].replace('"@query" ', "")},
    "the order of what is covered": lambda sent: {**sent, INPUT: sent[INPUT].replace('"@method" "@path"', '"@path" "@method"')},
    "the label": lambda sent: {**sent, INPUT: sent[INPUT].replace("recmesh=", "other=", 1)},
    "an algorithm": lambda sent: {**sent, INPUT: sent[INPUT] + ';alg="hmac-sha256"'},
    "a bit of the signature": lambda sent: {**sent, SIGNATURE: other_bit(sent[SIGNATURE])},
    "no signature": lambda sent: {name: value for name, value in sent.items() if name != SIGNATURE},
    "no input": lambda sent: {name: value for name, value in sent.items() if name != INPUT},
    "an empty signature": lambda sent: {**sent, SIGNATURE: "recmesh=::"},
    "a signature that is no base 64": lambda sent: {**sent, SIGNATURE: "recmesh=:?:"},
    "a signature that is text": lambda sent: {**sent, SIGNATURE: 'recmesh="x"'},
    "an input that is a number": lambda sent: {**sent, INPUT: "recmesh=1"},
    "an input that is no list": lambda sent: {**sent, INPUT: "?" * 100},
    "two signatures": lambda sent: {**sent, INPUT: f"{sent[INPUT]}, b{sent[INPUT]}", SIGNATURE: f"{sent[SIGNATURE]}, b{sent[SIGNATURE]}"},
    "the destination": lambda sent: {**sent, DESTINATION_HEADER: OTHER_KEY.public.hex()},
    "no destination": lambda sent: {name: value for name, value in sent.items() if name != DESTINATION_HEADER},
}


async def test_each_part_of_a_signed_request(scene: Scene) -> None:
    """Mallory, a member, asks for a blob of her group and signs it truly; then one thing is changed. Unchanged, it opens the door, and still does."""
    async with AsyncExitStack() as stack:
        await joined(scene, stack)
        http = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        endpoint, peer = scene.alice.listen, PeerId(bytes.fromhex(scene.alice.peer_id))
        path = f"/sync/v1/groups/{scene.group.hex()}/blobs/{scene.ours.hex()}"
        elsewhere = {"the path": path[:-1] + ("1" if path.endswith("0") else "0"), "the query": path + "?a=b"}
        for changed in (*CHANGES, *elsewhere, "the method"):
            nonce = (await send(http, endpoint, "GET", path, {})).nonce
            signed = sign_request(key_pair("mallory"), peer, nonce, Request("GET", path, {}))
            headers = CHANGES[changed](signed) if changed in CHANGES else signed
            assert headers != signed or changed not in CHANGES
            answer = await send(http, endpoint, "HEAD" if changed == "the method" else "GET", elsewhere.get(changed, path), headers)
            assert (answer.status, answer.body) == (401, b"" if changed == "the method" else b'{"code": "handshake_failed"}'), changed
            good = await send(http, endpoint, "GET", path, signed)
            assert (good.status, len(good.body) > 0) == (200, True), f"the nonce was spent on {changed}"


async def test_a_signed_request_in_another_group_or_for_a_blob_of_another(scene: Scene) -> None:
    async with AsyncExitStack() as stack:
        await joined(scene, stack)
        http = await stack.enter_async_context(aiohttp.ClientSession())
        endpoint, peer = scene.alice.listen, PeerId(bytes.fromhex(scene.alice.peer_id))
        for group, blob, key, status, code in (
            (scene.group, scene.secret, key_pair("mallory"), 404, b"not_found"),
            (scene.other, scene.secret, key_pair("mallory"), 403, b"not_a_member"),
            (scene.other, scene.ours, key_pair("mallory"), 403, b"not_a_member"),
            (scene.group, scene.ours, KeyPair(bytes(32)), 403, b"not_a_member"),
        ):
            path = f"/sync/v1/groups/{group.hex()}/blobs/{blob.hex()}"
            nonce = (await send(http, endpoint, "GET", path, {})).nonce
            answer = await send(http, endpoint, "GET", path, sign_request(key, peer, nonce, Request("GET", path, {})))
            assert (answer.status, code in answer.body) == (status, True)


async def events_in_view(peer: RunningPeer) -> int:
    """How many events of the group show at a site."""
    groups = (await peer.get("/api/v1/status"))["groups"]
    return int(next(each["view_events"] for each in groups if each["name"] == "shared"))


@pytest.mark.parametrize("named_as", ["blob", "pieces"])
async def test_naming_a_blob_of_another_group_in_ones_own_event_brings_it_out_nowhere(scene: Scene, named_as: str) -> None:
    """Mallory knows its id, from a time when she was in that group, and may write in this one: her word is no reason to give it to her."""
    async with AsyncExitStack() as stack:
        mallory = await joined(scene, stack)
        log, before = SampleLog("mallory", scene.group), await events_in_view(scene.alice)
        create = log.write(recording_create(create_body("claimed")))
        await mallory.give(log, create)
        ours = BlobFacts(scene.ours, bytes(32), SIZE, PIECE_SIZE_MIN, scene.ours)
        facts = ours._replace(**{named_as: scene.secret})  # type: ignore[arg-type]
        await mallory.give(log, log.write(attachment_add(create.last.id, "notes.txt", facts)))
        async with asyncio.timeout(20):
            while await events_in_view(scene.alice) < before + 2:  # noqa: ASYNC110  (the admin API is asked)
                await asyncio.sleep(0.01)

        part = await part_of(mallory, 1, scene.group, scene.secret)
        assert (part.code, part.data) == ("not_found", b"")
        http = await stack.enter_async_context(aiohttp.ClientSession())
        peer, path = PeerId(bytes.fromhex(scene.alice.peer_id)), f"/sync/v1/groups/{scene.group.hex()}/blobs/{scene.secret.hex()}"
        nonce = (await send(http, scene.alice.listen, "GET", path, {})).nonce
        answer = await send(http, scene.alice.listen, "GET", path, sign_request(key_pair("mallory"), peer, nonce, Request("GET", path, {})))
        assert (answer.status, b"not_found" in answer.body) == (404, True)


def some_body(chance: random.Random, scene: Scene, key: KeyPair) -> bytes:
    """Nothing, a hello, runs that their author signed and that are wrong inside, or these with a few bytes changed; rarely what no CBOR is."""
    log = SampleLog("mallory", scene.group, label=str(chance.random()))
    hello = messages.Hello((1,), key.peer_id, bytes(32), bytes(16), bytes(16), "mallory", b"")
    bodies = [b"", encode([encode_message(hello)]), *[encode([encode_message(each) for each in signed_run(chance, log)])] * 3]
    body = chance.choice([*bodies, encode([1, [b""]]), chance.randbytes(100)])
    return changed(chance, body) if chance.random() < 0.3 else body


async def test_no_request_to_any_route_brings_more_than_a_known_code(scene: Scene, routes: list[web.RouteDef]) -> None:
    """Every route that the listener serves, by members and strangers, most of it truly signed, with whatever body and query."""
    chance, answers = random.Random(1), Counter[object]()
    assert {route.path.rpartition("/")[2] for route in routes} >= {"{blob:[0-9a-f]{64}}"}
    async with AsyncExitStack() as stack:
        await joined(scene, stack)
        http = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        peer, nonce = PeerId(bytes.fromhex(scene.alice.peer_id)), ""
        for number in range(REQUESTS):
            route = routes[number % len(routes)]
            may = not route.path.endswith("/leave")  # Mallory would be let go, and be nobody from then on.
            key = key_pair(chance.choice(["mallory", "mallory", "mallory", "nobody"]) if may else "nobody")
            group, blob = chance.choice([scene.group, scene.group, scene.other, bytes(32)]), chance.choice([scene.ours, scene.secret, bytes(32)])
            path = re.sub(r"\{blob[^/]*", blob.hex(), re.sub(r"\{group[^/]*(?=/)", group.hex(), route.path))
            path += chance.choice(
                ["", "", "?log=x", f"?log={blob.hex()}", f"?log={blob.hex()}&after={group.hex()},", "?after=%ff&log=%00", "?" + "x" * 500]
            )
            method = "POST" if route.method == "POST" else chance.choice(["GET", "HEAD"])
            body = some_body(chance, scene, key) if method == "POST" or chance.random() < 0.1 else b""
            headers = sign_request(key, peer, nonce, Request(method, path, {}, body))
            if chance.random() < 0.1:
                name = chance.choice(list(headers))
                headers[name] = headers[name][: chance.randrange(len(headers[name]))]
            async with http.request(method, URL(scene.alice.listen + path, encoded=True), headers=headers, data=body or None) as answer:
                data, nonce = await answer.read(), answer.headers.get(NONCE_HEADER, "")
                code = json.loads(data)["code"] if answer.status >= 400 and data else None
            assert answer.status in {200, 400, 401, 403, 404, 405, 413, 429, 503}, (method, path, data)
            assert code is None or code in KNOWN_CODES | {"busy"}, code
            answers[answer.status] += 1
            answers[code] += 1
    print(dict(answers))  # noqa: T201

    assert all(answers[each] >= 5 for each in (200, "not_a_member", "handshake_failed", "malformed_frame", "not_found"))


async def test_a_second_join_on_one_link_is_refused(scene: Scene) -> None:
    async with AsyncExitStack() as stack:
        mallory = await joined(scene, stack)
        invitation = await scene.invitation()
        await mallory.say(messages.Join(scene.group, invitation.key.public, bytes(64), "again"))
        assert await mallory.is_shut_out() == "protocol_violation"


async def test_a_member_cannot_write_in_the_name_of_another(scene: Scene) -> None:
    """Mallory hands in a log of her own that claims to be Alice's: the certificate is not Alice's."""
    async with AsyncExitStack() as stack:
        mallory = await joined(scene, stack)
        log = SampleLog("mallory", scene.group)
        run = log.write(recording_create(create_body("forged")))
        claimed = log.certificate._replace(peer=PeerId(bytes.fromhex(scene.alice.peer_id)))
        forged = messages.LogEntry(claimed.log, claimed.to_bytes(), ((1, run.last.id),))  # type: ignore[arg-type]
        await mallory.say(messages.Have(scene.group, complete=True, more=False, logs=(forged,)))
        assert await mallory.is_refused(claimed.log) == "certificate_invalid"
        await mallory.say(events_of(scene.group, run)._replace(log=claimed.log))
        assert await mallory.is_shut_out() == "protocol_violation"
