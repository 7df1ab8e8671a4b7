"""A mesh that finds itself: real processes that were introduced to one other, or to a hub, and end up with links to everybody."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from peer.cli.sample import write_sample
from tests.end_to_end.processes import Site, agree, found, join, wait_until

ROUND_S = 20
"""Between two exchanges: three of them are longer than anything that is waited for here, so nothing depends on a fourth."""

ROUNDS = 3
SHORT_ROUND_S = 2

Mesh = Callable[..., list[Site]]


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[Mesh]:
    """Makes running sites; ends them."""
    sites: list[Site] = []

    def make(*names: str, **settings: object) -> list[Site]:
        environment = {f"RECMESH_{key.upper()}": str(value) for key, value in settings.items()}
        made = [Site(name, tmp_path / name) for name in names]
        for site in made:
            sites.append(site)
            site.start(environment)
        return made

    yield make
    for site in sites:
        if site.is_running:
            site.kill()


def introduce(one: Site, other: Site, group: str = "lab", *, addresses: bool = True) -> None:
    """Both operators add the id of the other, and the address if there is no hub to tell it. `one` is in the group already."""
    for site, whom in ((one, other), (other, one)):
        endpoint = ["--endpoint", f"http://127.0.0.1:{whom.listen}"] if addresses else []
        peer_id = whom.command("id").stdout.strip()
        site.command("peer", "add", "--name", whom.name, "--peer-id", peer_id, "--group", group, "--role", "admin", *endpoint)
    wait_until(lambda: any(each["name"] == group for each in other.status()["groups"]), f"{other.name} has the group {group}")


def links(site: Site) -> dict[str, dict[str, Any]]:
    """Links of its own, by name."""
    return {link["name"]: link for link in site.status()["links"] if link["route"] == "direct"}


def states(site: Site) -> dict[str, str]:
    """How its two sources of addresses fare. A hub is asked now and then."""
    return {each["source"]: each["state"] for each in site.status()["sources"] if each["source"] in {"hub", "manual"}}


def told_of_by(site: Site, name: str) -> object:
    """The source of a link of its own; none while it is changing links."""
    return links(site).get(name, {}).get("source")


def is_full(sites: Sequence[Site]) -> bool:
    """Everybody has a link to everybody, and has been told of all who dialled."""
    found = [(site, links(site)) for site in sites]
    told = all(link["source"] != "inbound" for _, each in found for link in each.values())
    return told and all(set(each) == {other.name for other in sites} - {site.name} for site, each in found)


def record(site: Site, folder: Path, name: str) -> None:
    write_sample(folder / f"{name}.mcap", 4096, sum(name.encode()))
    site.ask("POST", "recordings", json={"paths": [str(folder / f"{name}.mcap")], "name": name})


def told_by(site: Site, sites: Sequence[Site]) -> dict[str, tuple[str, str | None, int | None]]:
    """For each other site: the source, who told of it, and its TTL."""
    names = {each.command("id").stdout.strip(): each.name for each in sites}
    return {name: (link["source"], names.get(link["learned_from"] or ""), link["ttl"]) for name, link in links(site).items()}


def test_three_introductions_make_a_full_mesh_of_four(mesh: Mesh, tmp_path: Path) -> None:
    """A-B, B-C, C-D: within three exchanges everybody has a link to everybody, and says from whom it knows of whom."""
    sites = mesh("a", "b", "c", "d", gossip__exchange_interval=ROUND_S)
    a, b, c, d = sites
    found(a)
    for one, other in ((a, b), (b, c), (c, d)):
        introduce(one, other)

    wait_until(lambda: is_full(sites), "four sites have links to each other", timeout_s=ROUNDS * ROUND_S)

    for site in sites:
        told = told_by(site, sites)
        print(site.name, told)  # noqa: T201  (shown where the test fails, and with -s)
        introduced = {"a": "b", "b": "ac", "c": "bd", "d": "c"}[site.name]
        for other, (source, informant, ttl) in told.items():
            if other in introduced:
                assert (source, informant, ttl) == ("manual", None, 2)
            else:
                assert source == "gossip"
                assert informant in {each.name for each in sites} - {site.name}
                assert ttl in {0, 1}
    _, informant, ttl = told_by(a, sites)["c"]  # Asked once: who told last may change between two looks.
    assert (informant, ttl) == ("b", 1) or informant in {"c", "d"}
    for site in sites:
        record(site, tmp_path, f"of-{site.name}")
    wait_until(lambda: agree(sites, 4), "all recordings are everywhere")


def test_with_a_ttl_of_one_an_address_goes_one_step_and_no_further(mesh: Mesh) -> None:
    sites = mesh("a", "b", "c", "d", gossip__exchange_interval=SHORT_ROUND_S, gossip__default_ttl=1)
    a, b, c, d = sites
    found(a)
    for one, other in ((a, b), (b, c), (c, d)):
        introduce(one, other)

    wait_until(lambda: set(links(a)) == {"b", "c"} and set(links(d)) == {"b", "c"}, "the ends know their second neighbours")
    told = [_exchanges(site) for site in sites]
    wait_until(lambda: all(_exchanges(site) >= before + ROUNDS for site, before in zip(sites, told, strict=True)), "three more exchanges")

    assert set(links(a)) == {"b", "c"}
    assert set(links(d)) == {"b", "c"}
    for end, other in ((a, d), (d, a)):
        (shown,) = [each for each in end.ask("GET", "sync/peers") if each["name"] == other.name]
        assert (shown["source"], shown["endpoints"]) == ("roster", [])


def _exchanges(site: Site) -> int:
    """How many exchanges it has had with others."""
    return int(site.status()["gossip"]["exchanges"])


def test_two_groups_on_the_same_peers_leak_nothing_of_each_other(mesh: Mesh) -> None:
    """The hub of both is in two groups; who is in one of them never hears of who is in the other, not even in a file."""
    sites = mesh("middle", "red", "also-red", "blue", "also-blue", gossip__exchange_interval=SHORT_ROUND_S)
    middle, red, also_red, blue, also_blue = sites
    for group, members in (("red", (red, also_red)), ("blue", (blue, also_blue))):
        found(middle, group)
        for member in members:
            join(middle, member, name=group)

    wait_until(lambda: "also-red" in links(red) and "also-blue" in links(blue), "members of one group find one another")
    before = _exchanges(middle)
    wait_until(lambda: _exchanges(middle) >= before + ROUNDS, "three more exchanges")

    for ours, theirs in (((red, also_red), (blue, also_blue)), ((blue, also_blue), (red, also_red))):
        for site in ours:
            known = {each["name"] for each in site.ask("GET", "sync/peers")}
            assert not known & {other.name for other in theirs}
            for other in theirs:
                assert not _files_with(site.folder, bytes.fromhex(other.command("id").stdout.strip())), (site.name, other.name)


def _files_with(folder: Path, secret: bytes) -> list[Path]:
    """Files of a data directory that hold these bytes, or their digits."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if secret in data or secret.hex().encode() in data:
                found.append(path)
    return found


def test_a_hub_brings_sites_together_and_the_mesh_goes_on_without_it(mesh: Mesh, tmp_path: Path) -> None:
    """No address is entered anywhere. The hub is killed; all three write; a fourth comes in meanwhile, by gossip."""
    (hub,) = mesh("hub", hub__enabled="true")
    key = hub.json("hub", "key", "create", "--hive", "lab", "--uses", "3")["key"]
    (tmp_path / "hub.key").write_text(key)
    (tmp_path / "hub.key").chmod(0o600)
    source = {"hub_source__url": hub.status()["hub"]["url"], "hub_source__credential_file": tmp_path / "hub.key", "hub_source__interval": 1}
    sites = mesh("a", "b", "c", gossip__exchange_interval=SHORT_ROUND_S, **source)
    a, b, c = sites
    found(a)
    introduce(a, b, addresses=False)
    introduce(a, c, addresses=False)

    wait_until(lambda: is_full(sites), "three sites have links to each other")
    wait_until(lambda: told_of_by(b, "c") == "hub", "the hub has told of the third, whoever did before")
    hub.kill()
    for site in sites:
        record(site, tmp_path, f"of-{site.name}")
    (late,) = mesh("late", gossip__exchange_interval=SHORT_ROUND_S)
    join(a, late)
    record(late, tmp_path, "of-late")

    wait_until(lambda: is_full([*sites, late]), "the fourth has links to all")
    # The hub is gone, and nobody entered it there.
    wait_until(lambda: told_of_by(b, "late") == told_of_by(c, "late") == "gossip", "two know of the fourth by gossip")
    wait_until(lambda: agree([*sites, late], 4), "all recordings are everywhere")
    wait_until(lambda: states(a) == {"hub": "failing", "manual": "ok"}, "who asks the hub says that it is gone, and nothing else is wrong")
    print(json.dumps({site.name: told_by(site, [*sites, late]) for site in (*sites, late)}))  # noqa: T201
