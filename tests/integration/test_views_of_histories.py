"""Histories in which roles change under way, over the real log and the real views: both say what the rules say, event by event and row by row."""

import random
from collections import Counter
from pathlib import Path

from peer.core.control import Role
from peer.core.encoding import encode
from peer.core.identity import LogId
from peer.core.run import sign_run
from tests.conftest import LONG
from tests.histories import MemoryViews
from tests.integration.views_site import running_views
from tests.judged_histories import DecidedHistory, roles_by_definition, shuffled_by_log
from tests.samples import GROUP, SampleLog

HISTORIES = 200 if LONG else 12


def logs_of(history: DecidedHistory) -> dict[LogId, SampleLog]:
    """All logs that were written, with their keys."""
    return {log.certificate.log: log for log in history.logs}


async def check(folder: Path, seed: int, seen: Counter[str]) -> None:
    """One history, stored in some order while the views follow; then the directory is opened once more."""
    history, chance = DecidedHistory(seed, seen), random.Random(seed)
    logs = logs_of(history)
    arrivals = shuffled_by_log(history.events, chance)
    roles = roles_by_definition(arrivals)
    seen["events that do not count"] += sum(1 for role in roles.values() if role is Role.NONE)
    seen["events that do"] += sum(1 for role in roles.values() if role is not Role.NONE)
    scratch = MemoryViews()
    scratch.project([stored._replace(role=roles[stored.event.id]) for stored in arrivals])
    async with running_views(folder) as site:
        for stored in arrivals:
            log = logs[stored.event.header.log]
            await site.store.append(log.certificate, sign_run(log.key, [stored.event]))
        assert await site.store.roles(GROUP, list(roles)) == roles, f"seed {seed}"
        await site.materializer.reached(site.store.position)
        assert encode(await site.views.export(GROUP)) == encode(scratch.export()), f"seed {seed}"
    async with running_views(folder) as site:
        assert encode(await site.views.export(GROUP)) == encode(scratch.export()), f"seed {seed}"
        assert site.database.transactions <= 1, "nothing but the judgement is noted again"
        await site.materializer.rebuild()
        assert encode(await site.views.export(GROUP)) == encode(scratch.export()), f"seed {seed}"


async def test_the_views_of_random_histories_are_those_of_the_rules(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for seed in range(HISTORIES):
        await check(tmp_path / str(seed), seed, seen)
    print(dict(seen))  # noqa: T201  (what happened, for whoever reads the output)
    minimum = {"cuts": 2, "voids": 1, "seals": 0.3, "role changes": 3, "re-adds": 0.1, "events that do not count": 5, "events that do": 20}
    assert not {name: seen[name] for name, least in minimum.items() if seen[name] < least * HISTORIES}
