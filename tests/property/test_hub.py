"""Random histories of a hub: keys let in as many as they may, nobody sees or hears of what it shares no hive with, silence is announced once."""

from collections import Counter
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from peer.hub import registry
from peer.hub.records import OPERATOR, Agent, Announcement, Change, Hive, Key, Moment, State, Swarm
from peer.hub.refusal import RefusedError

NAMES = "abcde"
HIVES = ("one", "two", "open")
STALE_MS = 50
STEPS_MAX = 60


class Step(NamedTuple):
    """Somebody does something."""

    what: str
    agent: str
    other: str
    hive: str
    ms: int


STEP = st.builds(
    Step,
    st.sampled_from(["come", "register", "register with key", "beat", "beat", "join", "leave", "update", "remove", "forget", "sweep", "sweep"]),
    st.sampled_from(NAMES),
    st.sampled_from(NAMES),
    st.sampled_from(HIVES),
    st.integers(0, 40),
)


def digest(name: str) -> bytes:
    return name.encode().ljust(32, b".")


def begun() -> State:
    hives = {name: Hive(name, name, None, OPERATOR, name == "open", None, 0, 0) for name in HIVES}
    keys = {name: Key(name, digest(name), name if name != "open" else None, 2, None, OPERATOR, 0) for name in HIVES}
    return State(hives=hives, keys=keys)


def take(state: State, step: Step, now: Moment) -> Change:  # noqa: PLR0911  (one for each kind of step)
    agent, swarm = step.agent, f"s-{step.agent}"
    new = Swarm(swarm, agent, swarm, f"https://{agent}:1", now.ms, now.ms, now.ms)
    match step.what:
        case "come":
            return registry.register_agent(state, Agent(agent, agent, None, digest(agent), None, now.ms), digest(step.hive), now)
        case "register":
            return registry.register_swarm(state, new, None, now)
        case "register with key":
            return registry.register_swarm(state, new, digest(step.hive), now)
        case "beat":
            return registry.heartbeat(state, agent, f"s-{step.other}" if step.ms == 0 else swarm, now)
        case "join":
            return registry.join_hive(state, agent, swarm, step.hive, now)
        case "leave":
            return registry.leave_hive(state, agent, swarm, step.hive, now)
        case "update":
            return registry.update_swarm(state, agent, swarm, {"status": "offline"} if step.ms % 2 else {"name": "x"}, now)
        case "remove":
            return registry.remove_swarm(state, agent, swarm)
        case "forget":
            return registry.forget(state, agent)
        case _:
            return registry.go_stale(state, now, STALE_MS)


def check_hearers(before: State, after: State, announced: tuple[Announcement, ...]) -> None:
    """Raise if somebody hears of a swarm that may see it neither before nor after."""
    for each in announced:
        name = str(each.data["swarm_id"])
        for agent in each.audience:
            sights = [registry.may_see(state, agent, state.swarms[name]) for state in (before, after) if name in state.swarms]
            assert any(sights), (each, agent)


@given(st.lists(STEP, max_size=STEPS_MAX))
def test_a_hub_stays_what_it_promises_whatever_is_asked_of_it(steps: list[Step]) -> None:
    state, now_ms = begun(), 0
    let_in: Counter[str] = Counter()
    heard: dict[str, int] = {}
    for step in steps:
        now_ms += step.ms
        try:
            change = take(state, step, Moment(now_ms, now_ms))
        except RefusedError:
            continue
        used = {name: state.keys[name].uses_left - change.state.keys[name].uses_left for name in HIVES}
        let_in.update({name: count for name, count in used.items() if count})
        assert sum(used.values()) == (step.what == "come") + (step.what == "register with key" and state.agents[step.agent].key != step.hive)
        check_hearers(state, change.state, change.announcements)
        changed = {name for name, swarm in change.state.swarms.items() if name in state.swarms and swarm.status != state.swarms[name].status}
        turned = {str(each.data["swarm_id"]) for each in change.announcements if each.type in ("swarm_offline", "swarm_online")}
        assert changed == turned
        if step.what in ("register", "register with key", "beat", "update"):
            heard[change.made] = now_ms
        state = change.state
        if step.what == "sweep":
            assert {name for name, swarm in state.swarms.items() if swarm.status == "online"} <= {
                n for n, at in heard.items() if now_ms - at < STALE_MS
            }
        for swarm in state.swarms.values():
            assert swarm.owner in state.agents
            assert all(swarm.owner in state.hives[hive].members for hive in swarm.hives)
            assert (swarm.id in state.heard) == (swarm.status != "offline")
        assert all(key.uses_left >= 0 for key in state.keys.values())
    assert all(count <= 2 for count in let_in.values())
