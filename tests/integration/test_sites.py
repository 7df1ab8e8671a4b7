"""How sites are that have no link to this one: told by the sites between, and gone when nobody tells any more."""

from pathlib import Path

from peer.api.status_models import Status
from tests.integration.running_peer import running_peer
from tests.integration.test_members import LAB, add, enter

NO_GOSSIP = {"enabled": False}


async def test_a_site_that_is_no_direct_link_is_shown_with_the_way_to_it(tmp_path: Path) -> None:
    async with (
        running_peer(tmp_path / "a", "a", gossip=NO_GOSSIP) as a,
        running_peer(tmp_path / "b", "b", gossip=NO_GOSSIP) as b,
        running_peer(tmp_path / "c", "c", gossip=NO_GOSSIP) as c,
    ):
        await a.post("/api/v1/sync/groups", {"name": "lab"})
        await enter(a, b, "admin")
        await b.until(LAB, lambda group: group["role"] == "admin")
        await enter(b, c, "writer")
        await add(c, tmp_path, "mine")

        def is_equal(status: object) -> bool:
            links = {link["name"]: link for link in status["links"]}  # type: ignore[index]
            return "c" in links and links["c"]["state"] == "up_to_date"

        await a.until("/api/v1/status", is_equal)
        status = await a.get("/api/v1/status", Status)

        (far,) = [link for link in status["links"] if link["name"] == "c"]
        assert (far["peer_id"], far["route"], far["via"], far["hops"]) == (c.peer_id, "relayed", b.peer_id, 2)
        (near,) = [link for link in status["links"] if link["name"] == "b"]
        assert near["route"] == "direct"
        (site,) = [site for site in status["sites"] if site["name"] == "c"]
        assert (site["version"], site["group"], site["via_name"], site["up_to_date"]) == (status["version"], "lab", "b", True)
        assert 0 < site["disk_free_bytes"] <= site["disk_total_bytes"]
