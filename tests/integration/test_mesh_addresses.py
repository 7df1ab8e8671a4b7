"""Peers that listen at their addresses in a mesh: loopback addresses here, as a daemon tells of them over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from peer.core.endpoint import read_endpoint
from tests.fake_tailscaled import LOGGED_OUT, RUNNING, FakeDaemon, node
from tests.integration.running_peer import RunningPeer, running_peer
from tests.tls_proxy import make_certificate

LOOK_S = 0.05
DEADLINE_S = 20.0


class Site:
    """A peer on a machine of the mesh, with the daemon there."""

    def __init__(self, peer: RunningPeer, daemon: FakeDaemon) -> None:
        self.peer, self.daemon = peer, daemon

    def says(self, own: list[str], others: dict[str, list[str]], *, tag: str = "tag:recmesh") -> None:
        """From now on its daemon says that it has these addresses, and others those."""
        self.daemon.status = status_of(own, others, tag)
        self.daemon.tell()

    async def links(self) -> list[dict[str, Any]]:
        """Of `status`."""
        found: list[dict[str, Any]] = (await self.peer.get("/api/v1/status"))["links"]
        return found


def status_of(own: list[str], others: dict[str, list[str]], tag: str = "tag:recmesh") -> dict[str, Any]:
    """What a daemon says of a machine with these addresses, and of others by name."""
    nodes = [node(number, name, TailscaleIPs=addresses, Tags=[tag]) for number, (name, addresses) in enumerate(others.items(), 2)]
    return {**RUNNING, "TailscaleIPs": own, "Self": node(1, "own", TailscaleIPs=own, Tags=[tag]), "Peer": {each["PublicKey"]: each for each in nodes}}


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


@asynccontextmanager
async def site(folder: Path, name: str, status: dict[str, Any], **settings: object) -> AsyncIterator[Site]:
    """A peer that listens in a mesh of which its daemon says `status`."""
    daemon, socket = FakeDaemon(), folder / f"{name}.sock"
    daemon.status = status
    tailscale = {"socket": str(socket), "poll_s": LOOK_S, **settings.pop("tailscale", {})}  # type: ignore[dict-item]
    async with daemon.on_socket(socket), running_peer(folder / name, name, tailscale=tailscale, **{"listen": "tailnet:0", **settings}) as peer:
        yield Site(peer, daemon)


def host_of(endpoint: str | None) -> str | None:
    """Where it leads."""
    return None if endpoint is None else read_endpoint(endpoint).host


async def answers(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    return True


async def together(first: Site, second: Site) -> str:
    """A group of both, with the link up; its id."""
    group = await first.peer.post("/api/v1/sync/groups", {"name": "lab"})
    invited = await first.peer.post(f"/api/v1/sync/groups/{group['group_id']}/invitations", {})
    await second.peer.post("/api/v1/sync/groups/join", {"invitation": invited["invitation"]})
    for each in (first, second):
        await each.peer.until("/api/v1/status", lambda found: [link["state"] for link in found["links"]] == ["up_to_date"])
    return str(group["group_id"])


async def test_a_peer_listens_at_its_addresses_in_the_mesh_and_nowhere_else(tmp_path: Path) -> None:
    """Whatever the daemon says: not on all interfaces, and not where no machine of a mesh is."""
    says = status_of(["127.0.0.2", "0.0.0.0", "::", "192.0.2.1", "127.0.0.3"], {})  # noqa: S104  (what a daemon must not bring about)
    async with site(tmp_path, "alone", says) as alone:
        endpoint = read_endpoint(alone.peer.listen)

        assert (endpoint.host, (await alone.peer.get("/api/v1/status"))["problems"]) == ("127.0.0.2", [])
        assert endpoint.port is not None
        reached = [host for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4") if await answers(host, endpoint.port)]
        assert reached == ["127.0.0.2", "127.0.0.3"]


async def test_a_peer_starts_without_its_mesh_and_listens_once_it_is_there(tmp_path: Path) -> None:
    async with site(tmp_path, "early", LOGGED_OUT) as early:
        assert early.peer.listen == "tailnet"
        found = await early.peer.get("/api/v1/status")
        assert (found["endpoint"], [each["code"] for each in found["problems"]]) == (None, ["mesh_not_listening"])

        early.says(["127.0.0.2"], {})

        found = await early.peer.until("/api/v1/status", lambda found: found["endpoint"] is not None)
        assert (host_of(found["endpoint"]), found["problems"]) == ("127.0.0.2", [])


async def test_an_address_that_cannot_be_listened_at_is_told_of_and_tried_again(tmp_path: Path) -> None:
    async with site(tmp_path, "taken", LOGGED_OUT) as taken:
        held = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.3", 0)
        port = held.sockets[0].getsockname()[1]
        await taken.peer.until("/api/v1/status", lambda found: found["problems"])
    async with site(tmp_path, "taken", status_of(["127.0.0.3"], {}), listen=f"tailnet:{port}") as taken:
        (problem,) = (await taken.peer.get("/api/v1/status"))["problems"]
        assert (problem["code"], f"127.0.0.3:{port}" in problem["text"]) == ("mesh_not_listening", True)

        held.close()
        await held.wait_closed()

        found = await taken.peer.until("/api/v1/status", lambda found: found["endpoint"] is not None)
        assert (found["endpoint"], found["problems"]) == (f"http://127.0.0.3:{port}", [])


@pytest.mark.parametrize("listens", ["none", "tailnet:0"])
async def test_links_move_to_a_new_address_and_nothing_is_lost(tmp_path: Path, stack: AsyncExitStack, listens: str) -> None:
    """Who dialled the old one hears of the new one before the link ends, in a record that takes the place of the old."""
    alpha = await stack.enter_async_context(site(tmp_path, "alpha", status_of(["127.0.0.2"], {"beta": ["127.0.0.3"]})))
    beta = await stack.enter_async_context(site(tmp_path, "beta", status_of(["127.0.0.3"], {"alpha": ["127.0.0.2"]}), listen=listens))
    group = await together(alpha, beta)
    old = read_endpoint(alpha.peer.listen)
    new = f"http://127.0.0.4:{old.port}"

    beta.says(["127.0.0.3"], {"alpha": ["127.0.0.4"]})
    alpha.says(["127.0.0.4"], {"beta": ["127.0.0.3"]})
    for _ in range(8):
        await alpha.peer.post(f"/api/v1/sync/groups/{group}/invitations", {})

    found = await alpha.peer.until("/api/v1/status", lambda found: found["endpoint"] == new)
    assert found["problems"] == []
    # Until its record comes, where it would be by the usual port may stand before where it went.
    await beta.peer.until(f"/api/v1/sync/peers/{alpha.peer.peer_id}", lambda found: found["endpoints"][:1] == [new])
    assert old.port is not None
    assert not await answers("127.0.0.2", old.port)
    where = [new] if listens == "none" else [new, None]  # None: alpha dialled.
    await beta.peer.until("/api/v1/status", lambda found: any(each["address"] in where and each["state"] == "up_to_date" for each in found["links"]))
    held = await events_of(alpha, group)
    await beta.peer.until("/api/v1/status", lambda found: count_of(found, group) == held)
    await alpha.peer.post(f"/api/v1/sync/groups/{group}/invitations", {})
    await beta.peer.until("/api/v1/status", lambda found: count_of(found, group) == held + 1)


async def events_of(site: Site, group: str) -> int:
    """How many events of a group it holds."""
    return count_of(await site.peer.get("/api/v1/status"), group)


def count_of(status: dict[str, Any], group: str) -> int:
    """The same, in a status."""
    return int(next(each["events"] for each in status["groups"] if each["group_id"] == group))


async def test_a_known_peer_is_found_by_the_tag_of_its_machine_and_a_wrong_one_costs_one_try(tmp_path: Path, stack: AsyncExitStack) -> None:
    """No address of it is good any more and nobody tells of another: what is left is that its machine has the tag. So has a stranger's."""
    quiet: dict[str, Any] = {"gossip": {"enabled": False}}
    async with AsyncExitStack() as before:
        alpha = await before.enter_async_context(site(tmp_path, "alpha", status_of(["127.0.0.2"], {}), **quiet))
        beta = await before.enter_async_context(site(tmp_path, "beta", status_of(["127.0.0.3"], {}), listen="none", **quiet))
        await together(alpha, beta)
        port = read_endpoint(alpha.peer.listen).port
    knocks: list[str] = []

    def knocked(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        knocks.append(str(writer.get_extra_info("peername")))
        writer.close()

    untagged = await asyncio.start_server(knocked, "127.0.0.7", port)
    stack.push_async_callback(untagged.wait_closed)
    stack.callback(untagged.close)
    await stack.enter_async_context(site(tmp_path, "stranger", status_of(["127.0.0.6"], {}), listen=f"tailnet:{port}", **quiet))
    await stack.enter_async_context(site(tmp_path, "alpha", status_of(["127.0.0.5"], {}), listen=f"tailnet:{port}", **quiet))
    says = status_of(["127.0.0.3"], {"aaa": ["127.0.0.6"], "zzz": ["127.0.0.5"]})
    says["Peer"]["other"] = node(9, "other", TailscaleIPs=["127.0.0.7"], Tags=["tag:other"])
    beta = await stack.enter_async_context(site(tmp_path, "beta", says, listen="none", tailscale={"peer_port": port}, **quiet))

    (link,) = (await beta.peer.until("/api/v1/status", lambda found: [each["state"] for each in found["links"]] == ["up_to_date"]))["links"]

    assert (link["name"], link["address"], link["dialled_by_us"]) == ("alpha", f"http://127.0.0.5:{port}", True)
    assert not knocks
    known = await beta.peer.get(f"/api/v1/sync/peers/{link['peer_id']}")
    assert known["endpoints"][0] == link["address"]
    assert f"http://127.0.0.6:{port}" not in known["endpoints"]


async def test_who_is_at_another_address_now_is_found_there_even_if_it_cannot_say_so(tmp_path: Path, stack: AsyncExitStack) -> None:
    """Its address is gone before it could tell of another, as it mostly is. The link ends when the mesh says so, not when it is found silent."""
    quiet: dict[str, Any] = {"gossip": {"enabled": False}}
    alpha = await stack.enter_async_context(site(tmp_path, "alpha", status_of(["127.0.0.2"], {}), **quiet))
    port = read_endpoint(alpha.peer.listen).port
    finding = {"tailscale": {"peer_port": port}, **quiet}
    beta = await stack.enter_async_context(site(tmp_path, "beta", status_of(["127.0.0.3"], {"alpha": ["127.0.0.2"]}), listen="none", **finding))
    group = await together(alpha, beta)
    alpha.says(["127.0.0.2", "127.0.0.4"], {})  # It listens there already, and keeps what it has: for it nothing ends.
    assert port is not None
    async with asyncio.timeout(DEADLINE_S):
        while not await answers("127.0.0.4", port):  # noqa: ASYNC110  (what is waited for has no event of its own)
            await asyncio.sleep(0.01)

    beta.says(["127.0.0.3"], {"alpha": ["127.0.0.4"]})

    new = f"http://127.0.0.4:{port}"
    await beta.peer.until("/api/v1/status", lambda found: [(each["address"], each["state"]) for each in found["links"]] == [(new, "up_to_date")])
    await alpha.peer.post(f"/api/v1/sync/groups/{group}/invitations", {})
    held = await events_of(alpha, group)
    await beta.peer.until("/api/v1/status", lambda found: count_of(found, group) == held)


async def test_a_mesh_that_goes_and_comes_back_as_it_was_moves_nothing(tmp_path: Path, stack: AsyncExitStack) -> None:
    """A daemon that is restarted, or logged out for a moment, ends no link and closes no door."""
    alpha = await stack.enter_async_context(site(tmp_path, "alpha", status_of(["127.0.0.2"], {"beta": ["127.0.0.3"]})))
    beta = await stack.enter_async_context(site(tmp_path, "beta", status_of(["127.0.0.3"], {"alpha": ["127.0.0.2"]}), listen="none"))
    await together(alpha, beta)
    (before,) = await beta.links()
    endpoint = (await alpha.peer.get("/api/v1/status"))["endpoint"]

    running, alpha.daemon.status = alpha.daemon.status, LOGGED_OUT
    alpha.daemon.tell()
    stopped = await alpha.peer.until("/api/v1/status", lambda found: found["problems"])
    assert ([each["code"] for each in stopped["problems"]], stopped["endpoint"]) == (["mesh_not_listening"], endpoint)
    alpha.daemon.status = running
    alpha.daemon.tell()

    found = await alpha.peer.until("/api/v1/status", lambda found: not found["problems"])
    assert found["endpoint"] == endpoint
    (after,) = await beta.links()
    assert (after["state"], after["address"], after["carrier"]) == ("up_to_date", before["address"], before["carrier"])
    assert (await beta.peer.get(f"/api/v1/sync/peers/{alpha.peer.peer_id}"))["endpoints"] == [endpoint]


async def test_members_are_told_of_addresses_and_name_in_the_mesh(tmp_path: Path, stack: AsyncExitStack) -> None:
    """With the key that is shown there, where it is another; a name goes with TLS alone."""
    files = make_certificate(tmp_path / "tls")
    keys = {"tls_cert": str(files.certificate), "tls_key": str(files.key)}
    alpha = await stack.enter_async_context(site(tmp_path, "alpha", status_of(["127.0.0.2", "127.0.0.4"], {}), **keys))
    beta = await stack.enter_async_context(site(tmp_path, "beta", status_of(["127.0.0.3"], {"alpha": ["127.0.0.2"]}), listen="none"))
    await together(alpha, beta)
    shown = read_endpoint((await alpha.peer.get("/api/v1/status"))["endpoint"])
    assert (shown.scheme, shown.host, shown.pin is None) == ("https", "127.0.0.2", False)

    told = {str(shown._replace(host=host)) for host in ("127.0.0.2", "127.0.0.4", "own.mesh.example")}
    await beta.peer.until(f"/api/v1/sync/peers/{alpha.peer.peer_id}", lambda found: set(found["endpoints"]) == told)


async def test_what_a_site_in_a_mesh_advertises_comes_first_with_the_key_that_is_shown_there(tmp_path: Path) -> None:
    files = make_certificate(tmp_path / "tls")
    keys = {"tls_cert": str(files.certificate), "tls_key": str(files.key)}
    async with site(tmp_path, "alpha", status_of(["127.0.0.2"], {}), advertise=["https://alpha.example.org:7850"], **keys) as alpha:
        shown = read_endpoint((await alpha.peer.get("/api/v1/status"))["endpoint"])

        assert (shown.url, shown.pin is None) == ("https://alpha.example.org:7850", False)


async def test_two_sites_in_a_mesh_need_nothing_but_each_others_ids(tmp_path: Path, stack: AsyncExitStack) -> None:
    alpha = await stack.enter_async_context(site(tmp_path, "alpha", status_of(["127.0.0.2"], {})))
    finding = {"peer_port": read_endpoint(alpha.peer.listen).port}
    says = status_of(["127.0.0.3"], {"robot": ["127.0.0.2"]})
    beta = await stack.enter_async_context(site(tmp_path, "beta", says, listen="none", tailscale=finding))
    group = (await alpha.peer.post("/api/v1/sync/groups", {"name": "lab"}))["group_id"]

    for one, other in ((alpha, beta), (beta, alpha)):
        await one.peer.post("/api/v1/sync/peers", {"name": "other", "peer_id": other.peer.peer_id, "shared_groups": ["lab"]})

    found = await beta.peer.until("/api/v1/status", lambda found: [each["state"] for each in found["links"]] == ["up_to_date"] and found["groups"])
    assert [each["group_id"] for each in found["groups"]] == [group]
    assert found["links"][0]["address"] == alpha.peer.listen
