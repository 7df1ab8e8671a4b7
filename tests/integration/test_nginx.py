"""A peer behind somebody else's proxy, set up as `configs/nginx.conf` says."""

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peer.api.models import Group, RecordingDetails
from peer.cli.sample import write_sample
from peer.core.group import read_invitation
from tests.end_to_end.processes import free_port
from tests.integration.running_peer import running_peer
from tests.tls_proxy import OperatorFiles, make_certificate

pytestmark = pytest.mark.needs("nginx")
CONFIG = Path(__file__).parents[2] / "configs" / "nginx.conf"
GROUPS = "/api/v1/sync/groups"
OURS = (
    "proxy_http_version",
    "proxy_set_header Upgrade",
    "proxy_set_header Connection",
    "proxy_buffering",
    "proxy_request",
    "proxy_read",
    "client_max",
)
DEADLINE_S = 20.0


@contextlib.asynccontextmanager
async def nginx(folder: Path, files: OperatorFiles, port: int, listener: str, *, text: str) -> AsyncIterator[None]:
    """One with this configuration, with the addresses of this test, and a header that claims that everybody comes from loopback."""
    for old, new in (
        ("listen 7443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("field.example.org.crt", str(files.certificate)),
        ("field.example.org.key", str(files.key)),
        ("http://127.0.0.1:7850", listener),
        ("proxy_set_header Host", "proxy_set_header X-Forwarded-For 127.0.0.1; proxy_set_header Host"),
        ("http {", f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;"),
    ):
        assert old in text.split("events", maxsplit=1)[1]
        text = text.replace(old, new)
    config = folder / "nginx.conf"
    config.write_text(f"pid {folder}/nginx.pid;\nerror_log stderr;\nuser root;\n{text}")
    program = shutil.which("nginx") or "nginx"
    process = await asyncio.create_subprocess_exec(program, "-p", folder, "-c", config, "-g", "daemon off;", stderr=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not await answers(port):
                assert process.returncode is None, await process.stderr.read()  # type: ignore[union-attr]
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


async def answers(port: int) -> bool:
    """Whether somebody listens."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        await asyncio.sleep(0.01)
        return False
    writer.close()
    return True


async def test_a_peer_behind_nginx_is_joined_synced_with_and_asked_for_bytes(tmp_path: Path) -> None:
    """Links, pushes and bytes pass through it, both ways; the pin of its key is all that the other site was told."""
    await passes_through(tmp_path, CONFIG.read_text(), "websocket")


async def test_nginx_as_it_comes_lets_a_link_pass_as_requests(tmp_path: Path) -> None:
    """Without the lines for WebSockets, with bodies of 1 MB at most, and with all that is buffered."""
    lines = [line for line in CONFIG.read_text().splitlines() if not line.strip().startswith(OURS)]
    await passes_through(tmp_path, "\n".join(lines), "poll")


async def passes_through(tmp_path: Path, text: str, carrier: str) -> None:
    """A site that only dials out joins a peer behind nginx with this configuration, and recordings go both ways."""
    if shutil.which("nginx") is None:
        assert os.environ.get("CI") != "true", "the build machine has to have the package nginx-light"
        pytest.skip("there is no nginx here: install the package nginx-light")
    files = make_certificate(tmp_path / "tls")
    port = free_port()
    for name in ("first", "second"):
        write_sample(tmp_path / f"{name}.mcap", 2 * 1024 * 1024, 1)
    folder = tmp_path / "nginx"
    folder.mkdir()
    settings = {"channel_keys": [files.spki.hex()], "advertise": [f"https://127.0.0.1:{port}"]}
    async with (
        running_peer(tmp_path / "alpha", "alpha", **settings) as alpha,
        running_peer(tmp_path / "beta", "beta", listen="none") as beta,
        nginx(folder, files, port, alpha.listen, text=text),
    ):
        await alpha.post(GROUPS, {"name": "lab"})
        await alpha.post("/api/v1/recordings", {"paths": [str(tmp_path / "first.mcap")]}, RecordingDetails)
        made = await alpha.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 60_000})
        assert read_invitation(made["invitation"]).endpoint == f"https://127.0.0.1:{port}#spki={files.spki.hex()}"
        await beta.post(f"{GROUPS}/join", {"invitation": made["invitation"]}, Group)
        await beta.until("/api/v1/recordings/first", lambda recording: recording["state"] == "local")
        await beta.post("/api/v1/recordings", {"paths": [str(tmp_path / "second.mcap")]}, RecordingDetails)
        await alpha.until("/api/v1/recordings/second", lambda recording: recording["state"] == "local")
        assert [link["carrier"] for link in (await beta.get("/api/v1/status"))["links"]] == [carrier]
