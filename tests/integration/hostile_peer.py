"""A member that means harm, on a real socket: its handshake is true, what it says afterwards is up to the test."""

import asyncio
import os
import sqlite3
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import aiohttp

from peer.core.certificate import LogKind
from peer.core.control import Role, member_set
from peer.core.group import Invitation, join_bytes
from peer.core.identity import GroupId, KeyPair, PeerId
from peer.core.run import Run
from peer.sync.guests import groups_to_name
from peer.sync.handshake import NO_CHANNEL_KEY, Handshake, LocalSide
from peer.sync.messages import Error, Events, Have, Hello, Join, LogEntry, Message, Ping, Pong, Proof, Rejected, decode_message, encode_message
from peer.transport.tls import client_context, peer_spki_sha256
from tests.link_lab import Lab, Site
from tests.samples import SampleLog, key_pair
from tests.sync_site import events_of, have_of

DEADLINE_S = 20.0
TABLES = ("groups", "logs", "branches", "events")


class HostilePeer:
    """One link to a real peer, dialled by whoever holds `key`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, key: KeyPair) -> None:
        self.key = key
        self.heard: list[Message] = []
        self._socket = socket
        self._pings = 0
        self._more = asyncio.Condition()
        self.ended = False
        """True once nothing more can come."""

    async def say(self, *messages: Message) -> None:
        """Send these."""
        for message in messages:
            await self._socket.send_bytes(encode_message(message))

    async def say_bytes(self, frame: bytes) -> None:
        """Send any bytes as a frame."""
        await self._socket.send_bytes(frame)

    async def hears(self, condition: Callable[[Message], bool]) -> Message:
        """The first message, of all that came, that is as wanted."""
        found: list[Message] = []

        def looked() -> bool:
            found.extend(message for message in self.heard if condition(message))
            return bool(found) or self.ended

        async with asyncio.timeout(DEADLINE_S), self._more:
            await self._more.wait_for(looked)
        assert found, f"the link ended: {self.heard[-1:]}"
        return found[0]

    async def is_refused(self, run_log: bytes) -> str:
        """The code by which a log was refused."""
        refusal = await self.hears(lambda message: isinstance(message, Rejected) and message.log == run_log)
        assert isinstance(refusal, Rejected)
        return refusal.code

    async def is_shut_out(self) -> str:
        """The code with which they ended the link."""
        async with asyncio.timeout(DEADLINE_S), self._more:
            await self._more.wait_for(lambda: self.ended)
        last = [message for message in self.heard if isinstance(message, Error) and not message.group]
        return last[-1].code if last else ""

    async def is_heard_out(self) -> None:
        """Everything that was said so far was taken note of."""
        self._pings += 1
        number = self._pings
        await self.say(Ping(number))
        await self.hears(lambda message: message == Pong(number))

    async def announce(self, log: SampleLog) -> None:
        """Say that all of `log` is held."""
        await self.say(have_of(log.certificate.group, log))

    async def give(self, log: SampleLog, run: Run) -> None:
        """Announce a log and send one run of it."""
        await self.announce(log)
        await self.say(events_of(log.certificate.group, run))

    async def listen(self) -> None:
        """Take down what they say."""
        async for message in self._socket:
            if message.type is not aiohttp.WSMsgType.BINARY:
                break
            async with self._more:
                self.heard.append(decode_message(message.data))
                self._more.notify_all()
        async with self._more:
            self.ended = True
            self._more.notify_all()


def local_side(key: KeyPair, name: str = "mallory") -> LocalSide:
    """What a dialler with `key` brings, on a channel without TLS."""
    return LocalSide(key, name, os.urandom(32), os.urandom(16), os.urandom(16))


@asynccontextmanager
async def opened_socket(site: Site) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A WebSocket to a peer, on which nothing was said."""
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{site.endpoint}/sync/v1/link", max_msg_size=1 << 24) as socket:
        yield socket


class Proven(NamedTuple):
    """A link after a true handshake."""

    socket: aiohttp.ClientWebSocketResponse
    listener_nonce: bytes


@asynccontextmanager
async def proven(
    endpoint: str, peer: PeerId, key: KeyPair, *, tls: bool = False, joining: bool = False, groups: tuple[GroupId, ...] = ()
) -> AsyncIterator[Proven]:
    """A link to `peer`, of which nothing more is read unless the test does."""
    context: ssl.SSLContext | bool = client_context() if tls else True
    channel_key = peer_spki_sha256(peer) if tls else NO_CHANNEL_KEY
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{endpoint}/sync/v1/link", ssl=context, max_msg_size=1 << 24) as socket:
        handshake = Handshake(local_side(key)._replace(channel_key=channel_key), peer)
        await socket.send_bytes(encode_message(handshake.hello))
        async with asyncio.timeout(DEADLINE_S):
            frame = await socket.receive_bytes()
            hello, proof = decode_message(frame), decode_message(await socket.receive_bytes())
        assert isinstance(hello, Hello)
        assert isinstance(proof, Proof)
        handshake.take_hello(hello, frame)
        handshake.check_proof(proof.signature)
        await socket.send_bytes(encode_message(Proof(handshake.prove(), joining=joining, groups=groups)))
        yield Proven(socket, hello.nonce)


@asynccontextmanager
async def proven_socket(site: Site, key: KeyPair, *, tls: bool) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """The same to a site of the lab."""
    async with proven(site.endpoint, site.key.peer_id, key, tls=tls, groups=groups_to_name(site.store.replica, key.peer_id)) as link:
        yield link.socket


@asynccontextmanager
async def hostile_link(
    endpoint: str, peer: PeerId, key: KeyPair, invitation: Invitation | None = None, groups: tuple[GroupId, ...] = ()
) -> AsyncIterator[HostilePeer]:
    """A link to `peer` after a true handshake, and joining if there is an `invitation`."""
    async with proven(endpoint, peer, key, joining=invitation is not None, groups=groups) as (socket, nonce):
        hostile = HostilePeer(socket, key)
        listening = asyncio.create_task(hostile.listen())
        if invitation is not None:
            signature = invitation.key.sign(join_bytes(invitation.group, key.peer_id, nonce))
            await hostile.say(Join(invitation.group, invitation.key.public, signature, "mallory"))
        try:
            yield hostile
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)


@asynccontextmanager
async def hostile_peer(site: Site, key: KeyPair | None = None) -> AsyncIterator[HostilePeer]:
    """A link to a site of the lab, by Mallory if nobody else is named."""
    key = key or key_pair("mallory")
    async with hostile_link(site.endpoint, site.key.peer_id, key, groups=groups_to_name(site.store.replica, key.peer_id)) as peer:
        yield peer


async def admit(site: Site, group: GroupId, *peers: PeerId, role: Role = Role.WRITER) -> None:
    """The owner decides."""
    for peer in peers:
        await site.store.write(group, LogKind.CONTROL, [member_set(peer, f"peer-{peer.hex()[:8]}", role)])


def rows(lab: Lab, site: Site) -> dict[str, int]:
    """What lies in the tables of a peer's log.db, looked at from outside."""
    with sqlite3.connect(f"file:{database_of(lab, site)}?mode=ro", uri=True) as connection:
        found = {table: connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}  # noqa: S608  (names of our own tables)
    connection.close()
    return found


def database_of(lab: Lab, site: Site) -> Path:
    """Where a peer of the lab keeps its log."""
    return lab._folder / site.name / "log.db"


def entry(log: SampleLog, certificate: bytes | None = None) -> LogEntry:
    """What is announced of `log`, if need be with another certificate."""
    (only,) = have_of(log.certificate.group, log).logs
    return only if certificate is None else only._replace(certificate=certificate)


def have(group: GroupId, *entries: LogEntry) -> Have:
    """The announcement of these."""
    return Have(group, complete=True, more=False, logs=entries)


def events(log: SampleLog, parts: list[tuple[bytes, bytes]], signature: bytes) -> Events:
    """The message that carries these headers and bodies as a run of `log`."""
    return Events(log.certificate.group, log.certificate.log, signature, tuple(parts))
