"""`network apply` against coordination servers over real HTTP: what is not ours in a policy comes back byte for byte, whatever it is."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from peer.api.network_models import NetworkPlan
from peer.core.identity import KeyPair
from peer.core.mesh_policy import BEGIN, END, read_policy
from tests.fake_control import API_KEY, HEADSCALE_KEY, FakeHeadscale, FakeServer, FakeTailscale
from tests.fake_tailscaled import FakeDaemon
from tests.integration.running_peer import RunningPeer, running_peer

FIELD = KeyPair(b"f" * 32).peer_id.hex()
POLICIES = {
    "plain": '{"acls": []}',
    "no line break at the end": '{\n\t"acls": [],\n\t"grants": [{"src": ["*"], "dst": ["tag:web"], "ip": ["tcp:443"]}]}',
    "line breaks of another system": '{\r\n  // Who may talk to whom.\r\n  "grants": [\r\n  ],\r\n}\r\n',
    "comments and words of all kinds": '/* Gr\u00fc\u00dfe \U0001f916 */\n{ // "grants": [\n"hosts": {"\\u00e9": "1.2.3.4",}, "tests": [],}',
    "large": '{"acls": [\n'
    + "\n".join(f'  {{"action": "accept", "src": ["tag:a{n}"], "dst": ["*:{n}"]}}, // {n}' for n in range(1, 4000))
    + "\n]}\n",
}


class Setting:
    """A peer in a group with `field`, both with machines in the mesh, and the coordination server."""

    def __init__(self, server: FakeServer, peer: RunningPeer, group: str) -> None:
        self.server, self.peer, self.group = server, peer, group

    async def apply(self) -> dict[str, Any]:
        """What it says of a policy that it wrote, or did not."""
        found: dict[str, Any] = await self.peer.post("/api/v1/network/apply", model=NetworkPlan)
        return found

    def writes(self) -> int:
        """How often a policy was written."""
        return sum(call.endswith(("POST /api/v2/tailnet/-/acl", "PUT /api/v1/policy")) for call in self.server.calls)


@pytest.fixture(params=["tailscale", "headscale 0.29", "headscale 0.30"])
async def setting(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Setting]:
    """One for each kind of server."""
    provider, _, version = request.param.partition(" ")
    server, daemon, key = FakeHeadscale(version) if version else FakeTailscale(), FakeDaemon(), tmp_path / "key"
    key.write_text(HEADSCALE_KEY if version else API_KEY)
    key.chmod(0o600)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(server.running())
        await stack.enter_async_context(daemon.on_socket(tmp_path / "tailscaled.sock"))
        settings = {
            "tailscale": {"socket": str(tmp_path / "tailscaled.sock")},
            "network": {"provider": provider, "url": server.url, "credential_file": str(key)},
        }
        peer = await stack.enter_async_context(running_peer(tmp_path / "lab", "lab", **settings))
        group = (await peer.post("/api/v1/sync/groups", {"name": "arms"}))["group_id"]
        entry = {"name": "field", "peer_id": FIELD, "sync_endpoint": "https://100.64.0.2:9000", "shared_groups": [group]}
        await peer.post("/api/v1/sync/peers", entry)
        yield Setting(server, peer, group)
        assert not getattr(server, "faults", [])


def without_ours(policy: str) -> str:
    """The policy with our part taken out by hand, and what it says."""
    before, _, rest = policy.partition("\n" + BEGIN)
    inside, _, after = rest.partition(END + "\n")
    assert "tcp:9000" in inside
    return before + after


async def test_what_is_not_ours_comes_back_byte_for_byte_and_twice_is_once(setting: Setting) -> None:
    """With two members in the group, then again, then with one."""
    for name, text in POLICIES.items():
        setting.server.policy = text
        first = await setting.apply()
        assert (first["written"], first["changes"], len(first["grants"])) == (True, True, 2), name
        assert without_ours(setting.server.policy) == text, name
        assert read_policy(setting.server.policy)["grants"][:2] == first["grants"], name
        applied, writes = setting.server.policy, setting.writes()

        again = await setting.apply()
        assert (again["written"], again["changes"], again["diff"]) == (False, False, []), name
        assert (setting.server.policy, setting.writes()) == (applied, writes), name

    await setting.peer.call("DELETE", f"/api/v1/sync/groups/{setting.group}/members/{FIELD}")
    last = await setting.apply()
    assert (last["written"], last["grants"]) == (True, [])
    assert setting.server.policy == text


async def test_who_changes_the_policy_meanwhile_is_told_of_and_not_overwritten(setting: Setting) -> None:
    """Each time, and as soon as nobody does any more, it is written."""
    text, theirs = POLICIES["plain"], iter(range(100))
    setting.server.policy = text

    def change() -> None:
        setting.server.policy = f"{text}// theirs, {next(theirs)}\n"
        if hasattr(setting.server, "updates"):
            setting.server.updates += 1

    setting.server.between = change
    for _ in range(3):
        refused = await setting.peer.call("POST", "/api/v1/network/apply", status=409, json={})
        assert refused["code"] == "mesh_policy_changed"
        assert setting.server.policy.startswith(f"{text}// theirs, ")
    assert setting.writes() == (3 if isinstance(setting.server, FakeTailscale) else 0)  # Tailscale itself says no.

    setting.server.between = None
    told = setting.server.policy
    assert (await setting.apply())["written"]
    assert without_ours(setting.server.policy) == told


async def test_our_part_that_somebody_changed_is_told_of_and_left(setting: Setting) -> None:
    setting.server.policy = POLICIES["plain"]
    await setting.apply()
    setting.server.policy = touched = setting.server.policy.replace(END, "// a word of theirs\n" + END)
    if hasattr(setting.server, "updates"):
        setting.server.updates += 1

    refused = await setting.peer.call("POST", "/api/v1/network/apply", status=409, json={})

    assert (refused["code"], setting.server.policy) == ("mesh_policy_text", touched)
