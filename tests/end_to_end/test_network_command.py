"""`recmesh network status` of a real peer, whose configuration says where the daemon of its mesh is."""

import asyncio
import json
from pathlib import Path

from tests.end_to_end.processes import Site
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
