"""The routes of a hub on the peer listener: `/api/v1/...` and `/ws`, as clients of hubs know them. Nothing is said without a key.

A valid key is never held up by what comes without one from the same address: each agent has a budget of requests, and what is refused has another.
"""

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aiohttp import web

from peer.errors import StoreError
from peer.hub import answers, limits
from peer.hub.budgets import Allowance, Budgets
from peer.hub.hub import Hub
from peer.hub.keys import AGENT_PREFIX, digest_of, new_id, new_secret
from peer.hub.orders import AgentOrder, HiveOrder, Joining, Json, KeyOrder, M, SwarmChange, SwarmOrder, check, read_json
from peer.hub.records import Agent, Hive, Swarm
from peer.hub.refusal import RefusedError, key_invalid, unauthorised
from peer.hub.registry import (
    agent_of,
    create_hive,
    heartbeat,
    hive_named,
    join_hive,
    leave_hive,
    may_see,
    own_swarm,
    register_agent,
    register_swarm,
    remove_swarm,
    update_swarm,
    valid_key,
)
from peer.hub.sockets import Sockets

API = "/api/v1"
_MS_PER_HOUR = 3600 * 1000
_SCHEME = "bearer"

Handler = Callable[[web.Request, Agent], Awaitable[web.StreamResponse]]


class Surroundings(NamedTuple):
    """What the routes ask of the rest of the peer."""

    source_of: Callable[[web.Request], str]
    """Whom a request without a valid key is counted to."""
    admin_named: Callable[[str], str | None]
    """The name of the admin's token with this secret, if it is one that counts here."""
    record: Callable[[web.Request, str, int], None]
    """Write down that this admin changed something, and with which status."""


class HubRoutes:
    """Handlers, for one hub."""

    def __init__(self, hub: Hub, surroundings: Surroundings) -> None:
        """Does nothing yet."""
        self._hub = hub
        self._surroundings = surroundings
        self.sockets = Sockets(lambda: hub.state, hub.now)
        hub.subscribe(self.sockets)
        self._requests = Budgets(limits.REQUESTS_PER_MINUTE, limits.NAMES_COUNTED_MAX)
        self._refused = Budgets(limits.REFUSED_PER_MINUTE, limits.NAMES_COUNTED_MAX)

    def routes(self) -> list[web.RouteDef]:
        """All of them; the last takes what is no route."""
        swarms, one = f"{API}/map/swarms", f"{API}/map/swarms/{{id}}"
        listed: list[tuple[str, str, Handler]] = [
            ("POST", f"{API}/hives", self._create_hive),
            ("GET", f"{API}/hives/{{name}}", self._show_hive),
            ("POST", swarms, self._register_swarm),
            ("GET", swarms, self._list_swarms),
            ("GET", one, self._show_swarm),
            ("PUT", one, self._update_swarm),
            ("DELETE", one, self._remove_swarm),
            ("POST", f"{one}/heartbeat", self._heartbeat),
            ("POST", f"{one}/hives", self._join_hive),
            ("DELETE", f"{one}/hives/{{name}}", self._leave_hive),
            ("GET", f"{API}/map/peers/{{id}}", self._peers),
            ("POST", f"{API}/map/preauth-keys", self._create_key),
            ("GET", f"{API}/map/preauth-keys", self._list_keys),
            ("DELETE", f"{API}/map/preauth-keys/{{id}}", self._revoke_key),
            ("GET", "/ws", self.sockets.serve),
            ("*", f"{API}/{{rest:.*}}", _nothing),
        ]
        register = web.route("POST", f"{API}/agents/register", self._answering(self._register_agent))
        return [register, *(web.route(method, path, self._answering(self._for_agents(handler))) for method, path, handler in listed)]

    def _answering(self, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def serve(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except RefusedError as error:
                return _refusal(self._counted(request, error))
            except StoreError:
                return _refusal(RefusedError(503, "STORE_FAILED", "The hub cannot write at the moment", retry_after_s=60))

        return serve

    def _for_agents(self, handler: Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """Lets in who has a valid key, so many times a minute."""

        async def serve(request: web.Request) -> web.StreamResponse:
            agent = agent_of(self._hub.state, digest_of(_secret(request)))
            if agent is None:
                raise unauthorised()
            allowance = self._requests.take(agent.id, self._hub.now().steady_ms)
            if allowance.is_spent:
                raise _spent(allowance)
            try:
                response = await handler(request, agent)
            except RefusedError as error:
                response = _refusal(error)
            if not response.prepared:
                response.headers.update(allowance.headers())
            return response

        return serve

    def _counted(self, request: web.Request, error: RefusedError) -> RefusedError:
        """What is said to somebody without a valid key: the error, or that these come too often."""
        if error.status != web.HTTPUnauthorized.status_code:
            return error
        allowance = self._refused.take(self._surroundings.source_of(request), self._hub.now().steady_ms)
        return _spent(allowance) if allowance.is_spent else error

    async def _register_agent(self, request: web.Request) -> web.StreamResponse:
        document = await _document(request)
        given = document.get("preauth_key") if isinstance(document, dict) else None
        if not isinstance(given, str):
            raise key_invalid()
        digest = digest_of(given)
        valid_key(self._hub.state, digest, self._hub.now().ms)  # Before anything else is looked at: strangers learn nothing.
        order = check(document, AgentOrder)
        secret = new_secret(AGENT_PREFIX)
        agent = Agent(new_id(), order.name, order.description, digest_of(secret), None, self._hub.now().ms)
        await self._hub.change(lambda state, now: register_agent(state, agent, digest, now))
        return _json(answers.agent_registered(agent, secret), 201)

    async def _create_hive(self, request: web.Request, agent: Agent) -> web.StreamResponse:
        order = await _order(request, HiveOrder)
        now = self._hub.now().ms
        hive = Hive(new_id(), order.name, order.description, agent.id, order.is_public, order.settings, now, now, frozenset({agent.id}))
        await self._hub.change(lambda state, _: create_hive(state, hive))
        return _json(answers.hive_made(hive), 201)

    async def _show_hive(self, request: web.Request, agent: Agent) -> web.StreamResponse:
        name = request.match_info["name"]
        hive = hive_named(self._hub.state, name)
        if hive is None:
            raise RefusedError(404, "HIVE_NOT_FOUND", f'Hive "{name[:64]}" not found')
        if not hive.is_public and agent.id not in hive.members:
            raise RefusedError(403, "Forbidden", "This hive is private")
        return _json(answers.hive_shown(self._hub.state, agent.id, hive))

    async def _register_swarm(self, request: web.Request, agent: Agent) -> web.StreamResponse:
        order = await _order(request, SwarmOrder)
        now = self._hub.now().ms
        fields = order.model_dump(exclude={"preauth_key", "capabilities"})
        swarm = Swarm(new_id("swarm_"), agent.id, created_ms=now, updated_ms=now, last_seen_ms=now, capabilities=_capabilities(order), **fields)
        digest = digest_of(order.preauth_key) if order.preauth_key is not None else None
        change = await self._hub.change(lambda state, now: register_swarm(state, swarm, digest, now))
        made = change.state.swarms[swarm.id]
        joined = next((each.channels[0].rpartition(":")[2] for each in change.announcements if _joined(each.type, each.data, swarm.id)), None)
        return _json(answers.swarm_registered(made, joined), 201)

    async def _list_swarms(self, request: web.Request, agent: Agent) -> web.StreamResponse:
        query, state = request.query, self._hub.state
        limit = min(_number(query.get("limit"), limits.LIST_DEFAULT), limits.LIST_MAX)
        offset = _number(query.get("offset"), 0)
        found = answers.page_of_swarms(state, agent.id, query.get("hive_id"), query.get("status"))
        page = [answers.swarm_listed(state, agent.id, swarm) for swarm in found[offset : offset + limit]]
        return _json({"data": page, "total": len(found)})

    async def _show_swarm(self, request: web.Request, agent: Agent) -> web.StreamResponse:
        state = self._hub.state
        swarm = state.swarms.get(request.match_info["id"])
        if swarm is None or not may_see(state, agent.id, swarm):
            raise RefusedError(404, "Not Found", "Swarm not found")
        return _json(answers.swarm_shown(state, agent.id, swarm))

    async def _update_swarm(self, request: web.Request, agent: Agent) -> web.StreamResponse:
        swarm = own_swarm(self._hub.state, agent.id, request.match_info["id"]).id
        order = await _order(request, SwarmChange)
        changes = order.model_dump(exclude_unset=True, exclude={"capabilities"})
        if "capabilities" in order.model_fields_set:
            changes["capabilities"] = _capabilities(order)
        state = (await self._hub.change(lambda state, now: update_swarm(state, agent.id, swarm, changes, now))).state
        return _json(answers.swarm_shown(state, agent.id, state.swarms[swarm]))

    async def _remove_swarm(self, request: web.Request, agent: Agent) -> web.StreamResponse:
        await self._hub.change(lambda state, _: remove_swarm(state, agent.id, request.match_info["id"]))
        return web.Response(status=204)

    async def _heartbeat(self, request: web.Request, agent: Agent) -> web.StreamResponse:
        await self._hub.change(lambda state, now: heartbeat(state, agent.id, request.match_info["id"], now))
        return _json({"status": "ok", "timestamp": answers.computed_time(self._hub.now().ms)})

    async def _join_hive(self, request: web.Request, agent: Agent) -> web.StreamResponse:
        swarm = own_swarm(self._hub.state, agent.id, request.match_info["id"]).id
        name = (await _order(request, Joining)).hive_name
        state = (await self._hub.change(lambda state, now: join_hive(state, agent.id, swarm, name, now))).state
        return _json({"message": f'Swarm joined hive "{name}"', "hives": answers.names(state, state.swarms[swarm].hives)})

    async def _leave_hive(self, request: web.Request, agent: Agent) -> web.StreamResponse:
        swarm, name = request.match_info["id"], request.match_info["name"]
        state = (await self._hub.change(lambda state, now: leave_hive(state, agent.id, swarm, name, now))).state
        return _json({"message": f'Swarm left hive "{name}"', "hives": answers.names(state, state.swarms[swarm].hives)})

    async def _peers(self, request: web.Request, agent: Agent) -> web.StreamResponse:
        state = self._hub.state
        swarm = own_swarm(state, agent.id, request.match_info["id"])
        return _json(answers.peers(state, swarm, self._hub.now().ms))

    async def _create_key(self, request: web.Request, agent: Agent) -> web.StreamResponse:
        admin = self._admin(request)
        order = await _order(request, KeyOrder)
        expires_in_ms = None if order.expires_in_hours is None else order.expires_in_hours * _MS_PER_HOUR
        key, secret = await self._hub.make_key(order.hive_id, order.uses, expires_in_ms, agent.id)
        self._surroundings.record(request, admin, 201)
        return _json(answers.key_made(key, secret), 201)

    async def _list_keys(self, request: web.Request, _: Agent) -> web.StreamResponse:
        self._admin(request)
        hive = request.query.get("hive_id")
        found = [key for key in self._hub.state.keys.values() if hive is None or key.hive == hive]
        found.sort(key=lambda key: (-key.created_ms, key.id))
        offset, limit = _number(request.query.get("offset"), 0), min(_number(request.query.get("limit"), limits.LIST_DEFAULT), limits.LIST_MAX)
        return _json(answers.keys_listed(found[offset : offset + limit]))

    async def _revoke_key(self, request: web.Request, _: Agent) -> web.StreamResponse:
        admin = self._admin(request)
        await self._hub.revoke_key(request.match_info["id"])
        self._surroundings.record(request, admin, 204)
        return web.Response(status=204)

    def _admin(self, request: web.Request) -> str:
        name = self._surroundings.admin_named(request.headers.get("X-Admin-Key", ""))
        if name is None:
            raise RefusedError(403, "Forbidden", "Admin key required")
        return name


async def _nothing(request: web.Request, _: Agent) -> web.StreamResponse:
    where = f"Route {request.method[:16]}:{request.path[:128]} not found"
    return _json({"message": where, "error": "Not Found", "statusCode": 404}, 404)


def _secret(request: web.Request) -> str:
    """What is shown as a key; browsers can only show it to `/ws` in the query."""
    given = request.headers.getall("Authorization", [])
    if not given and request.path == "/ws":
        return request.query.get("token", "")
    scheme, _, secret = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return secret.strip() if scheme.lower() == _SCHEME else ""


async def _document(request: web.Request) -> object:
    data = await request.read()  # The listener has it already, and it is not large.
    if len(data) > limits.BODY_SIZE_MAX:
        raise RefusedError(413, "Payload Too Large", f"At most {limits.BODY_SIZE_MAX} bytes")
    return read_json(data)


async def _order(request: web.Request, model: type[M]) -> M:
    return check(await _document(request), model)


def _capabilities(order: SwarmOrder | SwarmChange) -> Json | None:
    return None if order.capabilities is None else order.capabilities.model_dump(exclude_unset=True)


def _joined(kind: str, data: Json, swarm: str) -> bool:
    return kind == "swarm_joined_hive" and data["swarm_id"] == swarm


def _number(text: str | None, default: int) -> int:
    """A number in a query; the default for what is none."""
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) <= len(str(limits.SWARMS_MAX)) else default


def _spent(allowance: Allowance) -> RefusedError:
    error = RefusedError(429, "Too Many Requests", f"Rate limit exceeded, retry in {allowance.reset_s} seconds", retry_after_s=allowance.reset_s)
    error.headers = allowance.headers()
    return error


def _refusal(error: RefusedError) -> web.Response:
    document: Json = {"error": error.error, "message": error.text}
    if error.details:
        document["details"] = list(error.details)
    response = _json(document, error.status)
    response.headers.update(error.headers)
    if error.retry_after_s is not None:
        response.headers["Retry-After"] = str(error.retry_after_s)
    return response


def _json(document: object, status: int = 200) -> web.Response:
    return web.json_response(document, status=status)
