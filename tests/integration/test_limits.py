"""Each limit of the peer listener, hit over real sockets by a member or a stranger: a code, a closed link or a wait, and the good link goes on.

How long something took is compared with a least time only: a bucket that holds so much cannot have let more through earlier.
"""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from peer.core.certificate import LogKind
from peer.core.encoding import encode
from peer.core.frontier import Tip
from peer.core.identity import BlobId, EventId, GroupId
from peer.core.run import Draft
from peer.sync import limits, messages
from peer.sync.handshake import Handshake
from peer.sync.messages import Message, decode_message, encode_message
from peer.transport import links, outgoing, websocket
from peer.transport.connection import now_ms
from peer.transport.pace import Pace
from tests.integration.good_link import Mesh, mesh, meshed
from tests.integration.hostile_peer import HostilePeer, admit, entry, have, hostile_peer, local_side, opened_socket, proven_socket
from tests.link_lab import DEADLINE_S, Site, target
from tests.samples import SampleLog, key_pair
from tests.sync_site import events_of, have_of

PATIENCE_S = 0.02


# What one message may hold


def log_of(mesh: Mesh, label: object = "") -> SampleLog:
    return SampleLog("mallory", mesh.group, label=str(label))


def announced(mesh: Mesh, count: int) -> list[Message]:
    logs = [log_of(mesh, number) for number in range(count)]
    for log in logs:
        log.write_notes(1)
    return [have_of(mesh.group, log) for log in logs]


def with_tips(mesh: Mesh, count: int, label: object = "") -> Message:
    log = log_of(mesh, label)
    log.write_notes(1)
    tips = tuple(sorted(Tip(5, EventId(os.urandom(32))) for _ in range(count)))
    return have(mesh.group, entry(log)._replace(tips=tips))


def own_log(mesh: Mesh) -> object:
    """A log that Alice told of."""
    return next(iter(mesh.alice.tips(mesh.group)))  # type: ignore[call-overload]


def positions(count: int) -> tuple[EventId, ...]:
    return tuple(EventId(os.urandom(32)) for _ in range(count))


Case = tuple[str, dict[str, int], Callable[[Mesh], Sequence[Message | bytes]], str]
CASES: list[Case] = [
    ("nesting of a frame", {}, lambda _: [b"\x81" * limits.FRAME_DEPTH_MAX + b"\x80"], "malformed_frame"),
    ("logs in a have", {}, lambda mesh: [have(mesh.group, *[entry_of_nothing()] * (limits.HAVE_LOGS_MAX + 1))], "limit_exceeded"),
    ("logs of a group", {"LOGS_PER_GROUP_MAX": 3}, lambda mesh: announced(mesh, 4), "limit_exceeded"),
    ("tips of a log", {}, lambda mesh: [with_tips(mesh, limits.TIPS_PER_LOG_MAX + 1)], "limit_exceeded"),
    ("tips of a group", {"TIPS_PER_GROUP_MAX": 5}, lambda mesh: [with_tips(mesh, 3, "a"), with_tips(mesh, 3, "b")], "limit_exceeded"),
    (
        "positions of a want",
        {},
        lambda mesh: [messages.Want(mesh.group, own_log(mesh), positions(limits.POSITIONS_MAX + 1), search=False)],  # type: ignore[arg-type]
        "limit_exceeded",
    ),
    ("pings", {}, lambda _: [messages.Ping(number) for number in range(limits.PINGS_PER_INTERVAL_MAX + 1)], "limit_exceeded"),
    (
        "part of a blob",
        {},
        lambda mesh: [messages.BlobWant(1, mesh.group, BlobId(bytes(32)), 0, limits.BLOB_PART_SIZE_MAX + 1, relay=False)],
        "limit_exceeded",
    ),
    (
        "parts of blobs at once",
        {},
        lambda mesh: [messages.BlobWant(number, mesh.group, BlobId(bytes(32)), 0, 1, relay=False) for number in range(limits.BLOB_READS_MAX + 1)],
        "limit_exceeded",
    ),
    (
        "logs that do not verify",
        {"REJECTIONS_MAX": 3},
        lambda mesh: [have(mesh.group, entry(written(mesh, number), b"\x80")) for number in range(4)],
        "limit_exceeded",
    ),
    (
        "groups refused and taken up again",
        {"RETELLS_MAX": 3},
        lambda mesh: [messages.Error("not_a_member", "", mesh.group), have(mesh.group)] * 4,
        "limit_exceeded",
    ),
    ("text", {}, lambda _: [messages.Error("x", "y" * (limits.TEXT_CHARACTERS_MAX + 1), b"")], "malformed_frame"),
]


def written(mesh: Mesh, label: object) -> SampleLog:
    log = log_of(mesh, label)
    log.write_notes(1)
    return log


def entry_of_nothing() -> messages.LogEntry:
    return messages.LogEntry(os.urandom(32), b"", (Tip(1, EventId(bytes(32))),))  # type: ignore[arg-type]


@pytest.mark.parametrize(("patched", "said", "code"), [case[1:] for case in CASES], ids=[case[0].replace(" ", "-") for case in CASES])
async def test_what_exceeds_a_limit_of_the_protocol_ends_that_link_with_its_code(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch, patched: dict[str, int], said: Callable[[Mesh], Sequence[Message | bytes]], code: str
) -> None:
    """By one more than is allowed."""
    never = asyncio.Event()

    async def reads_for_ever(*_: object) -> bytes | None:
        await never.wait()
        return None

    mesh.alice.links.read_blob = reads_for_ever
    async with hostile_peer(mesh.alice) as mallory:
        await mallory.hears(lambda message: isinstance(message, messages.Have))
        for name, value in patched.items():
            monkeypatch.setattr(limits, name, value)
        for each in said(mesh):
            if isinstance(each, bytes):
                await mallory.say_bytes(each)
            else:
                await mallory.say(each)
        assert await mallory.is_shut_out() == code
        never.set()
    await mesh.goes_on()


async def test_a_frame_that_is_too_large_ends_the_link(mesh: Mesh) -> None:
    """Before it was read: one byte more than is allowed."""
    async with hostile_peer(mesh.alice) as mallory:
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            await mallory.say_bytes(bytes(limits.FRAME_SIZE_MAX + 1))
        await mallory.is_shut_out()
        assert mallory._socket.close_code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
    await mesh.goes_on()


async def test_more_events_than_credit_was_granted_for_end_the_link(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CREDIT_INITIAL", 4096)
    async with hostile_peer(mesh.alice) as mallory:
        log = log_of(mesh)
        run = log.write(Draft("test.note", encode({"a": bytes(8192)})))
        await mallory.give(log, run)
        assert await mallory.is_shut_out() == "credit_exceeded"
    await mesh.goes_on()


async def test_websocket_pings_without_end_end_the_link(mesh: Mesh) -> None:
    async with hostile_peer(mesh.alice) as mallory:
        for _ in range(websocket.CONTROL_FRAMES_MAX):
            await mallory._socket.ping()
        await mallory.is_heard_out()
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):
            for _ in range(websocket.CONTROL_FRAMES_MAX + 1):
                await mallory._socket.ping()
        await mallory.is_shut_out()
    await mesh.goes_on()


# Those who say nothing


async def test_who_does_not_prove_anything_in_time_has_to_leave(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HANDSHAKE_TIMEOUT_MS", 100)
    monkeypatch.setattr(links, "TICK_S", PATIENCE_S)
    async with opened_socket(mesh.alice) as silent, opened_socket(mesh.alice) as half:
        await half.send_bytes(encode_message(Handshake(local_side(key_pair("mallory")), mesh.alice.key.peer_id).hello))
        for each in (silent, half):
            assert await last_words(each) == "handshake_timeout"
    await mesh.goes_on()


async def test_who_does_not_answer_pings_has_to_leave(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    async with hostile_peer(mesh.alice) as mallory:
        monkeypatch.setattr(limits, "PING_INTERVAL_MS", 100)
        monkeypatch.setattr(links, "TICK_S", PATIENCE_S)
        assert await mallory.is_shut_out() == "link_silent"
        assert sum(isinstance(message, messages.Ping) for message in mallory.heard) == limits.PINGS_MISSED_MAX
    monkeypatch.undo()
    await mesh.goes_on()


async def last_words(socket: aiohttp.ClientWebSocketResponse) -> str:
    """The code of the last error that comes."""
    code = ""
    async with asyncio.timeout(DEADLINE_S):
        async for message in socket:
            said = decode_message(message.data)
            code = said.code if isinstance(said, messages.Error) else code
    return code


@pytest.mark.parametrize(("limit", "value"), [("UNPROVEN_MAX", 4), ("UNPROVEN_PER_ADDRESS_MAX", 4)])
async def test_those_who_have_not_proved_anything_are_few(mesh: Mesh, monkeypatch: pytest.MonkeyPatch, limit: str, value: int) -> None:
    """The fifth is asked to come again; Alice dials out all the same, and a place that is given up is free."""
    monkeypatch.setattr(links, limit, value)
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(opened_socket(mesh.alice)) for _ in range(value)]
        async with opened_socket(mesh.alice) as one_more:
            answer = await one_more.receive(timeout=DEADLINE_S)
            assert (answer.type, answer.data) == (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.TRY_AGAIN_LATER)
        carol = await mesh.lab.site("carol")
        await admit(mesh.alice, mesh.group, carol.key.peer_id)
        await carol.store.create_group(mesh.alice.store.replica.groups[mesh.group].genesis)
        mesh.alice.links.set_targets([target(carol)])
        await mesh.lab.wait(lambda: mesh.alice.links.is_linked(carol.key.peer_id))
        await held[0].close()
        async with asyncio.timeout(DEADLINE_S):
            while True:
                try:
                    async with hostile_peer(mesh.alice) as mallory:
                        await mallory.is_heard_out()
                        break
                except (TypeError, AssertionError):
                    continue  # Not yet: the closed one is still being seen off.
    await mesh.goes_on()


# Those who do not read


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("limit", [{"QUEUE_BYTES_MAX": 1024 * 1024}, {"QUEUES_BYTES_MAX": 1024 * 1024, "QUEUE_BYTES_SHARE": 512 * 1024}])
async def test_who_asks_for_everything_and_reads_nothing_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: dict[str, int], *, tls: bool
) -> None:
    """Also where the connection itself never gives way: a socket full of what was said before does not hold us."""
    for name, value in limit.items():
        monkeypatch.setattr(outgoing, name, value)
    monkeypatch.setattr(outgoing, "CLOSE_TIMEOUT_S", 0.2)
    async with meshed(tmp_path, tls=tls) as mesh:
        size = 60_000
        count = 16 * 1024 * 1024 // size
        for _ in range(count // 4):
            await mesh.alice.store.write(mesh.group, LogKind.DATA, [Draft("test.note", encode({"a": bytes(size)}))] * 4)
        async with proven_socket(mesh.alice, key_pair("mallory"), tls=tls) as mallory:
            await mesh.lab.wait(lambda: mesh.alice.links.is_linked(key_pair("mallory").peer_id))
            link = mesh.alice.links.link_to(key_pair("mallory").peer_id)
            assert link is not None
            for log in mesh.alice.tips(mesh.group):  # type: ignore[attr-defined]
                await mallory.send_bytes(encode_message(messages.Want(mesh.group, log, (), search=False)))
            with contextlib.suppress(ConnectionError, aiohttp.ClientError):
                async with asyncio.timeout(DEADLINE_S):
                    while link.number in mesh.alice.links._connections:  # As much at a time as is ever granted.
                        await mallory.send_bytes(encode_message(messages.Credit(limits.CREDIT_INITIAL)))
                        await asyncio.sleep(0)
            await mesh.lab.wait(lambda: link.number not in mesh.alice.links._connections)
            assert link.end is not None
            assert link.end.code == "reader_too_slow"
            assert mesh.alice.links.queued_bytes() == 0
        await mesh.goes_on()


# Those who send too fast


async def sent_at_once(mesh: Mesh, mallory: HostilePeer, log: SampleLog, runs: int, events: int, size: int = 0) -> None:
    """A log in many runs, as fast as it goes."""
    body = encode({"a": bytes(size)})
    written = [log.write(*[Draft("test.note", body)] * events) for _ in range(runs)]
    await mallory.announce(log)
    for run in written:
        await mallory.say(events_of(mesh.group, run))


def height_at(site: Site, group: GroupId, log: SampleLog) -> int:
    """How many events of a log a site holds."""
    tips = site.store.replica.groups[group].tips.get(log.certificate.log, ())
    return max((tip.height for tip in tips), default=0)


@pytest.mark.parametrize(
    ("pace", "runs", "events", "size", "a_second"),
    [((200, 1 << 40), 40, 100, 0, 200), ((1 << 40, 128 * 1024), 40, 1, 60_000, 128 * 1024 // 60_000)],
    ids=["events", "bytes"],
)
async def test_who_sends_faster_than_allowed_is_read_more_slowly_and_loses_nothing(
    mesh: Mesh, pace: tuple[int, int], runs: int, events: int, size: int, a_second: int
) -> None:
    """No more has come than the bucket held, what it was filled with since, and one frame. Bob does not wait; and all comes in the end."""
    mesh.alice.links.pace = Pace(*pace, now_ms)
    log = log_of(mesh)
    async with hostile_peer(mesh.alice) as mallory:
        begun = asyncio.get_running_loop().time()
        await sent_at_once(mesh, mallory, log, runs, events, size)
        await mesh.lab.wait(lambda: height_at(mesh.alice, mesh.group, log) > events)
        await mesh.bob.store.write(mesh.group, LogKind.DATA, [Draft("test.note", b"\xa0")])
        ours, theirs = mesh.alice.store.replica.groups[mesh.group], mesh.bob.store.replica.groups[mesh.group]
        (bobs,) = [each for each in theirs.tips if theirs.certificates[each].peer == mesh.bob.key.peer_id]
        await mesh.lab.wait(lambda: bobs in ours.tips)
        passed_s = asyncio.get_running_loop().time() - begun
        assert events < height_at(mesh.alice, mesh.group, log) <= a_second * (1 + passed_s) + events
        assert height_at(mesh.alice, mesh.group, log) < runs * events, "Bob had to wait until Mallory was through"
        mesh.alice.links.pace = Pace(1 << 40, 1 << 40, now_ms)
        await mesh.lab.wait(lambda: height_at(mesh.alice, mesh.group, log) == runs * events)
        await mallory.is_heard_out()


async def test_dialling_anew_does_not_fill_the_bucket(mesh: Mesh) -> None:
    """The bucket belongs to the peer, not to the link: after three links it has sent 1 200 events, of which the bucket held 400."""
    mesh.alice.links.pace = Pace(400, 1 << 40, now_ms)
    begun = asyncio.get_running_loop().time()
    logs = [log_of(mesh, number) for number in range(4)]
    for log in logs:
        async with hostile_peer(mesh.alice) as mallory:
            await sent_at_once(mesh, mallory, log, 1, 250)
            await mesh.lab.wait(lambda log=log: height_at(mesh.alice, mesh.group, log) == 250)  # type: ignore[misc]

    assert asyncio.get_running_loop().time() - begun >= (750 - 400) / 400
    await mesh.goes_on()


__all__ = ["mesh"]
