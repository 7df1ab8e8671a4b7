"""A site that nobody can dial: what is recorded there reaches the others all the same, over the link that it dialled."""

from pathlib import Path

from peer.cli.sample import write_sample
from peer.core.group import read_invitation
from tests.integration.running_peer import running_peer

GROUPS = "/api/v1/sync/groups"
RECORDINGS = "/api/v1/recordings"
PEERS = "/api/v1/sync/peers"
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


async def test_an_admin_that_nobody_can_dial_invites_through_a_member_that_can_be_dialled(tmp_path: Path) -> None:
    """The invitation names that member; the request goes on to the admin over the link that the admin dialled."""
    async with (
        running_peer(tmp_path / "office", "office") as office,
        running_peer(tmp_path / "field", "field", listen="none") as field,
        running_peer(tmp_path / "guest", "guest") as guest,
    ):
        await field.post(GROUPS, {"name": "lab"})
        refused = await field.post(f"{GROUPS}/lab/invitations", {}, status=400)
        assert "set `advertise`" in refused["fix"]
        await field.post(PEERS, {"name": "office", "peer_id": office.peer_id, "sync_endpoint": office.listen, "shared_groups": ["lab"]})
        await office.post(PEERS, {"name": "field", "peer_id": field.peer_id, "shared_groups": ["lab"]})
        await office.until(GROUPS, lambda groups: any(each["name"] == "lab" for each in groups))
        await office.until(f"{GROUPS}/lab", lambda group: group["role"] == "writer")

        made = await field.post(f"{GROUPS}/lab/invitations", {"role": "reader"})
        joined = await guest.post(f"{GROUPS}/join", {"invitation": made["invitation"]})

    assert read_invitation(str(made["invitation"])).member.hex() == office.peer_id
    assert (joined["role"], len(joined["members"])) == ("reader", 3)


async def test_a_site_that_nobody_can_dial_keeps_links_to_two_relays_and_either_is_enough(tmp_path: Path) -> None:
    """And it leaves the group over whichever is left."""
    bag = tmp_path / "late.mcap"
    write_sample(bag, SIZE, 1)
    async with running_peer(tmp_path / "office", "office") as office, running_peer(tmp_path / "field", "field", listen="none") as field:
        async with running_peer(tmp_path / "annex", "annex") as annex:
            await office.post(GROUPS, {"name": "lab"})
            for joiner in (annex, field):
                made = await office.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 60_000})
                await joiner.post(f"{GROUPS}/join", {"invitation": made["invitation"]})
            await field.post(PEERS, {"name": "annex", "peer_id": annex.peer_id, "sync_endpoint": annex.listen, "shared_groups": ["lab"]})
            await field.until("/api/v1/status", lambda status: [_good(link) for link in status["links"]] == [True, True])
        await field.until("/api/v1/status", lambda status: sorted(_good(link) for link in status["links"]) == [False, True])
        await field.post(RECORDINGS, {"paths": [str(bag)]})
        await office.until(f"{RECORDINGS}/late", lambda recording: recording["state"] == "local")
        async with field.http.delete(f"{field.url}{GROUPS}/lab") as answer:
            assert answer.status == 200, await answer.text()
        await office.until(f"{GROUPS}/lab", lambda group: len(group["members"]) == 2)


def _good(link: dict[str, object]) -> bool:
    return link["state"] == "up_to_date" and link["dialled_by_us"] is True
