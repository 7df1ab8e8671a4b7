"""Counted from outside: in the steady state an event reaches each other peer once, and crosses no link twice."""

import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from peer.core.certificate import LogKind
from peer.core.identity import GroupId
from peer.core.run import Draft
from peer.sync.effects import Phase
from tests.counting_proxy import CountingProxy, counting_proxy
from tests.link_lab import Lab, Site, target

ROUNDS = 20
PER_ROUND = 3
"""Events that each site writes in each round."""

WARM_ROUNDS_MAX = 10
"""Rounds until each log is asked for where it will be: a link that came later may lead to its author."""


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Sites that end with the test."""
    async with contextlib.AsyncExitStack() as stack:
        yield Lab(tmp_path, stack)


def are_settled(sites: list[Site], group: GroupId, links: int) -> bool:
    """All links stand, all that was there is everywhere, and each log is asked for where it will be asked for."""
    standing = [each for site in sites for each in site.links._connections.values()]
    return (
        len(standing) == 2 * links
        and all(each.session.phase is Phase.PUSH for each in standing)
        and len({repr(sorted(site.tips(group).items())) for site in sites}) == 1  # type: ignore[attr-defined]
    )


async def write_everywhere(sites: list[Site], group: GroupId) -> set[bytes]:
    """The ids of what they write, one after the other."""
    written: set[bytes] = set()
    for site in sites:
        events = await site.store.write(group, LogKind.DATA, [Draft("test.note", b"\xa0")] * PER_ROUND)
        written |= {each.event.id for each in events}
    return written


@pytest.mark.parametrize("shape", ["mesh", "chain"])
async def test_an_event_crosses_no_link_twice_and_reaches_everybody_once(lab: Lab, shape: str) -> None:
    """Three sites, every link through a proxy that takes frames apart: of each of 180 events there are exactly two copies on the wire."""
    a, b, c = sites = [await lab.site(name) for name in "abc"]
    group = await lab.found(a)
    for each in (b, c):
        await each.links.join(await lab.invitation(a, group))
        await lab.wait(lambda each=each: a.tips(group) == each.tips(group))
        each.hang_up()
    front: dict[str, CountingProxy] = {}
    for site in (a, b):
        front[site.name] = await lab.enter(counting_proxy(site.endpoint))
    b.links.set_targets([target(a, front["a"].url)])
    c.links.set_targets([target(b, front["b"].url), *([target(a, front["a"].url)] if shape == "mesh" else [])])
    links = 3 if shape == "mesh" else 2

    async def written_in(rounds: int) -> set[bytes]:
        for proxy in front.values():
            for crossing in proxy.crossings:
                crossing.events = {"in": Counter(), "out": Counter()}
        found: set[bytes] = set()
        for _ in range(rounds):
            found |= await write_everywhere(sites, group)
            await lab.wait(lambda: are_settled(sites, group, links))
        return found

    await lab.wait(lambda: are_settled(sites, group, links))
    for _ in range(WARM_ROUNDS_MAX):
        warm = await written_in(1)
        copies = sum((proxy.copies() for proxy in front.values()), Counter[bytes]())
        if {event: copies[event] for event in warm} == dict.fromkeys(warm, len(sites) - 1):
            break
    written = await written_in(ROUNDS)

    crossings = [crossing for proxy in front.values() for crossing in proxy.links]
    ways = [way for crossing in crossings for way in crossing.events.values()]
    copies = sum(ways, Counter[bytes]())
    assert len(written) == len(sites) * ROUNDS * PER_ROUND
    assert {event: copies[event] for event in written} == dict.fromkeys(written, len(sites) - 1)
    assert max(max(way.values(), default=0) for way in ways) == 1
    assert all(max((crossing.events["in"] + crossing.events["out"]).values(), default=1) == 1 for crossing in crossings), "nor back the other way"
    assert copies.keys() == written
