"""Ten thousand random and changed frames, headers and bodies, at least half of them signed by a member: only known codes, and memory that stays.

Each example is a link to a live session, or a page of events for the projections; both get what the same member signed.
"""

import gc
import random
from collections import Counter

import psutil
from hypothesis import given, settings
from hypothesis import strategies as st

from peer.core.encoding import encode
from peer.core.run import Draft
from peer.errors import EventRejectedError
from peer.sync.messages import encode_message
from tests.conftest import LONG
from tests.frame_attack import KNOWN_CODES, Attack
from tests.fuzz.readers import BODY_TYPES
from tests.fuzz.sites import small_limits
from tests.fuzz.targets import TARGETS
from tests.histories import MemoryViews, Story
from tests.samples import SampleLog
from tests.wrong_inputs import SIGNED_EVENTS, changed, signed_run, unsigned_frame

EXAMPLES = 800 if LONG else 80
RUNS_MAX = 30
PAGE_EVENTS = 40
GROWTH_MAX = 24 * 2**20
"""Bytes that the process may have more at the end than after a quarter of it all, as the system sees it."""

BODIES = tuple(TARGETS["body"].seeds())
CONTROLS = tuple(TARGETS["control"].seeds())
READERS = ("message", "run", "certificate", "genesis", "record", "invitation", "request", "encoding")


def attack(chance: random.Random, seen: Counter[str]) -> None:
    """One link: runs that Mallory signed, then frames that nobody did, until it ends."""
    with small_limits():
        link = Attack(member=True)
        for _ in range(chance.randrange(10, RUNS_MAX)):
            log = SampleLog("mallory", link.group.id, label=link.fresh(8).hex())
            bodies = [changed(chance, chance.choice(BODIES + CONTROLS)[1:]) for _ in range(SIGNED_EVENTS)]
            said = signed_run(chance, log, bodies if chance.random() < 0.3 else ())
            link.say(encode_message(said.have))
            link.say(encode_message(said.events))
            seen["signed"] += SIGNED_EVENTS
            while link.end.asked:
                link.end.answer()
                link.check()
            if link.end.closed is not None:
                break
        for _ in range(20):
            if link.end.closed is not None:
                break
            link.say(unsigned_frame(chance, SampleLog("mallory", link.group.id, label=link.fresh(8).hex())))
            seen["unsigned"] += 1
    assert link.codes.keys() <= KNOWN_CODES | {"stored"}
    seen.update({f"code {code}": count for code, count in link.codes.items()})


def project(chance: random.Random, seen: Counter[str]) -> None:
    """Signed events with changed bodies, and what they make of the tables, in whatever pages they come."""
    story = Story()
    for _ in range(PAGE_EVENTS):
        seed = chance.choice(BODIES)
        body = changed(chance, seed[1:]) if chance.random() < 0.7 else seed[1:]
        refs = tuple(each.event.id for each in story.events[-2:])
        try:
            story.write(chance.choice(["alice", "bob", "carol", "dave"]), Draft(BODY_TYPES[seed[0]], body, refs))
        except EventRejectedError:
            continue
        seen["signed"] += 1
    one, other = MemoryViews(), MemoryViews()
    one.project(story.events)
    cut = chance.randrange(PAGE_EVENTS)
    other.project(story.events[cut:])
    other.project(story.events[:cut])
    assert encode(one.export()) == encode(other.export())


def read(chance: random.Random, seen: Counter[str]) -> None:
    """What is read before anybody knows who sent it."""
    for name in READERS:
        for _ in range(4):
            TARGETS[name].run(changed(chance, chance.choice(SEEDS[name])))
            seen["unsigned"] += 1


SEEDS = {name: tuple(TARGETS[name].seeds()) for name in READERS}


def test_ten_thousand_inputs_bring_known_codes_and_no_growth() -> None:
    seen: Counter[str] = Counter()
    held: list[int] = []

    @settings(max_examples=EXAMPLES)
    @given(st.integers(0, 2**64 - 1))
    def hold(seed: int) -> None:
        chance = random.Random(seed)
        attack(chance, seen)
        project(chance, seen)
        read(chance, seen)
        seen["examples"] += 1
        if seen["examples"] % (EXAMPLES // 4) == 0:
            gc.collect()
            held.append(psutil.Process().memory_info().rss)

    hold()
    codes = {name.removeprefix("code "): count for name, count in seen.items() if name.startswith("code ")}
    print(dict(seen), [f"{size / 2**20:.1f} MB" for size in held])  # noqa: T201

    assert seen["signed"] + seen["unsigned"] >= 10_000
    assert seen["signed"] >= seen["unsigned"]
    assert {
        "log_gap",
        "wrong_log",
        "header_invalid",
        "not_canonical",
        "body_mismatch",
        "event_version_unknown",
        "malformed_frame",
        "stored",
    } <= codes.keys()
    assert held[-1] - held[0] < GROWTH_MAX
