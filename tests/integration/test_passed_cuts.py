"""A cut may name an event that is not here, at a height that what is here passes: the log goes on on another branch than the one that was named."""

from pathlib import Path

import pytest

from peer.core.control import Role, member_set
from peer.core.frontier import Tip
from tests.integration.store_site import running_store
from tests.integration.test_judged_events import BOB, decide, left, point, roles, view, with_bob
from tests.samples import SampleLog


@pytest.mark.parametrize("comes_first", ["the log", "the cuts"])
async def test_a_log_that_passes_a_cut_on_another_branch_is_offered_up_to_there(tmp_path: Path, comes_first: str) -> None:
    """Two remove bob; the second has seen a branch that is not here. What is here has the same roles before and after it passes that height."""
    log = SampleLog("bob")
    begin, elsewhere = log.write_notes(2), log.write_notes(3)
    before, after = left(log, begin.last, 1), log.write_notes(6)
    known = [begin, before]
    async with running_store(tmp_path / "site") as store:
        joined = await with_bob(store)
        for run in known if comes_first == "the log" else ():
            await store.append(log.certificate, run)
        await decide(store, member_set(BOB, "bob", Role.NONE, replaces=[joined], cut=[point(begin.last)]))
        await decide(store, member_set(BOB, "bob", Role.NONE, cut=[point(begin.last), point(elsewhere.last)]))
        for run in known if comes_first == "the cuts" else ():
            await store.append(log.certificate, run)

        await store.append(log.certificate, after)

        assert view(store).tips[log.certificate.log] == (Tip(5, after.events[1].id),)
        assert await roles(store, begin) + await roles(store, before) + await roles(store, after) == [Role.WRITER] * 2 + [Role.NONE] * 7
    async with running_store(tmp_path / "site") as store:
        assert view(store).tips[log.certificate.log] == (Tip(5, after.events[1].id),)
