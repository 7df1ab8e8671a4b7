"""The plain-HTTP forms of the peer protocol: single requests of programs that hold no link. `PROTOCOL.md` section 9 describes each.

Every request is signed with the caller's peer key over a nonce that this peer gave, so no clock, cookie or bearer token is involved, and names the
one group that it is about. What it says is judged by the same session as on a link. Bodies and answers are CBOR arrays of frames.
"""

import time
from collections.abc import Awaitable, Callable, Sequence

from aiohttp import web

from peer.core.encoding import decode, encode
from peer.core.hashing import hash_bytes
from peer.core.identity import ID_SIZE, EventId, GroupId, LogId, PeerId
from peer.errors import (
    HandshakeFailedError,
    MalformedFrameError,
    MeshError,
    NotAMemberError,
    NotCanonicalError,
    RemoteProtocolError,
    RequestError,
    StoreError,
    TooManyRequestsError,
)
from peer.sync import limits, messages
from peer.sync.effects import Knocked
from peer.sync.handshake import NO_CHANNEL_KEY, Handshake
from peer.sync.session import SyncSession
from peer.sync.surroundings import about_one_group
from peer.transport.bodies import BODY_PLACE
from peer.transport.exchange import Outcome, exchange
from peer.transport.links import PeerLinks
from peer.transport.signatures import NONCE_HEADER, Request, RequestVerifier

GROUP = "/sync/v1/groups/{group:[0-9a-f]{64}}"
CONTENT_TYPE = "application/cbor"
FRAMES_MAX = 64
"""Frames in one body."""

AFTER_MAX = 16
"""Positions in the query of a request for events."""

_POSTED = (messages.Have, messages.Events)
_STATUS = {
    "not_a_member": 403,
    "not_allowed": 403,
    "not_found": 404,
    "limit_exceeded": 413,
    "handshake_failed": 403,
    "invitation_refused": 403,
    "no_admin_reached": 503,
    "shutting_down": 503,
    "local_protocol": 500,
}
NONCE = web.RequestKey("nonce", str)
"""Of a request that was verified: what this peer gave for it."""

BAD_REQUEST, UNAUTHORIZED, TOO_MANY_REQUESTS, UNAVAILABLE = 400, 401, 429, 503


Leave = Callable[[GroupId, PeerId], Awaitable[object]]
"""Takes a member off the roster that asks for it. Raises `RequestError` where this peer cannot."""


class FormRoutes:
    """The forms of a peer's listener."""

    def __init__(self, links: PeerLinks, leave: Leave, verifier: RequestVerifier) -> None:
        self._links = links
        self._leave = leave
        self._verifier = verifier

    def routes(self) -> list[web.RouteDef]:
        """To be added to the listener's application."""
        return [
            web.post("/sync/v1/handshake", self.handshake),
            web.post("/sync/v1/heartbeat", self.heartbeat),
            web.get(f"{GROUP}/status", self.status),
            web.get(f"{GROUP}/events", self.events),
            web.post(f"{GROUP}/events", self.put_events),
            web.post(f"{GROUP}/join", self.join),
            web.post(f"{GROUP}/leave", self.leave),
        ]

    async def handshake(self, request: web.Request) -> web.Response:
        """Who is here, and which versions both speak: one `hello` for another."""

        async def answer(caller: PeerId, body: bytes) -> list[bytes]:
            hello = _read_hello(body, caller)
            ours = self._handshake()
            ours.take_hello(hello, b"")
            if not self._is_member(None, caller):
                self._links.knocked(Knocked(caller, hello.name, ()), request.remote or "")
            return [messages.encode_message(ours.hello)]

        return await self._answer(request, None, answer)

    async def heartbeat(self, request: web.Request) -> web.Response:
        """A member is there, and tells where others are; so are we, and so do we."""

        async def answer(caller: PeerId, body: bytes) -> list[bytes]:
            hello, told = _read_heartbeat(body, caller)
            if not self._is_member(None, caller):
                raise NotAMemberError("this key belongs to no member of a group here")
            self._check_pace(caller)
            self._links.pace.take(caller, events=sum(len(each.entries) for each in told), size=len(body))
            self._links.heard_from(caller, hello.record)
            for message in told:
                if self._is_member(message.group, caller):
                    self._links.neighbours.hear_records(caller, message.group, message.entries)
            known = [messages.Records(group, tuple(entries)) for group, entries in self._links.neighbours.records_for(caller)]
            hello_frame = messages.encode_message(self._handshake().hello)
            return [hello_frame, *(messages.encode_message(each) for each in known[: FRAMES_MAX - 1])]

        return await self._answer(request, None, answer)

    async def status(self, request: web.Request) -> web.Response:
        """What is held of a group, as the `have` frames of a fresh link."""
        group = _group(request)

        async def answer(caller: PeerId, body: bytes) -> list[bytes]:
            _check_empty(body)
            self._check_member(group, caller)
            return await self._exchanged(request, caller, group, [])

        return await self._answer(request, group, answer)

    async def events(self, request: web.Request) -> web.Response:
        """Runs of one log after the positions in the query, with what is held of the group before them."""
        group = _group(request)

        async def answer(caller: PeerId, body: bytes) -> list[bytes]:
            _check_empty(body)
            self._check_member(group, caller)
            return await self._exchanged(request, caller, group, [messages.encode_message(_want(request, group))])

        return await self._answer(request, group, answer)

    async def put_events(self, request: web.Request) -> web.Response:
        """Runs, after the `have` that announces their logs. What was taken is durable, and what was refused is said, when the answer comes."""
        group = _group(request)

        async def answer(caller: PeerId, body: bytes) -> list[bytes]:
            frames, events = _read_posted(body, group)
            return await self._exchanged(request, caller, group, frames, events)

        return await self._answer(request, group, answer)

    async def join(self, request: web.Request) -> web.Response:
        """Somebody with an invitation asks to be let in; answered when that is decided, here or by an admin that is linked."""
        group = _group(request)

        async def answer(caller: PeerId, body: bytes) -> list[bytes]:
            join, nonce = _read_join(body, group), join_nonce(request[NONCE])
            return [await self._links.ask_to_join(caller, join, nonce, request[BODY_PLACE].free)]

        return await self._answer(request, group, answer)

    async def leave(self, request: web.Request) -> web.Response:
        """A member asks to be taken off the roster."""
        group = _group(request)

        async def answer(caller: PeerId, body: bytes) -> list[bytes]:
            _check_empty(body)
            self._check_member(group, caller)
            await self._leave(group, caller)
            return []

        return await self._answer(request, group, answer)

    async def _answer(
        self, request: web.Request, group: GroupId | None, answer: Callable[[PeerId, bytes], Awaitable[Sequence[bytes]]]
    ) -> web.Response:
        """Let `answer` work for whoever signed `request`; everything that can go wrong has a code."""
        now_ms = time.monotonic_ns() // 1_000_000
        body = await request.read()
        headers = {"Cache-Control": "no-store"}
        try:
            signed = Request(request.method, request.raw_path, request.headers, body)
            caller, request[NONCE] = self._verifier.identify(signed, now_ms, lambda peer: self._is_member(group, peer))
            headers[NONCE_HEADER] = self._verifier.fresh_nonce(now_ms)
            frames = await answer(caller, body)
        except HandshakeFailedError as error:
            headers[NONCE_HEADER] = self._verifier.fresh_nonce(now_ms)
            return _problem(UNAUTHORIZED, error, headers)
        except TooManyRequestsError as error:
            return _problem(TOO_MANY_REQUESTS, error, {**headers, "Retry-After": str(self._owed_s(caller))})
        except (RemoteProtocolError, RequestError) as error:
            return _problem(_STATUS.get(error.code, BAD_REQUEST), error, headers)
        except StoreError as error:
            return _problem(UNAVAILABLE, error, headers)
        return web.Response(body=encode(list(frames)), content_type=CONTENT_TYPE, headers=headers)

    async def _exchanged(self, request: web.Request, caller: PeerId, group: GroupId, frames: Sequence[bytes], events: int = 0) -> list[bytes]:
        """What the session says to these frames, which bring so many events. Raises what it says at its end."""
        self._check_pace(caller)
        self._links.pace.take(caller, events=events, size=sum(len(frame) for frame in frames))
        now_ms = time.monotonic_ns() // 1_000_000
        session = SyncSession(self._handshake(), about_one_group(self._links.replica, group), 0, now_ms)
        try:
            outcome = await exchange(session, self._links.store, caller, group, frames, now_ms)
        except StoreError as error:
            self._links.failed(error)
            raise
        if outcome.knocked is not None:
            self._links.knocked(outcome.knocked, request.remote or "")
        if outcome.end is not None:
            raise _as_error(outcome)
        return outcome.frames

    def _check_pace(self, caller: PeerId) -> None:
        """Raise `TooManyRequestsError` while what `caller` has sent is not paid for."""
        if self._owed_s(caller):
            raise TooManyRequestsError("this peer was sent more than it takes in a second")

    def _owed_s(self, caller: PeerId) -> int:
        """Seconds until what `caller` has sent so far, here and over links, is paid for."""
        return -(-self._links.pace.take(caller, events=0, size=0) // 1000)

    def _check_member(self, group: GroupId, caller: PeerId) -> None:
        """Raise `NotAMemberError` for everybody else, whether the group is here or not."""
        if not self._is_member(group, caller):
            raise NotAMemberError("this key belongs to no member of such a group here")

    def _handshake(self) -> Handshake:
        """A fresh one, of this side alone."""
        return Handshake(self._links.local_side(NO_CHANNEL_KEY), None)

    def _is_member(self, group: GroupId | None, peer: PeerId) -> bool:
        """Whether `peer` is on the roster of `group`, or of any."""
        groups = self._links.replica.groups
        views = groups.values() if group is None else [groups[group]] if group in groups else []
        return any(peer in view.roster.members for view in views)


def _group(request: web.Request) -> GroupId:
    return GroupId(bytes.fromhex(request.match_info["group"]))


def _want(request: web.Request, group: GroupId) -> messages.Want:
    """What the query asks for. Raises `MalformedFrameError`."""
    log, after = request.query.get("log", ""), request.query.get("after", "")
    positions = [each for each in after.split(",") if each]
    if len(positions) > AFTER_MAX:
        raise MalformedFrameError(f"more than {AFTER_MAX} positions")
    return messages.Want(group, LogId(_id(log)), tuple(EventId(_id(each)) for each in positions), search=False)


def _id(text: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != ID_SIZE or found.hex() != text:
        raise MalformedFrameError("an id in the query that is not 64 hexadecimal digits")
    return found


def _check_empty(body: bytes) -> None:
    if body:
        raise MalformedFrameError("this request has no body")


def _read_frames(body: bytes) -> list[bytes]:
    """The frames in a body. Raises `MalformedFrameError`."""
    try:
        frames = decode(body)
    except NotCanonicalError as error:
        raise MalformedFrameError("a body that is not an array of frames") from error
    if type(frames) is not list or not 1 <= len(frames) <= FRAMES_MAX:
        raise MalformedFrameError(f"a body of 1 to {FRAMES_MAX} frames is expected")
    found = [frame for frame in frames if type(frame) is bytes and len(frame) <= limits.FRAME_SIZE_MAX]
    if len(found) != len(frames):
        raise MalformedFrameError("a frame that is not bytes, or too long")
    return found


def _read_hello(body: bytes, caller: PeerId) -> messages.Hello:
    """The one `hello` in a body, of the caller itself."""
    hello, more = _read_heartbeat(body, caller)
    if more:
        raise MalformedFrameError("one hello is expected")
    return hello


def _read_heartbeat(body: bytes, caller: PeerId) -> tuple[messages.Hello, list[messages.Records]]:
    """The `hello` in a body, of the caller itself, and the records after it."""
    hello, *more = (messages.decode_message(frame) for frame in _read_frames(body))
    told = [each for each in more if isinstance(each, messages.Records)]
    if not isinstance(hello, messages.Hello) or len(told) != len(more):
        raise MalformedFrameError("a hello is expected, and nothing but records after it")
    if hello.peer != caller:
        raise HandshakeFailedError("a hello of another peer than the one that signed the request")
    return hello, told


def join_nonce(nonce: str) -> bytes:
    """What the key of an invitation signs in a request that is made with `nonce`: a listener's nonce, as on a link."""
    return hash_bytes(nonce.encode())


def _read_join(body: bytes, group: GroupId) -> messages.Join:
    """The one `join` in a body, about the group of the request."""
    frames = _read_frames(body)
    message = messages.decode_message(frames[0])
    if len(frames) != 1 or not isinstance(message, messages.Join) or message.group != group:
        raise MalformedFrameError("one join of the group in the path is expected")
    return message


def _read_posted(body: bytes, group: GroupId) -> tuple[list[bytes], int]:
    """Frames that bring events of one group, and how many. Raises `RemoteProtocolError` for any others: this session is about nothing else."""
    frames, events = _read_frames(body), 0
    for frame in frames:
        message = messages.decode_message(frame)
        if not isinstance(message, _POSTED):
            raise RemoteProtocolError(f"{type(message).__name__.lower()} in a request that brings events")
        if message.group != group:
            raise RemoteProtocolError("a frame about another group than the request")
        events += len(message.events) if isinstance(message, messages.Events) else 0
    return frames, events


def _as_error(outcome: Outcome) -> MeshError:
    """What the session said at its end, as an error with its code."""
    assert outcome.end is not None
    error = RemoteProtocolError(outcome.end.text)
    error.code = outcome.end.code
    return error


def _problem(status: int, error: MeshError, headers: dict[str, str]) -> web.Response:
    return web.json_response({"code": error.code, "text": error.text}, status=status, headers=headers)
