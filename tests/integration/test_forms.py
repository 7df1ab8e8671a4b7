"""The plain-HTTP forms of the peer protocol, at whole peers over real sockets: signed, about one group, judged as on a link."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from peer.core.certificate import LogKind, certify
from peer.core.encoding import decode, encode
from peer.core.identity import GroupId, KeyPair, PeerId
from peer.core.run import Draft, Run, read_run, write_run
from peer.store.keys import KeyFiles
from peer.sync import messages
from peer.sync.limits import PROTOCOL_VERSIONS
from peer.transport.exchange import ANSWER_SIZE_MAX
from peer.transport.signatures import NONCE_HEADER, Request, sign_request
from tests.integration.running_peer import RunningPeer, running_peer
from tests.samples import START_MS, key_pair, note

STRANGER = key_pair("a stranger")


class Caller:
    """Somebody with a key, and no link."""

    def __init__(self, http: aiohttp.ClientSession, site: RunningPeer, key: KeyPair) -> None:
        self.http, self.site, self.key = http, site, key
        self.nonce = ""
        self.retry_after = ""

    async def send(self, method: str, path: str, frames: Sequence[bytes] | None = None, **changes: Any) -> tuple[int, Any]:
        """Status and frames, or status and problem, of one request that is signed as it should be, but for `changes`."""
        body = b"" if frames is None else encode(list(frames))
        for _ in range(2):
            destination = PeerId(changes.get("destination", bytes.fromhex(self.site.peer_id)))
            headers = sign_request(changes.get("key", self.key), destination, changes.get("nonce", self.nonce), Request(method, path, {}, body))
            sent = changes.get("body", body)
            async with self.http.request(method, f"{self.site.listen}{path}", data=sent or None, headers=headers) as answer:
                self.nonce = answer.headers.get(NONCE_HEADER, "")
                self.retry_after = answer.headers.get("Retry-After", "")
                data = await answer.read()
                if answer.status == 200:
                    return 200, decode(data)
                problem = await answer.json()
            if answer.status != 401 or changes:
                break
        return answer.status, problem

    def hello(self, versions: tuple[int, ...] = (1,), key: KeyPair | None = None) -> bytes:
        """A hello of this caller."""
        return messages.encode_message(messages.Hello(versions, (key or self.key).peer_id, bytes(32), bytes(16), bytes(16), "caller", b""))

    def write(self, group: GroupId, *, label: str, count: int = 1) -> tuple[bytes, bytes, Run]:
        """The `have` and `events` frames of a fresh log of this caller, and its run."""
        log_key = key_pair(label)
        certificate = certify(self.key, group, log_key.public, LogKind.DATA)
        run = write_run(log_key, certificate, None, [(note(number), (START_MS << 16) + number + 1) for number in range(count)])
        entry = messages.LogEntry(certificate.log, certificate.to_bytes(), (messages.Tip(run.last.height, run.last.id),))
        have = messages.encode_message(messages.Have(group, complete=False, more=False, logs=(entry,)))
        return have, events_frame(group, run), run


def events_frame(group: GroupId, run: Run, signature: bytes | None = None) -> bytes:
    """The frame that carries `run`."""
    parts = tuple((event.header_bytes, event.body) for event in run.events)
    return messages.encode_message(messages.Events(group, run.log, signature or run.signature, parts))


def read(frames: list[bytes]) -> list[Any]:
    """The messages in an answer."""
    return [messages.decode_message(frame) for frame in frames]


@asynccontextmanager
async def a_member(tmp_path: Path, role: str = "writer", **settings: object) -> AsyncIterator[tuple[RunningPeer, Caller, GroupId, GroupId]]:
    """An owner's site with two groups, and a member of the first of them as a caller. The member's own site has stopped."""
    async with running_peer(tmp_path / "a", "a", **settings) as site:
        mine, other = [(await site.post("/api/v1/sync/groups", {"name": name}))["group_id"] for name in ("mine", "other")]
        invited = await site.post(f"/api/v1/sync/groups/{mine}/invitations", {"role": role, "expires_in_ms": 3_600_000})
        async with running_peer(tmp_path / "b", "b") as joining:
            await joining.post("/api/v1/sync/groups/join", {"invitation": invited["invitation"], "wait": True, "timeout_ms": 20_000})
        key = KeyFiles(tmp_path / "b" / "keys").peer_key()
        async with aiohttp.ClientSession() as http:
            yield site, Caller(http, site, key), GroupId(bytes.fromhex(mine)), GroupId(bytes.fromhex(other))


def path(group: bytes, what: str) -> str:
    return f"/sync/v1/groups/{group.hex()}/{what}"


async def stored_events(site: RunningPeer, group: GroupId, type_: str = "note") -> list[Any]:
    """What the site holds of these events."""
    document = await site.get(f"/api/v1/sync/groups/{group.hex()}/events", params={"limit": "1000"})
    return [event for event in document["events"] if event["type"] == type_]


async def test_a_handshake_tells_who_is_here_and_which_versions_both_speak(tmp_path: Path) -> None:
    async with a_member(tmp_path) as (site, caller, _, _):
        status, frames = await caller.send("POST", "/sync/v1/handshake", [caller.hello()])
        assert (status, read(frames)[0].peer.hex()) == (200, site.peer_id)
        assert (await caller.send("POST", "/sync/v1/handshake", [caller.hello((1, 2, 9))]))[0] == 200
        status, problem = await caller.send("POST", "/sync/v1/handshake", [caller.hello((max(PROTOCOL_VERSIONS) + 1,))])
        assert (status, problem["code"]) == (400, "version_mismatch")
        status, problem = await caller.send("POST", "/sync/v1/handshake", [caller.hello(key=STRANGER)])
        assert (status, problem["code"]) == (401, "handshake_failed")


async def test_a_request_is_who_signed_it_once_and_as_it_was(tmp_path: Path) -> None:
    """Another body, another path, another destination, another key's signature, a nonce that was used or made up: each is refused."""
    async with a_member(tmp_path) as (_, caller, group, _):
        have, events, _ = caller.write(group, label="a log")
        where = path(group, "events")
        assert (await caller.send("POST", where, [have, events]))[0] == 200
        used = caller.nonce
        assert (await caller.send("GET", path(group, "status")))[0] == 200
        changes = [
            {"nonce": used},
            {"nonce": ""},
            {"nonce": "00" * 40},
            {"destination": STRANGER.peer_id},
            {"body": encode([have, have])},
            {"body": b"\x00"},
        ]
        for change in changes:
            status, problem = await caller.send("POST", where, [have, events], **change)
            assert (status, problem["code"]) == (401, "handshake_failed"), change
        status, problem = await caller.send("POST", where, [have, events], key=STRANGER, nonce=caller.nonce)
        assert (status, problem["code"]) == (400, "protocol_violation"), "a stranger may show control logs and brings no data"
        assert (await caller.send("GET", path(group, "status")))[0] == 200, "and the member goes on"


async def test_what_is_held_of_a_group_is_told_to_its_members(tmp_path: Path) -> None:
    async with a_member(tmp_path) as (_, caller, group, _):
        status, frames = await caller.send("GET", path(group, "status"))
        told = [entry for message in read(frames) if isinstance(message, messages.Have) for entry in message.logs]

    assert status == 200
    assert told
    assert all(entry.tips and entry.certificate for entry in told)


async def test_events_come_from_the_positions_that_were_named(tmp_path: Path) -> None:
    async with a_member(tmp_path) as (_, caller, group, _):
        have, events, run = caller.write(group, label="a log", count=3)
        assert (await caller.send("POST", path(group, "events"), [have, events]))[0] == 200
        status, frames = await caller.send("GET", f"{path(group, 'events')}?log={run.log.hex()}")
        found = [message for message in read(frames) if isinstance(message, messages.Events)]
        certificate = certify(caller.key, group, key_pair("a log").public, LogKind.DATA)
        assert status == 200
        assert [event.id for each in found for event in read_run(certificate, each.events, each.signature).events] == [
            event.id for event in run.events
        ]
        status, frames = await caller.send("GET", f"{path(group, 'events')}?log={run.log.hex()}&after={run.last.id.hex()}")
        assert status == 200
        assert not any(isinstance(message, messages.Events) for message in read(frames))
        for query in ("", "?log=00", f"?log={run.log.hex()}&after=zz", f"?log={run.log.hex()}&after={','.join([run.last.id.hex()] * 17)}"):
            status, problem = await caller.send("GET", path(group, "events") + query)
            assert (status, problem["code"]) == (400, "malformed_frame"), query


async def test_events_that_are_brought_are_durable_once_and_judged_as_on_a_link(tmp_path: Path) -> None:
    async with a_member(tmp_path) as (site, caller, group, _):
        have, events, run = caller.write(group, label="a log")
        for _ in range(20):
            status, frames = await caller.send("POST", path(group, "events"), [have, events])
            assert status == 200
            assert not any(isinstance(message, messages.Rejected) for message in read(frames))
        assert [event["event_id"] for event in await stored_events(site, group)] == [run.last.id.hex()]

        have, _, run = caller.write(group, label="another log")
        forged = events_frame(group, run, signature=bytes(64))
        status, frames = await caller.send("POST", path(group, "events"), [have, forged])
        assert status == 200
        assert [message.code for message in read(frames) if isinstance(message, messages.Rejected)] == ["signature_mismatch"]
        assert len(await stored_events(site, group)) == 1


async def test_a_request_about_one_group_says_nothing_about_another(tmp_path: Path) -> None:
    async with a_member(tmp_path) as (site, caller, group, other):
        have, events, run = caller.write(other, label="a log")
        for frames in ([have, events], [have], [caller.hello()], [messages.encode_message(messages.Ping(1))]):
            status, problem = await caller.send("POST", path(group, "events"), frames)
            assert (status, problem["code"]) == (400, "protocol_violation")
        for frames in ([], [b""], [b"x"] * 65):
            status, problem = await caller.send("POST", path(group, "events"), frames)
            assert (status, problem["code"]) == (400, "malformed_frame")
        unknown = GroupId(bytes(32))
        for where in (other, unknown):
            for what in ("status", f"events?log={run.log.hex()}"):
                status, problem = await caller.send("GET", path(where, what))
                assert (status, problem["code"]) == (403, "not_a_member"), "whether there is such a group does not show"
            assert (await caller.send("POST", path(where, "leave")))[0] == 403
        assert (await caller.send("POST", path(other, "events"), [have, events]))[0] == 400
        assert not await stored_events(site, other)


async def test_a_member_leaves_and_is_one_no_more(tmp_path: Path) -> None:
    async with a_member(tmp_path) as (site, caller, group, _):
        have, events, _ = caller.write(group, label="a log")
        assert (await caller.send("POST", path(group, "events"), [have, events]))[0] == 200
        assert await caller.send("POST", path(group, "leave")) == (200, [])
        members = (await site.get(f"/api/v1/sync/groups/{group.hex()}"))["members"]
        assert caller.key.peer_id.hex() not in [member["peer_id"] for member in members]
        assert (await caller.send("GET", path(group, "status")))[0] == 403
        _, events, _ = caller.write(group, label="after leaving")
        await caller.send("POST", path(group, "events"), [have, events])
        assert len(await stored_events(site, group)) == 1


async def test_an_owner_does_not_let_itself_be_removed_by_a_form(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a", "a") as site, aiohttp.ClientSession() as http:
        group = GroupId(bytes.fromhex((await site.post("/api/v1/sync/groups", {"name": "mine"}))["group_id"]))
        caller = Caller(http, site, KeyFiles(tmp_path / "a" / "keys").peer_key())
        status, problem = await caller.send("POST", path(group, "leave"))
        assert (status, problem["code"]) == (403, "not_allowed")


async def test_a_heartbeat_is_for_members(tmp_path: Path) -> None:
    async with a_member(tmp_path) as (site, caller, _, _):
        status, frames = await caller.send("POST", "/sync/v1/heartbeat", [caller.hello()])
        assert (status, read(frames)[0].peer.hex()) == (200, site.peer_id)
        stranger = Caller(caller.http, site, STRANGER)
        status, problem = await stranger.send("POST", "/sync/v1/heartbeat", [stranger.hello()])
        assert (status, problem["code"]) == (403, "not_a_member")


async def test_an_answer_ends_where_a_fresh_link_would_run_out_of_credit(tmp_path: Path) -> None:
    """What is left is had by asking again from the end of what came."""
    async with a_member(tmp_path) as (_, caller, group, _):
        key, last = key_pair("a long log"), None
        certificate = certify(caller.key, group, key.public, LogKind.DATA)
        for number in range(100):
            stamped = [(Draft("note", encode({"text": "x" * 60_000})), (START_MS << 16) + number + 1)]
            run = write_run(key, certificate, last, stamped)
            last = run.last
            entry = messages.LogEntry(certificate.log, certificate.to_bytes(), (messages.Tip(last.height, last.id),))
            have = messages.encode_message(messages.Have(group, complete=False, more=False, logs=(entry,)))
            assert (await caller.send("POST", path(group, "events"), [have, events_frame(group, run)]))[0] == 200
        found, after, answers = [], "", 0
        while len(found) < 100:
            _, frames = await caller.send("GET", f"{path(group, 'events')}?log={certificate.log.hex()}{after}")
            assert sum(len(frame) for frame in frames) <= ANSWER_SIZE_MAX
            came = [message for message in read(frames) if isinstance(message, messages.Events)]
            assert came
            found += [event.id for each in came for event in read_run(certificate, each.events, each.signature).events]
            after, answers = f"&after={found[-1].hex()}", answers + 1

    assert len(set(found)) == 100
    assert answers > 1


async def test_who_sends_too_much_by_single_requests_is_asked_to_come_again(tmp_path: Path) -> None:
    """The bucket is the one of links; a request that finds it empty changes nothing, and one that comes when it is paid for is served."""
    async with a_member(tmp_path, peer_events_per_second=100) as (site, caller, group, _):
        for count in (100, 256):
            have, events, _ = caller.write(group, label=f"log of {count}", count=count)
            assert (await caller.send("POST", path(group, "events"), [have, events]))[0] == 200
        have, events, run = caller.write(group, label="one more")
        before = len(await stored_events(site, group))
        status, problem = await caller.send("POST", path(group, "events"), [have, events])
        assert (status, problem["code"]) == (429, "too_many_requests")
        assert 1 <= int(caller.retry_after) <= 3
        assert len(await stored_events(site, group)) == before
        async with asyncio.timeout(10):
            while (await caller.send("POST", path(group, "events"), [have, events]))[0] == 429:  # noqa: ASYNC110  (time is what is waited for)
                await asyncio.sleep(0.05)
        assert run.last.id.hex() in {event["event_id"] for event in await stored_events(site, group)}
