"""WebSockets of a hub: what changes is told at once to those who may know. Only a hint: who missed it sees it in the lists.

The frames are those that clients of hubs know, odd as they are: nearly every answer is of the type `agent_online`, and a client that sends no `ping`
in JSON for a minute is ended.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from aiohttp import WSMsgType, web

from peer.hub import limits
from peer.hub.answers import computed_time
from peer.hub.budgets import Budgets
from peer.hub.orders import Json, Subscription, check, read_json
from peer.hub.records import Agent, Announcement, Moment, State
from peer.hub.refusal import RefusedError
from peer.hub.registry import DISCOVERY, may_see

SEND_TIMEOUT_S = 10.0
_TOO_SLOW = 1013


class _Socket:
    """One connected client."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.channels: dict[str, None] = {}
        self.waiting: asyncio.Queue[str] = asyncio.Queue(limits.FRAMES_WAITING_MAX)
        self.over = asyncio.Event()

    def tell(self, frame: Json) -> None:
        """Send it in its turn; a client that does not read is given up."""
        try:
            self.waiting.put_nowait(json.dumps(frame, ensure_ascii=False, separators=(",", ":")))
        except asyncio.QueueFull:
            self.over.set()


class Sockets:
    """All connected clients."""

    def __init__(self, state: Callable[[], State], now: Callable[[], Moment]) -> None:
        """Does nothing yet."""
        self._state = state
        self._now = now
        self._sockets: list[_Socket] = []
        self._frames = Budgets(limits.FRAMES_PER_MINUTE, limits.NAMES_COUNTED_MAX)

    def check_room(self, agent: str) -> None:
        """Raise `RefusedError` where there is no place for one more of `agent`."""
        counts = Counter(each.agent.id for each in self._sockets)
        if counts.total() >= limits.SOCKETS_MAX or counts[agent] >= limits.SOCKETS_PER_AGENT_MAX:
            raise RefusedError(503, "TOO_MANY_SOCKETS", "Too many WebSockets: poll instead, or come again later", retry_after_s=60)

    async def serve(self, request: web.Request, agent: Agent) -> web.StreamResponse:
        """Keep one connection up until either side ends it."""
        response = web.WebSocketResponse(max_msg_size=limits.FRAME_SIZE_MAX, compress=False, timeout=SEND_TIMEOUT_S)
        if not response.can_prepare(request).ok:
            raise RefusedError(426, "Upgrade Required", "This is a WebSocket")
        self.check_room(agent.id)
        socket = _Socket(agent)
        self._sockets.append(socket)
        try:
            await response.prepare(request)
            self._answer(socket, {"authenticated": True, "agent_id": agent.id, "agent_name": agent.name})
            parts = [self._listen(response, socket), self._speak(response, socket), socket.over.wait()]
            tasks = [asyncio.ensure_future(part) for part in parts]
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
        finally:
            self._sockets.remove(socket)
        with suppress(ConnectionError, TimeoutError):
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await response.close(code=_TOO_SLOW if socket.over.is_set() else 1000)
        return response

    def announce(self, announcements: tuple[Announcement, ...], now_ms: int) -> None:
        """Tell everybody who has subscribed to it and may know."""
        for each in announcements:
            for channel in each.channels:
                frame: Json = {"type": each.type, "data": each.data, "channel": channel, "timestamp": computed_time(now_ms)}
                for socket in self._sockets:
                    if channel in socket.channels and socket.agent.id in each.audience:
                        socket.tell(frame)

    def dismiss(self, agent: str) -> None:
        """End the connections of an agent."""
        for socket in self._sockets:
            if socket.agent.id == agent:
                socket.over.set()

    def close(self) -> None:
        """End all of them."""
        for socket in self._sockets:
            socket.over.set()

    async def _listen(self, response: web.WebSocketResponse, socket: _Socket) -> None:
        """Until the client goes, says too much, or says nothing for too long."""
        loop = asyncio.get_running_loop()
        with suppress(TimeoutError):
            async with asyncio.timeout(limits.PING_TIMEOUT_S) as patience:
                async for message in response:
                    if message.type is not WSMsgType.TEXT or self._frames.take(socket.agent.id, self._now().steady_ms).is_spent:
                        return
                    try:
                        said = check(read_json(message.data), Subscription)
                    except RefusedError:
                        self._answer(socket, {"error": "Invalid message format"}, "agent_offline")
                        continue
                    if said.type == "ping":
                        patience.reschedule(loop.time() + limits.PING_TIMEOUT_S)
                        self._answer(socket, {"pong": True})
                    elif said.type == "subscribe":
                        self._subscribe(socket, said.channels)
                    else:
                        self._unsubscribe(socket, said.channels)

    async def _speak(self, response: web.WebSocketResponse, socket: _Socket) -> None:
        """Send what waits, and a ping now and then."""
        with suppress(ConnectionError, TimeoutError):
            while True:
                try:
                    async with asyncio.timeout(limits.PING_INTERVAL_S):
                        frame = await socket.waiting.get()
                except TimeoutError:
                    self._answer(socket, {"ping": True})
                    continue
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await response.send_str(frame)

    def _subscribe(self, socket: _Socket, channels: list[str]) -> None:
        asked = list(dict.fromkeys(channels))
        room = limits.CHANNELS_MAX - len(socket.channels)
        allowed = [each for each in asked if each in socket.channels or _is_open(self._state(), socket.agent.id, each)]
        new = [each for each in allowed if each not in socket.channels][:room]
        subscribed = [each for each in allowed if each in socket.channels or each in new]
        socket.channels.update(dict.fromkeys(new))
        denied = [each for each in asked if each not in subscribed]
        self._answer(socket, {"subscribed": subscribed, **({"denied": denied} if denied else {}), "current_channels": list(socket.channels)})

    def _unsubscribe(self, socket: _Socket, channels: list[str]) -> None:
        left = [each for each in dict.fromkeys(channels) if each in socket.channels]
        for each in left:
            del socket.channels[each]
        self._answer(socket, {"unsubscribed": left, "current_channels": list(socket.channels)})

    def _answer(self, socket: _Socket, data: Json, kind: str = "agent_online") -> None:
        socket.tell({"type": kind, "data": data, "timestamp": computed_time(self._now().ms)})


def _is_open(state: State, agent: str, channel: str) -> bool:
    """Whether `agent` may wait for news there."""
    kind, _, rest = channel.rpartition(":")
    match kind:
        case "map:hive":
            return rest in state.hives and agent in state.hives[rest].members
        case "map:swarm":
            return rest in state.swarms and may_see(state, agent, state.swarms[rest])
        case "hive":
            return any(hive.name == rest and (hive.is_public or agent in hive.members) for hive in state.hives.values())
        case _:
            return channel == DISCOVERY
