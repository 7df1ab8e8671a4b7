"""The overlay over real sockets: who has too many links lets go of one, and whoever that was finds somebody else."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from peer.core.control import Role
from peer.sync import overlay
from peer.wiring.choosing import Choosing
from resolver.base import KnownPeer
from tests.link_lab import Lab, Site


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Sites that end with the test."""
    async with contextlib.AsyncExitStack() as stack:
        yield Lab(tmp_path, stack)


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three sites are many, one link is enough, and no ring needs any."""
    for name, value in {"SMALL_GROUP_MAX": 2, "LINKS_MIN": 1, "LINKS_MAX": 1, "CHOSEN_MIN": 0, "LET_GO_INTERVAL_MS": 0}.items():
        monkeypatch.setattr(overlay, name, value)
    monkeypatch.setattr(overlay.Overlay, "_neighbours", lambda *_: set())


class Addresses:
    """A resolver that knows these."""

    def __init__(self, source: str, *sites: Site) -> None:
        self.known = [KnownPeer(site.key.peer_id, site.name, (site.endpoint,), frozenset(), source) for site in sites]

    def peers(self) -> Sequence[KnownPeer]:
        return self.known


def choosing(site: Site, source: str, *others: Site) -> Choosing:
    """What a whole peer has, around the links of `site`."""
    made = Choosing(site.key.peer_id, site.store.replica, lambda: site.links, lambda: Addresses(source, *others))  # type: ignore[arg-type,return-value]
    site.links._parts = replace(site.links._parts, ended=made.ended)
    return made


async def members(lab: Lab) -> tuple[Site, Site, Site]:
    """Three of one group; the second and third have joined at the first, and know of each other."""
    a, b, c = [await lab.site(name) for name in "abc"]
    group = await lab.found(a)
    for joiner in (b, c):
        await joiner.links.join(await lab.invitation(a, group))
    await lab.wait(lambda: all(len(each.store.replica.groups[group].roster.members) == 3 for each in (a, b, c)))
    assert b.role(group, c) is Role.WRITER
    return a, b, c


async def test_one_link_too_many_ends_and_the_other_side_finds_somebody_else(lab: Lab) -> None:
    """Both joiners are linked to the first site; the younger link goes, and that site dials the other joiner, and not the first one again."""
    a, b, c = await members(lab)
    theirs = choosing(c, "gossip", a, b)
    await lab.wait(lambda: {*a.links.linked_peers()} == {b.key.peer_id, c.key.peer_id})

    ours = choosing(a, "gossip", b, c)
    ours.choose()

    def settled() -> bool:
        theirs.choose()
        return c.links.is_linked(b.key.peer_id) and c.links.dialler_of(a.key.peer_id) is None and not c.links.is_linked(a.key.peer_id)

    await lab.wait(settled)

    assert a.links.linked_peers() == [b.key.peer_id]
    assert [link["peer_id"] for link in c.links.links()] == [b.key.peer_id.hex()]


async def test_whom_the_operator_named_is_dialled_and_kept(lab: Lab) -> None:
    """However many links there are."""
    a, b, c = await members(lab)
    ours = choosing(a, "manual", b, c)

    ours.choose()
    await lab.wait(lambda: a.links.dialler_of(b.key.peer_id) is not None and a.links.dialler_of(c.key.peer_id) is not None)
    ours.choose()

    assert {*a.links.linked_peers()} == {b.key.peer_id, c.key.peer_id}
