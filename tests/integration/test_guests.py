"""Who was admitted or removed where others have not heard of it: over real sockets and databases."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from peer.core.control import Role, member_set
from peer.core.identity import GroupId
from peer.core.run import Draft
from peer.transport.pending import PENDING_MAX, PENDING_PER_ADDRESS_MAX, PendingPeers
from tests.link_lab import Lab, Site, target
from tests.samples import key_pair

NOTE = Draft("test.note", b"\xa0")


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Sites that end with the test."""
    async with AsyncExitStack() as stack:
        yield Lab(tmp_path, stack)


async def decide(by: Site, group: GroupId, on: Site, role: Role) -> None:
    """An admin decides on somebody, replacing what was decided before."""
    before = by.store.replica.groups[group].roster.standing(on.key.peer_id).now.live
    await by.store.write(group, LogKind.CONTROL, [member_set(on.key.peer_id, on.name, role, replaces=before)])


async def three_members(lab: Lab) -> tuple[list[Site], GroupId]:
    sites = [await lab.site(name) for name in "abc"]
    a, b, c = sites
    group = await lab.found(a)
    for each in (b, c):
        await each.links.join(await lab.invitation(a, group))
        await lab.wait(lambda each=each: each.role(group, each) is Role.WRITER)
        await each.store.write(group, LogKind.DATA, [NOTE] * 3)
    await lab.wait(lambda: a.tips(group) == b.tips(group) == c.tips(group) and len(a.store.replica.groups[group].tips) == 3)
    return sites, group


async def test_a_member_admitted_by_one_that_then_goes_down_is_accepted_by_all_others(lab: Lab) -> None:
    (a, b, c), group = await three_members(lab)
    a.hang_up()
    await lab.wait(lambda: not b.links.linked_peers() and not c.links.linked_peers())
    d = await lab.site("d")
    await d.links.join(await lab.invitation(a, group))
    await lab.wait(lambda: d.tips(group) == a.tips(group) and d.role(group, d) is Role.WRITER)
    await d.store.write(group, LogKind.DATA, [NOTE] * 5)
    await a.stop()
    assert b.role(group, d) is c.role(group, d) is Role.NONE

    d.links.set_targets([target(b), target(c)])
    await lab.wait(lambda: b.tips(group) == c.tips(group) == d.tips(group) and b.role(group, d) is c.role(group, d) is Role.WRITER)

    await b.store.write(group, LogKind.DATA, [NOTE])
    await d.store.write(group, LogKind.DATA, [NOTE])
    await lab.wait(lambda: b.tips(group) == c.tips(group) == d.tips(group))
    assert b.links.pending() == c.links.pending() == []
    assert b.errors == c.errors == d.errors == []


async def test_a_removed_member_that_comes_back_learns_why_and_gets_nothing_else(lab: Lab) -> None:
    (a, b, c), group = await three_members(lab)
    b.hang_up()
    await lab.wait(lambda: b.key.peer_id not in a.links.linked_peers())
    await decide(a, group, b, Role.NONE)
    await a.store.write(group, LogKind.DATA, [NOTE] * 5)
    await lab.wait(lambda: c.tips(group) == a.tips(group))
    held = len(b.store.replica.groups[group].tips)

    b.links.set_targets([target(c)])
    await lab.wait(lambda: any(link["last_error"] and link["last_error"]["code"] == "not_a_member" for link in b.links.links()))  # type: ignore[index]

    assert b.role(group, b) is Role.NONE
    assert b.links.links()[0]["state"] == "refused"
    assert len(b.store.replica.groups[group].tips) <= held
    events = await b.store.group_events(group, 0, 1000)
    assert sum(each.author == a.key.peer_id and each.kind is LogKind.DATA for each in events) == 0
    assert c.links.pending() == []


async def test_a_member_removed_while_linked_is_told_so_and_goes_on_when_it_is_taken_back(lab: Lab) -> None:
    (a, b, c), group = await three_members(lab)
    await decide(a, group, b, Role.NONE)
    await a.store.write(group, LogKind.DATA, [NOTE] * 5)
    await lab.wait(lambda: b.role(group, b) is Role.NONE and a.tips(group) == c.tips(group))
    await lab.wait(lambda: b.key.peer_id not in a.links.group_peers(group))
    events = await b.store.group_events(group, 0, 1000)
    assert not [each for each in events if each.author == a.key.peer_id and each.kind is LogKind.DATA]

    b.links.set_targets([target(a)])
    await decide(a, group, b, Role.WRITER)
    await lab.wait(lambda: a.tips(group) == b.tips(group) == c.tips(group) and b.role(group, b) is Role.WRITER)
    await b.store.write(group, LogKind.DATA, [NOTE])
    await lab.wait(lambda: a.tips(group) == b.tips(group) == c.tips(group))
    assert a.errors == b.errors == c.errors == []


async def test_who_knocks_with_an_unknown_key_is_shown_until_it_is_admitted(lab: Lab) -> None:
    """It wanted a group that is here, waits, and is a member once an admin says so."""
    a, z = await lab.site("a"), await lab.site("z")
    group = await lab.found(a)
    await a.store.write(group, LogKind.DATA, [NOTE] * 2)
    await z.store.create_group(a.store.replica.groups[group].genesis)
    z.links.set_targets([target(a)])
    await lab.wait(lambda: bool(a.links.pending()))
    (shown,) = a.links.pending()
    assert (shown["peer_id"], shown["name"], shown["address"], shown["groups"]) == (z.key.peer_id.hex(), "z", "127.0.0.1", [group.hex()])
    assert z.tips(group) == {}

    await decide(a, group, z, Role.READER)
    await lab.wait(lambda: z.tips(group) == a.tips(group) and z.role(group, z) is Role.READER)

    assert a.links.pending() == []


async def test_a_group_is_taken_from_the_peer_that_it_is_expected_from(lab: Lab) -> None:
    """Both operators have added the other: no invitation, and no address of the one that has the group."""
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    await a.store.write(group, LogKind.DATA, [NOTE] * 2)
    await decide(a, group, b, Role.WRITER)
    b.expected.add((a.key.peer_id, "lab"))
    b.links.set_targets([target(a)])

    await lab.wait(lambda: group in b.store.replica.groups and b.tips(group) == a.tips(group))

    assert b.offered[0] == (a.key.peer_id, group)


async def test_a_group_that_nobody_expects_is_not_taken(lab: Lab) -> None:
    """Being on somebody's roster is no reason to hold its group: nor is its name, from another peer."""
    a, b = await lab.site("a"), await lab.site("b")
    group = await lab.found(a)
    await decide(a, group, b, Role.WRITER)
    b.expected.add((key_pair("somebody else").peer_id, "lab"))
    b.links.set_targets([target(a)])
    await lab.wait(lambda: bool(b.offered))
    await lab.wait(lambda: b.links.links()[0]["last_error"] is not None or not b.links.is_linked(a.key.peer_id))

    assert group not in b.store.replica.groups


# Who knocked


def test_the_list_of_who_knocked_is_short_and_one_address_has_few_places_in_it() -> None:
    pending = PendingPeers()
    first = key_pair("first").peer_id
    pending.knocked(first, "first", (), "192.0.2.1", 1)
    for number in range(20):
        pending.knocked(key_pair(f"flood {number}").peer_id, "flood", (), "192.0.2.2", 2 + number)
    assert [each["address"] for each in pending.shown()] == ["192.0.2.2"] * PENDING_PER_ADDRESS_MAX + ["192.0.2.1"]
    assert [each["last_seen_ms"] for each in pending.shown()][:2] == [21, 20]

    for number in range(PENDING_MAX):
        pending.knocked(key_pair(f"other {number}").peer_id, "other", (), f"198.51.100.{number}", 100 + number)
    assert len(pending.shown()) == PENDING_MAX
    assert first.hex() not in [each["peer_id"] for each in pending.shown()]


def test_who_knocks_again_is_counted_and_can_be_forgotten() -> None:
    pending = PendingPeers()
    peer = key_pair("zoe").peer_id
    for time in (1, 2, 3):
        pending.knocked(peer, "zoe", (GroupId(bytes(32)),) * 40, "192.0.2.1", time)
    (shown,) = pending.shown()

    assert (shown["first_seen_ms"], shown["last_seen_ms"], shown["count"]) == (1, 3, 3)
    assert len(shown["groups"]) == 16  # type: ignore[arg-type]
    assert pending.forget(peer)
    assert not pending.forget(peer)
    assert not pending.shown()
