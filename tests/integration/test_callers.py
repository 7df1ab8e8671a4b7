"""Which machine of the mesh somebody calls from, and a rule about it: whole peers, with a daemon on a real socket that checks what tailscaled checks.

All of them are on loopback here, which the daemon takes for addresses of the mesh.
"""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from peer.api.status_models import Status
from peer.transport import callers
from peer.transport.opening import Upgrades
from resolver import mesh_watch, tailscale_local
from tests.fake_tailscaled import DIRECT, LOGGED_OUT, FakeDaemon
from tests.integration.running_peer import RunningPeer, running_peer

STATUS, GROUPS, PEERS = "/api/v1/status", "/api/v1/sync/groups", "/api/v1/sync/peers"
NETWORK = "/api/v1/network"
"""Whoever asks that lets the peer look at the mesh, too."""

CAPABILITY = "example.org/cap/recmesh"
DEADLINE_S = 30.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of the daemon's socket."""
    return tmp_path / "tailscaled.sock"


@pytest.fixture
async def daemon(path: Path) -> AsyncIterator[FakeDaemon]:
    """One to which every address of loopback is the machine `field`."""
    fake = FakeDaemon()
    tell_field(fake, TailscaleIPs=["127.0.0.1"])
    async with fake.on_socket(path):
        yield fake


def tell_field(daemon: FakeDaemon, **changes: object) -> None:
    """Let the daemon say that of `field` from now on."""
    daemon.status["Peer"][DIRECT["PublicKey"]] |= changes


def mesh(path: Path, **settings: object) -> dict[str, object]:
    """The section of the configuration."""
    return {"tailscale": {"socket": str(path), "poll_s": 0.05, **settings}}


@asynccontextmanager
async def pair(folder: Path, path: Path, *, listen: str = "none", **settings: object) -> AsyncIterator[tuple[RunningPeer, RunningPeer]]:
    """A peer in a mesh, with a rule, and one that knows of no mesh; both know each other as members. The first one dials where the other listens."""
    nowhere = mesh(folder / "nowhere")
    async with (
        running_peer(folder / "a", "alpha", **mesh(path, **settings)) as alpha,
        running_peer(folder / "b", "beta", listen=listen, **nowhere) as beta,
    ):
        await alpha.post(GROUPS, {"name": "lab"})
        at = beta.listen if beta.listen != "none" else "http://127.0.0.1:9"
        await alpha.post(PEERS, {"peer_id": beta.peer_id, "name": "beta", "sync_endpoint": at, "shared_groups": ["lab"]})
        known = {"peer_id": alpha.peer_id, "name": "alpha", "sync_endpoint": alpha.listen, "shared_groups": ["lab"]}
        await beta.post(PEERS, known)
        yield alpha, beta


def link_of(status: dict[str, Any], peer: RunningPeer) -> dict[str, Any]:
    """The link to `peer`."""
    return next((each for each in status["links"] if each["peer_id"] == peer.peer_id), {"route": None, "state": None, "last_error": None})


async def until_link(at: RunningPeer, other: RunningPeer, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The link at `at` to `other` once that holds for it."""
    status = await at.until(STATUS, lambda status: condition(link_of(status, other)))
    Status.model_validate(status)
    return link_of(status, other)


def audit(peer: RunningPeer) -> list[dict[str, Any]]:
    """Lines about links."""
    path = peer.root / "audit.log"
    found = [json.loads(each) for each in path.read_text().splitlines()] if path.is_file() else []
    return [each for each in found if "link" in each]


async def until_audited(peer: RunningPeer, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first line for which that holds."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            if (line := next(filter(condition, audit(peer)), None)) is not None:
                return line
            await asyncio.sleep(0.01)


def is_linked(link: dict[str, Any]) -> bool:
    """Whether both have said all that they had: who is cut off before that waits longer before it dials again."""
    return bool(link["state"] == "up_to_date")


def is_refused(link: dict[str, Any]) -> bool:
    """Whether the other side lets this one not in, by its rule."""
    return not is_linked(link) and link["last_error"] is not None and link["last_error"]["code"] == "mesh_caller_refused"


async def problems(peer: RunningPeer) -> list[str]:
    """Codes of what its operator should know."""
    return [each["code"] for each in (await peer.get(STATUS))["problems"]]


async def test_who_comes_in_is_shown_with_the_machine_that_it_comes_from(daemon: FakeDaemon, path: Path, tmp_path: Path) -> None:
    async with pair(tmp_path, path) as (alpha, beta):
        link = await until_link(alpha, beta, lambda link: is_linked(link) and link["node"] is not None)
        assert (link["route"], link["dialled_by_us"]) == ("tailnet", False)
        assert link["node"] == {"node_id": "n2", "name": "field.mesh.example", "user": "tagged-devices", "tags": ["tag:recmesh"]}
        line = await until_audited(alpha, lambda line: line["link"] == "in")
        assert (line["peer_id"], line["name"], line["node"], line["node_id"]) == (beta.peer_id, "beta", "field.mesh.example", "n2")
        assert (line["user"], line["tags"], line["code"]) == ("tagged-devices", ["tag:recmesh"], None)
        assert line["remote"].startswith("127.0.0.1:")
        assert line["remote"] in daemon.whois_asked

        elsewhere = await until_link(beta, alpha, is_linked)
        assert (elsewhere["route"], elsewhere["node"]) == ("direct", None)
        network = await alpha.get(NETWORK)
        assert [each["peer_name"] for each in network["peers"] if each["node_id"] == "n2"] == ["beta"]

        command = (sys.executable, "-m", "peer.cli", "--data", str(alpha.root), "status")
        shown = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL)
        output, _ = await asyncio.wait_for(shown.communicate(), 2 * DEADLINE_S)
        (row,) = (each for each in output.decode().splitlines() if each.startswith("beta "))
        assert "from field.mesh.example" in row


async def test_a_machine_without_the_tag_is_let_in_when_it_has_it_and_out_when_it_has_not(daemon: FakeDaemon, path: Path, tmp_path: Path) -> None:
    tell_field(daemon, Tags=["tag:other"])
    async with pair(tmp_path, path, only_tags=["tag:recmesh", "tag:robot"]) as (alpha, beta):
        refused = await until_link(beta, alpha, is_refused)
        assert refused["state"] == "refused"
        line = await until_audited(alpha, lambda line: line["link"] == "refused")
        assert (line["peer_id"], line["code"], line["node"], line["tags"]) == (None, "mesh_caller_refused", "field.mesh.example", ["tag:other"])
        assert not [each for each in audit(alpha) if each["link"] == "in"], "it never got as far as to show a key"

        tell_field(daemon, Tags=["tag:robot"])
        await alpha.get(NETWORK)
        await beta.post(f"{PEERS}/{alpha.peer_id}/test")
        await until_link(alpha, beta, is_linked)
        await until_link(beta, alpha, is_linked)

        tell_field(daemon, Tags=["tag:other"])
        await until_link(beta, alpha, is_refused)
        line = await until_audited(alpha, lambda line: line["link"] == "refused" and line["peer_id"] == beta.peer_id)
        assert (line["code"], line["tags"]) == ("mesh_caller_refused", ["tag:other"])
        assert await problems(alpha) == []


async def test_a_machine_that_may_not_call_is_not_dialled_either(daemon: FakeDaemon, path: Path, tmp_path: Path) -> None:
    """Else whoever lost a tag would be linked all the same, from here."""
    tell_field(daemon, Tags=["tag:other"])
    async with pair(tmp_path, path, listen="127.0.0.1:0", only_tags=["tag:recmesh"]) as (alpha, beta):
        refused = await until_link(alpha, beta, is_refused)
        assert "field.mesh.example has none of the tags tag:recmesh" in refused["last_error"]["text"]
        tell_field(daemon, Tags=["tag:recmesh"])
        await alpha.get(NETWORK)
        await alpha.post(f"{PEERS}/{beta.peer_id}/test")
        link = await until_link(alpha, beta, lambda link: is_linked(link) and link["node"] is not None)
        assert (link["route"], link["node"]["node_id"]) == ("tailnet", "n2")
        await until_link(beta, alpha, is_linked)
        tell_field(daemon, Tags=["tag:other"])
        await until_link(alpha, beta, lambda link: not is_linked(link))


async def test_a_machine_needs_the_capability_that_is_named(daemon: FakeDaemon, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a policy gives shows in no status: it is looked again now and then."""
    monkeypatch.setattr(callers, "LOOK_AGAIN_S", 0.05)
    monkeypatch.setattr(mesh_watch, "CALLER_FRESH_S", 0.0)
    daemon.capabilities["n2"] = {CAPABILITY: [{"role": "peer"}], "other.example/cap": None}
    async with pair(tmp_path, path, only_tags=["tag:recmesh"], only_capability=CAPABILITY) as (alpha, beta):
        await until_link(alpha, beta, is_linked)
        await until_link(beta, alpha, is_linked)
        daemon.capabilities["n2"] = {"other.example/cap": None}
        await until_link(beta, alpha, is_refused)


async def test_a_polled_link_is_none_any_more_when_its_machine_may_not_call(
    daemon: FakeDaemon, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, whatever request is being held."""
    monkeypatch.setattr(Upgrades, "are_refused", lambda *_: True)
    async with pair(tmp_path, path, only_tags=["tag:recmesh"]) as (alpha, beta):
        link = await until_link(alpha, beta, lambda link: is_linked(link) and link["node"] is not None)
        assert (link["carrier"], link["route"], link["node"]["node_id"]) == ("poll", "tailnet", "n2")
        await until_link(beta, alpha, is_linked)
        tell_field(daemon, Tags=["tag:other"])
        await until_link(alpha, beta, lambda link: link["route"] is None or link["route"] == "none")
        await until_link(beta, alpha, is_refused)


async def test_a_connection_that_was_let_in_is_judged_anew_when_the_mesh_changes_and_not_each_time(
    daemon: FakeDaemon, path: Path, tmp_path: Path
) -> None:
    async with (
        running_peer(tmp_path / "a", "alpha", **mesh(path, only_tags=["tag:recmesh"])) as alpha,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as one,
    ):
        await alpha.get(NETWORK)
        answers = []
        for _ in range(3):
            async with one.get(alpha.listen + "/sync/v1/nothing") as answer:
                answers.append(answer.status)
        tell_field(daemon, Tags=[])
        await alpha.get(NETWORK)
        async with one.get(alpha.listen + "/sync/v1/nothing") as answer:
            answers.append(answer.status)

    assert answers == [404, 404, 404, 403]
    assert (len(daemon.whois_asked), len(set(daemon.whois_asked))) == (2, 1), "one connection, asked about twice"


async def test_what_a_rule_says_holds_under_tls(daemon: FakeDaemon, path: Path, tmp_path: Path) -> None:
    """Nothing but the handshake of TLS is said to whoever may not call."""
    tell_field(daemon, Tags=["tag:other"])
    settings = mesh(path, only_tags=["tag:recmesh"])
    async with running_peer(tmp_path / "a", "alpha", listen="0.0.0.0:0", **settings) as alpha, aiohttp.ClientSession() as stranger:
        assert alpha.listen.startswith("https:")
        port = alpha.listen.rpartition(":")[2]
        async with stranger.get(f"https://127.0.0.1:{port}/sync/v1/link", ssl=False) as answer:
            assert (answer.status, answer.headers["Recmesh-Code"]) == (403, "mesh_caller_refused")


async def test_whoever_comes_from_outside_the_mesh_is_refused_under_a_rule(daemon: FakeDaemon, path: Path, tmp_path: Path) -> None:
    tell_field(daemon, TailscaleIPs=["100.64.0.2"])
    async with running_peer(tmp_path / "a", "alpha", **mesh(path, only_tags=["tag:recmesh"])) as alpha, aiohttp.ClientSession() as stranger:
        for route in ("/sync/v1/link", "/sync/v1/poll", f"/sync/v1/groups/{'ab' * 32}/blobs/{'cd' * 32}", "/sync/v1/nothing"):
            async with stranger.get(alpha.listen + route) as answer:
                assert (answer.status, answer.headers["Recmesh-Code"]) == (403, "mesh_caller_refused")
        assert {line["why"] for line in audit(alpha)} == {"it is no machine of the mesh"}
        daemon.proxied |= {f"127.0.0.1:{port}": "n2" for port in range(1, 65536)}  # As one does that has no device of its own.
        async with aiohttp.ClientSession() as another, another.get(alpha.listen + "/sync/v1/nothing") as answer:
            assert answer.status == 404


async def test_while_the_daemon_cannot_be_asked_nobody_new_comes_in_and_who_is_in_stays(daemon: FakeDaemon, path: Path, tmp_path: Path) -> None:
    async with pair(tmp_path, path, only_tags=["tag:recmesh"]) as (alpha, beta):
        await until_link(alpha, beta, is_linked)
        assert await problems(alpha) == []

        daemon.status = LOGGED_OUT
        await alpha.until(STATUS, lambda status: "mesh_caller_undecided" in [each["code"] for each in status["problems"]])
        async with aiohttp.ClientSession() as stranger, stranger.get(alpha.listen + "/sync/v1/link") as answer:
            assert (answer.status, answer.headers["Recmesh-Code"], answer.headers["Retry-After"]) == (503, "mesh_caller_undecided", "15")
        assert is_linked(link_of(await alpha.get(STATUS), beta))
        assert {line["code"] for line in audit(alpha) if line["link"] == "refused"} == {"mesh_caller_undecided"}


async def test_a_daemon_that_does_not_answer_holds_up_callers_for_a_while_and_no_longer(
    daemon: FakeDaemon, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tailscale_local, "CALL_TIMEOUT_S", 0.3)
    monkeypatch.setattr(mesh_watch, "ASKING_MAX", 2)
    async with running_peer(tmp_path / "a", "alpha", **mesh(path, only_tags=["tag:recmesh"])) as alpha, aiohttp.ClientSession() as stranger:
        await alpha.get(NETWORK)
        daemon.silent = True

        async def call() -> tuple[int, str]:
            async with stranger.get(alpha.listen + "/sync/v1/link") as answer:
                return answer.status, answer.headers["Recmesh-Code"]

        async with asyncio.timeout(DEADLINE_S):
            answers = await asyncio.gather(*(call() for _ in range(40)))
        assert set(answers) == {(503, "mesh_caller_undecided")}
        assert len(daemon.whois_asked) < len(answers), "once it is known that it does not answer it is not asked for each"


async def test_without_a_daemon_a_rule_lets_nobody_in_and_says_so(tmp_path: Path) -> None:
    async with pair(tmp_path, tmp_path / "none.sock", only_tags=["tag:recmesh"]) as (alpha, beta):
        link = await until_link(beta, alpha, lambda link: link["last_error"] is not None)
        assert (link["last_error"]["code"], await problems(alpha)) == ("mesh_caller_undecided", ["mesh_caller_undecided"])


@pytest.mark.usefixtures("daemon")
async def test_a_machine_that_may_call_still_has_to_prove_its_key(path: Path, tmp_path: Path) -> None:
    """The mesh's word is on top of that, and never instead of it."""
    nowhere = mesh(tmp_path / "nowhere")
    rule = mesh(path, only_tags=["tag:recmesh"])
    async with running_peer(tmp_path / "a", "alpha", **rule) as alpha, running_peer(tmp_path / "b", "beta", **nowhere) as beta:
        await alpha.post(GROUPS, {"name": "lab"})
        known = {"peer_id": alpha.peer_id, "name": "alpha", "sync_endpoint": alpha.listen, "shared_groups": ["lab"]}
        await beta.post(PEERS, known)
        line = await until_audited(alpha, lambda line: line["code"] == "not_a_member")
        assert (line["link"], line["peer_id"], line["node_id"]) == ("refused", beta.peer_id, None)
        assert [each["peer_id"] for each in (await alpha.get(STATUS))["pending_peers"]] == [beta.peer_id]


async def test_who_calls_without_end_fills_no_file(daemon: FakeDaemon, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "LINES_PER_MINUTE", 0)
    tell_field(daemon, Tags=[])
    async with running_peer(tmp_path / "a", "alpha", **mesh(path, only_tags=["tag:recmesh"])) as alpha, aiohttp.ClientSession() as stranger:
        for _ in range(callers.LINES_BURST + 5):
            async with stranger.get(alpha.listen + "/sync/v1/link") as answer:
                assert answer.status == 403
        assert len(audit(alpha)) == callers.LINES_BURST
