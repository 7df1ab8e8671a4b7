"""A fork costs its author one event. Whoever makes forks without end has a log that goes no further, and holds up nobody."""

from pathlib import Path

from peer.core.run import Draft
from peer.store.placing import BRANCHES_MAX
from tests.integration.hostile_peer import rows
from tests.integration.hostile_scene import Scene, goes_on, scene
from tests.integration.store_site import fork, running_store
from tests.samples import GROUP, SampleLog, genesis
from tests.sync_site import events_of

__all__ = ["scene"]

FORKS = 200


async def test_a_log_that_forks_without_end_holds_up_nobody_else(scene: Scene) -> None:
    """A member sends two hundred branches of one log: 64 are held, the rest waits, and what it writes in another log is stored."""
    log = scene.log()
    base = log.write_notes(2)
    before = rows(scene.lab, scene.site)
    await scene.mallory.give(log, base)
    for number in range(FORKS):
        branch = fork(log, base.first, "")
        run = branch.write(Draft("note", f"{number}".encode()))
        await scene.mallory.announce(branch)
        await scene.mallory.say(events_of(scene.group, run))
    await scene.mallory.is_heard_out()
    marker = scene.log("marker")
    await scene.mallory.give(marker, marker.write_notes(1))
    await scene.lab.wait(lambda: marker.certificate.log in scene.site.store.replica.groups[scene.group].tips)

    after = rows(scene.lab, scene.site)
    assert after["branches"] - before["branches"] == BRANCHES_MAX + 1
    assert after["events"] - before["events"] == 2 + BRANCHES_MAX - 1 + 1
    assert scene.site.store.counts(scene.group).forks == BRANCHES_MAX - 1
    assert (await scene.site.store.verify()).ok
    await goes_on(scene, after)


async def test_what_goes_on_a_branch_that_is_held_is_taken_and_a_further_fork_is_not(tmp_path: Path) -> None:
    log = SampleLog("alice")
    base = log.write_notes(2)
    branches = [fork(log, base.first, "") for _ in range(BRANCHES_MAX)]
    runs = [branch.write(Draft("note", f"{number}".encode())) for number, branch in enumerate(branches)]
    async with running_store(tmp_path / "site") as store:
        await store.create_group(genesis())
        await store.append(log.certificate, base)
        codes = []
        for run in runs:
            try:
                await store.append(log.certificate, run)
            except Exception as error:  # noqa: BLE001  (which it is, is what is asked)
                codes.append(getattr(error, "code", ""))
        await store.append(log.certificate, branches[0].write_notes(1))
        await store.append(log.certificate, log.write_notes(1))

        assert codes == ["too_many_forks"]
        assert store.counts(GROUP) == (2 + BRANCHES_MAX - 1 + 2, 1, BRANCHES_MAX - 1)
        assert (await store.verify()).ok
