"""A whole peer calls a site unreachable that it has not heard of for `peer_timeout`, where people and programs look."""

import asyncio
import sys
from pathlib import Path

from tests.integration.running_peer import running_peer
from tests.samples import key_pair


async def test_status_says_who_was_not_heard_of_for_long(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "a", "a", peer_timeout=0.2) as site:
        await site.post("/api/v1/sync/groups", {"name": "lab"})
        gone = {"peer_id": key_pair("gone").peer_id.hex(), "name": "gone", "sync_endpoint": "http://127.0.0.1:9", "shared_groups": ["lab"]}
        await site.post("/api/v1/sync/peers", gone)
        status = await site.until("/api/v1/status", lambda status: any(link["unreachable_since_ms"] for link in status["links"]))
        assert status["links"][0]["state"] in {"offline", "connecting"}, "it is dialled all the same"
        shown = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "peer.cli", "--data", str(site.root), "status"), stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
        )
        output, _ = await asyncio.wait_for(shown.communicate(), 60)
        assert shown.returncode == 0
        line = next(line for line in output.decode().splitlines() if line.startswith("gone"))
        assert "unreachable" in line
