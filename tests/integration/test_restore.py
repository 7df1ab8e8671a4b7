"""An old copy of a data directory is put back: what was written since comes home from the others, and nothing forks."""

import shutil
from pathlib import Path

from peer.cli.sample import write_sample
from tests.integration.running_peer import running_peer

GROUPS = "/api/v1/sync/groups"
RECORDINGS = "/api/v1/recordings"


async def test_a_restored_site_learns_its_own_events_before_it_writes(tmp_path: Path) -> None:
    """The first write after the restore is answered when the forgotten recording is back, under its id."""
    beta_root, saved = tmp_path / "beta", tmp_path / "saved"
    for number, name in enumerate(("one", "two")):
        write_sample(tmp_path / f"{name}.mcap", 64 * 1024, number)
    async with running_peer(tmp_path / "alpha", "alpha") as alpha:
        await alpha.post(GROUPS, {"name": "lab"})
        invitation = (await alpha.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 60_000}))["invitation"]
        async with running_peer(beta_root, "beta") as beta:
            await beta.post(f"{GROUPS}/join", {"invitation": invitation})
        shutil.copytree(beta_root, saved)
        async with running_peer(beta_root, "beta") as beta:
            forgotten = (await beta.post(RECORDINGS, {"paths": [str(tmp_path / "one.mcap")]}))["id"]
            await alpha.until(f"{RECORDINGS}/one", lambda recording: recording["state"] == "local")
        shutil.rmtree(beta_root)
        shutil.copytree(saved, beta_root)
        async with running_peer(beta_root, "beta") as beta:
            await beta.post(RECORDINGS, {"paths": [str(tmp_path / "two.mcap")]})
            held = {each["id"] for each in (await beta.get(RECORDINGS))["recordings"]}
            await alpha.until(f"{RECORDINGS}/two", lambda recording: recording["state"] == "local")
            here, there = await alpha.get(f"{GROUPS}/lab"), await beta.get(f"{GROUPS}/lab")
            status = await alpha.get("/api/v1/status")

    assert forgotten in held
    assert here["state_digest"] == there["state_digest"]
    assert status["groups"][0]["forks"] == 0
