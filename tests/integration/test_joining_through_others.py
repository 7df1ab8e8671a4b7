"""Joining through a member that is no admin, and invitations that must not be good: real sockets, real databases, the product's own decisions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from peer.core.control import Role, invite, member_set
from peer.core.group import Invitation
from peer.core.identity import GroupId
from peer.core.run import Draft
from peer.errors import MeshError
from tests.link_lab import Lab, Site, target

NOTE = Draft("test.note", b"\xa0")


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Sites that end with the test."""
    async with AsyncExitStack() as stack:
        yield Lab(tmp_path, stack)


async def chain(lab: Lab, *names: str, roles: tuple[Role, ...] = ()) -> tuple[list[Site], GroupId]:
    """Members of a group of the first of them, each linked to the one before it alone."""
    sites = [await lab.site(name) for name in names]
    owner = sites[0]
    group = await lab.found(owner)
    await owner.store.write(group, LogKind.DATA, [NOTE] * 3)
    for before, site, role in zip(sites, sites[1:], roles or [Role.WRITER] * len(sites), strict=False):
        await site.links.join(await lab.invitation(owner, group, role, door=before))
        await lab.wait(lambda site=site, role=role: all(each.role(group, site) is role for each in sites[: sites.index(site) + 1]))
    await lab.wait(lambda: all(each.tips(group) == owner.tips(group) for each in sites))
    return sites, group


async def refused(site: Site, invitation: Invitation) -> str:
    """The code by which `site` is not let in; nothing of the group is left behind."""
    with pytest.raises(MeshError) as caught:
        await site.links.join(invitation)
    assert invitation.group not in site.store.replica.groups
    return caught.value.code


def invites(site: Site, group: GroupId, invitation: Invitation) -> bool:
    return invitation.key.public in site.store.replica.groups[group].roster.invites


@pytest.mark.parametrize("hops", [0, 1, 2])
async def test_a_site_joins_through_any_member_and_an_admin_decides(lab: Lab, hops: int) -> None:
    sites, group = await chain(lab, *"abc"[: hops + 1])
    door = sites[-1]
    invitation = await lab.invitation(sites[0], group, door=door)
    z = await lab.site("z")

    await z.links.join(invitation)
    await lab.wait(lambda: z.role(group, z) is Role.WRITER and z.tips(group) == sites[0].tips(group))

    await z.store.write(group, LogKind.DATA, [NOTE])
    await lab.wait(lambda: all(each.tips(group) == z.tips(group) for each in sites))
    assert sites[0].admitted[-1] == z.key.peer_id
    assert all(not each.admitted or each.admitted[-1] != z.key.peer_id for each in sites[1:])
    assert all(each.errors == [] for each in sites)


async def test_a_member_that_has_not_heard_of_the_invitation_is_a_door_all_the_same(lab: Lab) -> None:
    """It was made at one admin, is used at a member, and decided by another admin that has heard of it."""
    (a, b, c), group = await chain(lab, "a", "b", "c", roles=(Role.WRITER, Role.ADMIN))
    invitation = await lab.invitation(c, group, door=b)
    z = await lab.site("z")

    await z.links.join(invitation)

    await lab.wait(lambda: z.role(group, z) is Role.WRITER and a.role(group, z) is Role.WRITER)
    entry = a.store.replica.groups[group].roster.invites[invitation.key.public]
    assert entry.used_by == z.key.peer_id


async def test_without_an_admin_in_reach_the_joiner_is_told_so(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.sync.limits.JOIN_WAIT_MS", 2_000)
    (a, b), group = await chain(lab, "a", "b")
    invitation = await lab.invitation(a, group, door=b)
    await lab.wait(lambda: invites(b, group, invitation))
    await a.stop()
    z = await lab.site("z")

    assert await refused(z, invitation) == "no_admin_reached"


async def test_an_admin_that_comes_while_the_joiner_waits_lets_it_in(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("peer.sync.limits.JOIN_REPEAT_MS", 500)
    (a, b), group = await chain(lab, "a", "b")
    invitation = await lab.invitation(a, group, door=b)
    await lab.wait(lambda: invites(b, group, invitation))
    a.hang_up()
    await lab.wait(lambda: not b.links.linked_peers())
    z = await lab.site("z")
    b_asked = b.links.decide_join
    asked = []

    async def noticed(*arguments: object) -> None:
        asked.append(arguments)
        await b_asked(*arguments)  # type: ignore[arg-type]

    b.links.decide_join = noticed  # type: ignore[assignment]
    a.links.set_targets([])
    task = asyncio.create_task(z.links.join(invitation))
    await lab.wait(lambda: bool(asked))
    a.links.set_targets([target(b)])
    await task

    assert a.admitted[-1] == z.key.peer_id


async def test_a_stolen_invitation_used_at_two_admins_that_are_apart_lets_one_in_the_same_everywhere(lab: Lab) -> None:
    (a, b, c), group = await chain(lab, "a", "b", "c", roles=(Role.ADMIN, Role.WRITER))
    invitation = await lab.invitation(a, group)
    await lab.wait(lambda: all(invites(each, group, invitation) for each in (b, c)))
    a.hang_up()
    await lab.wait(lambda: a.key.peer_id not in b.links.linked_peers())
    y, z = await lab.site("y"), await lab.site("z")
    await y.links.join(invitation)
    await z.links.join(invitation._replace(member=b.key.peer_id, endpoint=b.endpoint))
    await lab.wait(lambda: a.role(group, y) is Role.WRITER and b.role(group, z) is Role.WRITER and c.role(group, z) is Role.WRITER)

    b.links.set_targets([target(a)])
    sites = (a, b, c)
    await lab.wait(lambda: len({tuple(each.role(group, who) for who in (y, z)) for each in sites}) == 1)
    await lab.wait(lambda: a.tips(group) == b.tips(group) == c.tips(group))

    assert sorted(a.role(group, who) for who in (y, z)) == [Role.NONE, Role.WRITER]
    loser = y if a.role(group, y) is Role.NONE else z
    used_by = {each.store.replica.groups[group].roster.invites[invitation.key.public].used_by for each in sites}
    assert used_by == {(z if loser is y else y).key.peer_id}
    fresh = await lab.site("w")
    for door in (a, b):
        assert await refused(fresh, invitation._replace(member=door.key.peer_id, endpoint=door.endpoint)) == "invitation_refused"


async def test_an_invitation_is_good_for_one_site_at_one_admin(lab: Lab) -> None:
    (a, b), group = await chain(lab, "a", "b")
    invitation = await lab.invitation(a, group)
    y, z = await lab.site("y"), await lab.site("z")
    await y.links.join(invitation)
    await lab.wait(lambda: b.role(group, y) is Role.WRITER)

    assert await refused(z, invitation) == "invitation_refused"
    assert await refused(z, invitation._replace(member=b.key.peer_id, endpoint=b.endpoint)) == "invitation_refused"
    assert a.role(group, z) is Role.NONE


@pytest.mark.parametrize("through", [0, 1], ids=["at the admin", "through another"])
async def test_an_invitation_that_has_expired_by_the_deciders_clock(lab: Lab, through: int) -> None:
    """The joiner's own clock says otherwise."""
    sites, group = await chain(lab, "a", "b")
    invitation = await lab.invitation(sites[0], group, door=sites[through], for_ms=-1)
    await lab.wait(lambda: invites(sites[1], group, invitation))

    assert await refused(await lab.site("z"), invitation) == "invitation_refused"


@pytest.mark.parametrize("through", [0, 1], ids=["at the admin", "through another"])
async def test_an_invitation_that_was_revoked(lab: Lab, through: int) -> None:
    sites, group = await chain(lab, "a", "b")
    invitation = await lab.invitation(sites[0], group, door=sites[through])
    await sites[0].store.write(group, LogKind.CONTROL, [invite(invitation.key.public, Role.NONE, 0)])
    await lab.wait(lambda: sites[1].tips(group) == sites[0].tips(group))

    assert await refused(await lab.site("z"), invitation) == "invitation_refused"


@pytest.mark.parametrize("through", [0, 2], ids=["at the owner", "through another"])
async def test_an_invitation_of_a_removed_admin(lab: Lab, through: int) -> None:
    sites, group = await chain(lab, "a", "b", "c", roles=(Role.ADMIN, Role.WRITER))
    a, b, c = sites
    a.links.set_targets([target(c)])
    await lab.wait(lambda: c.key.peer_id in a.links.linked_peers())
    invitation = await lab.invitation(b, group, door=sites[through])
    await lab.wait(lambda: all(invites(each, group, invitation) for each in sites))
    view = a.store.replica.groups[group]
    before, cut = view.roster.standing(b.key.peer_id).now.live, await a.store.cut(group, b.key.peer_id)
    await a.store.write(group, LogKind.CONTROL, [member_set(b.key.peer_id, "b", Role.NONE, replaces=before, cut=cut)])
    await lab.wait(lambda: c.role(group, b) is Role.NONE)

    assert await refused(await lab.site("z"), invitation) == "invitation_refused"


async def test_an_invitation_to_another_group_of_the_same_site(lab: Lab) -> None:
    a, z = await lab.site("a"), await lab.site("z")
    group, other = await lab.found(a), await lab.found(a)
    invitation = await lab.invitation(a, group)

    assert await refused(z, invitation._replace(group=other)) == "invitation_refused"
    assert a.admitted == []


async def test_an_invitation_with_another_key_in_it(lab: Lab) -> None:
    (a, b), group = await chain(lab, "a", "b")
    z = await lab.site("z")
    invitation = (await lab.invitation(a, group))._replace(seed=bytes(32))

    assert await refused(z, invitation) == "invitation_refused"
    assert await refused(z, invitation._replace(member=b.key.peer_id, endpoint=b.endpoint)) == "invitation_refused"


async def test_a_man_in_the_middle_with_a_certificate_of_its_own_gets_no_join(lab: Lab) -> None:
    a, middle, z = await lab.site("a", tls=True), await lab.site("middle", tls=True), await lab.site("z")
    group = await lab.found(a)
    invitation = (await lab.invitation(a, group))._replace(endpoint=middle.endpoint)

    assert await refused(z, invitation) == "channel_key_mismatch"
    assert a.admitted == []
    await z.links.join(invitation._replace(endpoint=a.endpoint))
    assert a.admitted == [z.key.peer_id]
