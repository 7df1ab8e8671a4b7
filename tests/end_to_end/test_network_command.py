"""`recmesh network status` of a real peer, whose configuration says where the daemon of its mesh is."""

import asyncio
import json
from pathlib import Path

from peer.core.mesh_policy import read_policy
from tests.end_to_end.processes import Site
from tests.fake_control import API_KEY, POLICY, SITE_KEY, FakeTailscale
from tests.fake_tailscaled import FakeDaemon


async def test_the_mesh_is_absent_then_running_then_stopped(tmp_path: Path) -> None:
    site = Site("lab", tmp_path / "lab")
    path = tmp_path / "tailscaled.sock"
    with (site.folder / "config.toml").open("a") as config:
        config.write(f'\n[tailscale]\nsocket = "{path}"\n')
    await asyncio.to_thread(site.start)
    try:
        said = await asyncio.to_thread(site.command, "network", "status")
        assert (said.stdout.split(), "[tailscale]" in said.stderr) == (["mesh", "absent"], True)
        daemon = FakeDaemon()
        async with daemon.on_socket(path):
            said = await asyncio.to_thread(site.command, "network", "status")
            assert said.stdout.splitlines()[0].split() == ["mesh", "running"]
            assert all(
                name in said.stdout
                for name in ("arm-lab.mesh.example", "depot.mesh.example", "direct", "relayed", "alice@example.org", "[mesh_relayed]")
            )
            daemon.status["BackendState"] = "Stopped"
            stopped = json.loads((await asyncio.to_thread(site.command, "network", "status", "--json")).stdout)
            assert (stopped["mesh"], stopped["problems"][0]["code"]) == ("stopped", "mesh_stopped")
    finally:
        await asyncio.to_thread(site.stop)


async def test_a_token_that_others_can_read_is_refused_at_the_start(tmp_path: Path) -> None:
    site = Site("lab", tmp_path / "lab")
    token = tmp_path / "token"
    token.write_text("secret-of-the-app\n")
    token.chmod(0o644)
    with (site.folder / "config.toml").open("a") as config:
        config.write(f'\n[tailscale]\nport = 9\ntoken_file = "{token}"\n')

    said = await asyncio.to_thread(site.command, "serve", status=2)

    assert "[mesh_credential]" in said.stderr
    assert "secret-of-the-app" not in said.stderr + said.stdout


async def test_a_plan_is_shown_written_once_and_never_over_what_somebody_else_wrote(tmp_path: Path) -> None:
    site, other = Site("lab", tmp_path / "lab"), Site("field", tmp_path / "field")
    daemon, server, path, key = FakeDaemon(), FakeTailscale(), tmp_path / "tailscaled.sock", tmp_path / "key"
    key.write_text(API_KEY + "\n")
    key.chmod(0o600)
    peer_id = (await asyncio.to_thread(other.command, "id")).stdout.strip()

    async def say(*words: str, status: int = 0) -> tuple[str, str]:
        done = await asyncio.to_thread(site.command, *words, status=status)
        assert API_KEY not in done.stdout + done.stderr
        return done.stdout, done.stderr

    async with daemon.on_socket(path), server.running():
        with (site.folder / "config.toml").open("a") as config:
            config.write(f'\n[tailscale]\nsocket = "{path}"\n\n[network]\nprovider = "tailscale"\nurl = "{server.url}"\ncredential_file = "{key}"\n')
        await asyncio.to_thread(site.start)
        try:
            await say("group", "create", "arms")
            await say("peer", "add", "--name", "field", "--endpoint", "https://100.64.0.2:9000", "--peer-id", peer_id, "--group", "arms")

            shown, hint = await say("network", "plan")
            assert all(
                word in shown
                for word in ("arm-lab.mesh.example", "a link leads there", "field.mesh.example", "it is said to be there", "+// recmesh begin")
            )
            assert "recmesh network apply" in hint
            assert server.policy == POLICY

            await say("network", "apply")
            grants = read_policy(server.policy)["grants"]
            addresses = ["100.64.0.1", "100.64.0.2", "fd7a:115c:a1e0::1", "fd7a:115c:a1e0::2"]
            assert {(each["ip"][0], tuple(each["dst"])) for each in grants} == {
                (f"tcp:{site.listen}", ("100.64.0.1", "fd7a:115c:a1e0::1")),
                ("tcp:9000", ("100.64.0.2", "fd7a:115c:a1e0::2")),
            }
            assert all(each["src"] == addresses for each in grants)
            assert (
                server.policy.replace(server.policy[server.policy.index("\n// recmesh begin") : server.policy.index("// recmesh end") + 15], "")
                == POLICY
            )

            written = server.calls.count("POST /api/v2/tailnet/-/acl")
            again = json.loads((await say("network", "apply", "--json"))[0])
            assert (again["changes"], again["written"], server.calls.count("POST /api/v2/tailnet/-/acl")) == (False, False, written)

            server.policy = POLICY
            server.between = lambda: setattr(server, "policy", POLICY + "// theirs\n")
            _, refused = await say("network", "apply", status=1)
            assert "[mesh_policy_changed]" in refused
            assert server.policy == POLICY + "// theirs\n"

            made, _ = await say("network", "key", "--tag", "tag:recmesh")
            assert made.strip() == SITE_KEY
            audit = (site.folder / "audit.log").read_text()
            assert "network" in audit
            assert not [secret for secret in (API_KEY, SITE_KEY) if secret in audit + (tmp_path / "lab.log").read_text()]
        finally:
            await asyncio.to_thread(site.stop)


async def test_without_a_coordination_server_there_is_nothing_to_plan(tmp_path: Path) -> None:
    site = Site("lab", tmp_path / "lab")
    await asyncio.to_thread(site.start)
    try:
        for words in (("plan",), ("apply",), ("key",)):
            said = await asyncio.to_thread(site.command, "network", *words, status=1)
            assert "[mesh_provider_missing]" in said.stderr
    finally:
        await asyncio.to_thread(site.stop)
