"""What is said of a decision before it is written is what comes of it: nobody is told yes for what has no effect, or no for what has."""

from collections import Counter
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from peer.core.control import ASSIGNABLE, ControlEvent, Role
from peer.core.encoding import decode_map, encode
from peer.core.event import link_event
from peer.core.identity import LogId, PeerId
from peer.core.roster import evaluate
from peer.core.run import Draft
from peer.errors import NotAllowedError
from peer.operations.deciding import also_changed, check_decider, check_decision, conflicts, find_target, foresee, target_of
from peer.operations.membership import drafts_of
from tests.conftest import LONG
from tests.control_histories import History
from tests.samples import GROUP

HISTORIES = 2000 if LONG else 200
TRIES = 12
EVENTS = 36


def view_of(history: History) -> Any:
    """A group as far as decisions look at it."""
    genesis = SimpleNamespace(name="lab", owners=history.owners, group=GROUP)
    return SimpleNamespace(genesis=genesis, roster=evaluate(history.owners, history.events), control=list(history.events))


def refusal(view: Any, me: PeerId, about: PeerId, role: Role, drafts: Sequence[Draft]) -> NotAllowedError | None:
    """What is said beforehand against a decision."""
    try:
        check_decider(view, me, target_of(view, about))
        check_decision(view, me, target_of(view, about), role, foresee(view, me, drafts))
    except NotAllowedError as error:
        return error
    return None


def really_written(history: History, me: PeerId, drafts: Sequence[Draft]) -> list[ControlEvent]:
    """The drafts as events of a fresh log, later than all that was seen: clocks follow what was seen."""
    clock = max(entry.event.header.hlc for entry in history.events)
    log = LogId(history.chance.randbytes(32))
    written: list[ControlEvent] = []
    for seq, draft in enumerate(drafts):
        clock += history.chance.randrange(1, 1000)
        previous = written[-1].event.id if written else log
        event = link_event(group=GROUP, log=log, seq=seq, previous=previous, hlc=clock, type_=draft.type, refs=list(draft.refs), body=draft.body)
        written.append(ControlEvent(event, me))
    return written


def test_what_is_foretold_comes_true() -> None:
    seen: Counter[str] = Counter()
    for seed in range(HISTORIES):
        history = History(seed)
        history.write_at_random(EVENTS)
        view = view_of(history)
        for _ in range(TRIES):
            me, about, role = history.chance.choice(history.people), history.chance.choice(history.people), history.chance.choice(ASSIGNABLE)
            target = target_of(view, about)
            drafts = drafts_of(target, role, history.cut(about, whole=history.chance.random() < 0.7))
            refused = refusal(view, me, about, role, drafts)
            others = also_changed(view, target, foresee(view, me, drafts))

            written = really_written(history, me, drafts)
            after = evaluate(history.owners, [*history.events, *written])
            comes_true = after.role(about) is role and all(entry.event.id in after.standing(about).now.live for entry in written)
            assert (refused is None) is comes_true, f"seed {seed}: {me.hex()[:2]} makes {about.hex()[:2]} {role.label}: {refused}"
            assert refused is None or (refused.text and refused.fix)
            if refused is None:
                changed = {peer.hex() for peer in history.people if peer != about and view.roster.role(peer) is not after.role(peer)}
                assert {each["peer_id"] for each in others} == changed
            seen["allowed" if refused is None else "refused"] += 1
            seen["others changed"] += refused is None and bool(others)
            seen["conflicts ended"] += refused is None and len(target.live) > 1
            seen["raised"] += refused is None and bool(target.live) and target.role < role
            seen["on owners"] += refused is None and view.roster.standing(about).owner is not None
    print(f"\n{dict(seen)}")  # noqa: T201
    assert seen["allowed"] > HISTORIES
    assert seen["refused"] > HISTORIES
    assert seen["conflicts ended"] > HISTORIES // 20
    assert seen["raised"] > HISTORIES // 20, "who has a role gets a higher one only where the decisions before are replaced"
    assert seen["on owners"] > HISTORIES // 20
    assert seen["others changed"] > HISTORIES // 20


@pytest.mark.parametrize("seed", range(40))
def test_conflicts_are_the_live_decisions_that_do_not_agree(seed: int) -> None:
    history = History(seed)
    history.write_at_random(EVENTS)
    roster = evaluate(history.owners, history.events)

    shown = {str(each["register"]): each for each in conflicts(view_of(history))}

    for peer, standing in roster.standings.items():
        live = [each for each in standing.decisions if each.event_id in standing.now.live]
        entry = shown.pop(f"role:{peer.hex()}", None)
        assert (entry is not None) is (len({each.role for each in live}) > 1)
        if entry is not None:
            assert entry["value"] == standing.now.role.label
            assert isinstance(entry["values"], list)
            assert {value["event_id"] for value in entry["values"]} == {each.event_id.hex() for each in live}
    assert not shown


def test_somebody_is_found_by_name_id_or_prefix_also_after_the_removal() -> None:
    seeds = (History(seed) for seed in range(100))
    history = next(each for each in seeds if (each.write_at_random(EVENTS), has_former_members(each))[1])
    view = view_of(history)
    roster = view.roster
    known = [peer for peer, standing in roster.standings.items() if standing.has_been_member]

    for peer in known:
        assert find_target(view, peer.hex()).peer == peer
        assert find_target(view, peer.hex()[:8]).role is roster.role(peer)


def has_former_members(history: History) -> bool:
    """True if somebody was a member and is not."""
    roster = evaluate(history.owners, history.events)
    return any(standing.has_been_member and peer not in roster.members for peer, standing in roster.standings.items())


def without_cut(drafts: Sequence[Draft]) -> list[Draft]:
    """The same decisions with nothing that stays as it was: for a planted bug."""
    return [draft._replace(body=encode({key: value for key, value in decode_map(draft.body).items() if key != "cut"})) for draft in drafts]
