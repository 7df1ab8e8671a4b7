"""A site that nobody can dial: what is recorded there reaches the others all the same, over the link that it dialled."""

from pathlib import Path

from peer.cli.sample import write_sample
from tests.integration.running_peer import running_peer

GROUPS = "/api/v1/sync/groups"
RECORDINGS = "/api/v1/recordings"
SIZE = 3 * 1024 * 1024
"""Three pieces, and a dozen parts."""


async def test_bytes_of_a_site_that_nobody_can_dial_reach_the_others(tmp_path: Path) -> None:
    bag = tmp_path / "hidden.mcap"
    write_sample(bag, SIZE, 1)
    async with running_peer(tmp_path / "office", "office") as office, running_peer(tmp_path / "field", "field", listen="none") as field:
        await office.post(GROUPS, {"name": "lab"})
        invitation = (await office.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 60_000}))["invitation"]
        await field.post(f"{GROUPS}/join", {"invitation": invitation})
        added = await field.post(RECORDINGS, {"paths": [str(bag)]})
        arrived = await office.until(f"{RECORDINGS}/hidden", lambda recording: recording["state"] == "local")

        async with office.http.get(f"{office.url}{RECORDINGS}/hidden/chunks/0") as answer:
            data = await answer.read()

    assert arrived["manifest_id"] == added["manifest_id"]
    assert data == bag.read_bytes()
