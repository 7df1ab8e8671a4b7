"""Finding out how far a peer can be reached, step by step, and beginning anew with everybody who shares a group.

The last steps are those of a real link: where none stands the dialler is told not to wait, and what becomes of that is told.
"""

import asyncio
import socket
from collections.abc import Awaitable, Collection, Sequence
from typing import NamedTuple, TypeVar

from peer.core.endpoint import read_endpoint, read_ip
from peer.core.identity import GroupId, PeerId
from peer.errors import AddressNotAllowedError, LinkBrokenError, LinkPausedError, MeshError, NotAMemberError
from peer.transport.dialling import Dialler
from peer.transport.hint_names import Found, look_up
from peer.transport.links import PeerLinks
from peer.transport.pinning import HINT_FIX

STEP_TIMEOUT_S = 5.0
LINK_TIMEOUT_S = 15.0
GROUP_TIMEOUT_S = 5.0
POLL_S = 0.02
PORTS = {"https": 443, "http": 80}
CHANNEL_CODES = frozenset({"channel_key_mismatch", "channel_unprotected"})
T = TypeVar("T")


class Step(NamedTuple):
    """One step: `name`, `tcp`, `tls`, `handshake` or `group`."""

    step: str
    ok: bool
    text: str


class Reached(NamedTuple):
    """How far it went."""

    endpoint: str | None
    steps: Sequence[Step]
    code: str | None
    fix: str


class _FailedError(Exception):
    """A step did not work."""

    def __init__(self, step: str, text: str, code: str, fix: str) -> None:
        super().__init__(text)
        self.failed = Step(step, ok=False, text=text)
        self.code, self.fix = code, fix


def resync(links: PeerLinks, group: GroupId) -> Sequence[PeerId]:
    """End every link on which `group` is spoken about: each is dialled again, and compares everything. Says whose they were."""
    peers = links.group_peers(group)
    for peer in peers:
        link = links.link_to(peer)
        if link is not None:
            link.close(LinkBrokenError.code, "everything is compared again")
    return peers


def part_from(links: PeerLinks, peers: Sequence[PeerId]) -> None:
    """End the links to these peers, whoever dialled."""
    for peer in peers:
        while (link := links.link_to(peer)) is not None:
            link.close(LinkPausedError.code, "the operator of this site has paused the link")


def part_from_hosts(links: PeerLinks, own: Collection[str], theirs: Collection[str]) -> None:
    """End the links that this machine holds at `own` addresses, or others at `theirs`, which are nobody's any more: they would notice late."""
    for peer in links.linked_peers():
        link = links.link_to(peer)
        if link is not None and (_is_in(link.carrier.own_address, own) or _is_in(link.carrier.address, theirs)):
            link.close(LinkBrokenError.code, "one of the two sites has another address in the mesh now")


def _is_in(address: str, hosts: Collection[str]) -> bool:
    return bool(address) and str(read_ip(address)) in hosts


async def reach(links: PeerLinks, peer: PeerId, endpoints: Sequence[str]) -> Reached:
    """Try the ways to `peer` up to the first that works; without one, tell of the last."""
    if not endpoints:
        steps: list[Step] = []
        return await _to_the_end(links, peer, None, steps)
    reached = Reached(None, (), None, "")
    for endpoint in endpoints:
        reached = await _try(links, peer, endpoint)
        if all(step.ok for step in reached.steps):
            break
    return reached


async def _try(links: PeerLinks, peer: PeerId, endpoint: str) -> Reached:
    steps: list[Step] = []
    parts = read_endpoint(endpoint)
    port = parts.port or PORTS[parts.scheme]
    try:
        is_hint = links.is_hint(peer, endpoint)
        found = await _timed("name", _look_up(parts.host, port, is_hint=is_hint))
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        if is_hint:
            addresses = _allowed(links, addresses)
        steps.append(Step("name", ok=True, text=f"{parts.host} is {', '.join(addresses)}"))
        await _timed("tcp", _connect(addresses, port))
        steps.append(Step("tcp", ok=True, text=f"port {port} answers"))
    except _FailedError as error:
        return Reached(endpoint, [*steps, error.failed], error.code, error.fix)
    return await _to_the_end(links, peer, endpoint, steps)


async def _look_up(host: str, port: int, *, is_hint: bool) -> Found:
    return await (look_up(host, port) if is_hint else asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM))


def _allowed(links: PeerLinks, addresses: Sequence[str]) -> list[str]:
    """Those of the addresses behind a hint where it may lead. Raises `_FailedError` without any."""
    allowed = [each for each in addresses if links.channel_rules.may_follow_hint(each)]
    if not allowed:
        text = f"it leads to {', '.join(addresses)}, where addresses are not dialled that others told of"
        raise _FailedError("name", text, AddressNotAllowedError.code, HINT_FIX)
    return allowed


async def _connect(addresses: Sequence[str], port: int) -> None:
    """To the first that answers. Raises `OSError` of the last."""
    for address in addresses:
        try:
            _, writer = await asyncio.open_connection(address, port)
        except OSError:
            if address == addresses[-1]:
                raise
        else:
            writer.close()
            return


async def _to_the_end(links: PeerLinks, peer: PeerId, endpoint: str | None, steps: list[Step]) -> Reached:
    """TLS, handshake and group, on a link that stands or that the dialler makes now."""
    plain = endpoint is not None and endpoint.startswith("http://")
    try:
        if not links.is_linked(peer):
            await _link(links, peer, endpoint, plain=plain)
        if endpoint is not None:
            text = "not used: both ends are on loopback or in a WireGuard network" if plain else "the key in the certificate is the right one"
            steps.append(Step("tls", ok=True, text=text))
        steps.append(Step("handshake", ok=True, text="they have proved who they are"))
        groups = await _groups(links, peer)
    except _FailedError as error:
        before = {"handshake": ["tls"], "group": ["tls", "handshake"]}.get(error.failed.step, [])
        passed = [Step(step, ok=True, text="passed") for step in before if endpoint is not None and step not in {each.step for each in steps}]
        return Reached(endpoint, [*steps, *passed, error.failed], error.code, error.fix)
    steps.append(Step("group", ok=True, text=f"{groups} shared" if groups > 1 else "1 shared"))
    return Reached(endpoint, steps, None, "")


async def _link(links: PeerLinks, peer: PeerId, endpoint: str | None, *, plain: bool) -> None:
    """Wait until there is a link; raises what stands in the way."""
    dialler = links.dialler_of(peer)
    if dialler is None:
        text = "there is no link, and it is not dialled: no address of it is known, or the link is paused"
        raise _FailedError("handshake", text, LinkBrokenError.code, "give its address with `recmesh peer add`, or `recmesh peer resume` it")
    tries = dialler.tries
    try:
        async with asyncio.timeout(LINK_TIMEOUT_S):
            while not links.is_linked(peer) and dialler.tries <= tries:
                if dialler.next_try_ms is not None:
                    dialler.hurry()
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        raise _FailedError("handshake", "no answer in time", "handshake_timeout", "is something else listening there?") from None
    if not links.is_linked(peer):
        raise _failure(dialler, endpoint, plain=plain)


async def _groups(links: PeerLinks, peer: PeerId) -> int:
    """How many groups are spoken about with them, by what they said: they may be about to refuse what is offered."""
    try:
        async with asyncio.timeout(GROUP_TIMEOUT_S):
            while (link := links.link_to(peer)) is not None:
                if shared := link.session.shared_groups(heard=True):
                    return len(shared)
                await asyncio.sleep(POLL_S)
    except TimeoutError:
        pass
    fix = "add each other at both sites: `recmesh peer add --group GROUP`, or join with an invitation"
    raise _FailedError("group", "no group is shared with this peer", NotAMemberError.code, fix)


def _failure(dialler: Dialler, endpoint: str | None, *, plain: bool) -> _FailedError:
    """At which step the dialler failed last."""
    error: MeshError | None = (dialler.error_at(endpoint) if endpoint is not None else None) or dialler.last_error
    if error is None:
        return _FailedError("handshake", "the link ended at once", LinkBrokenError.code, "try again")
    if error.code == NotAMemberError.code:
        return _FailedError("group", error.text, error.code, "add each other at both sites: `recmesh peer add --group GROUP`")
    in_tls = error.code in CHANNEL_CODES or (error.code == "unreachable" and not plain and "answers" not in error.text)
    return _FailedError("tls" if in_tls else "handshake", error.text, error.code, error.fix or "compare its id with what `recmesh id` prints there")


async def _timed(step: str, work: Awaitable[T]) -> T:
    """What `work` gives, in a bounded time. Raises `_FailedError`."""
    fix = "check the name in its endpoint" if step == "name" else "check that the site is up, its port, and the firewalls between"
    try:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            return await work
    except TimeoutError:
        raise _FailedError(step, "no answer in time", "unreachable", fix) from None
    except OSError as error:
        raise _FailedError(step, error.strerror or str(error), "unreachable", fix) from error
