"""What may happen to what a hub knows, and who hears of it."""

from dataclasses import replace

import pytest

from peer.hub import registry
from peer.hub.limits import (
    AGENTS_MAX,
    HIVES_MAX,
    HIVES_PER_AGENT_MAX,
    HIVES_PER_SWARM_MAX,
    KEYS_MAX,
    SWARMS_MAX,
    SWARMS_PER_AGENT_MAX,
)
from peer.hub.records import OPERATOR, Agent, Change, Hive, Key, Moment, State, Swarm
from peer.hub.refusal import RefusedError

NOW = Moment(1_790_000_000_000, 5_000)
STALE_MS = 1000


def later(ms: int) -> Moment:
    return Moment(NOW.ms + ms, NOW.steady_ms + ms)


def agent(name: str, hive: str | None = None) -> Agent:
    return Agent(f"id-{name}", name, None, name.encode().ljust(32, b"."), hive, NOW.ms)


def hive(name: str, *members: str, is_public: bool = True, owner: str = OPERATOR) -> Hive:
    return Hive(f"id-{name}", name, None, owner, is_public, None, NOW.ms, NOW.ms, frozenset(f"id-{each}" for each in members))


def swarm(name: str, owner: str, *hives: str) -> Swarm:
    return Swarm(f"swarm-{name}", f"id-{owner}", name, f"https://{name}:1", NOW.ms, NOW.ms, NOW.ms, hives=frozenset(f"id-{each}" for each in hives))


def key(name: str, uses: int = 1, in_hive: str | None = None, expires_ms: int | None = None) -> Key:
    return Key(f"pak_{name}", name.encode().ljust(32, b"."), in_hive and f"id-{in_hive}", uses, expires_ms, OPERATOR, NOW.ms)


def state(*entries: Agent | Hive | Swarm | Key) -> State:
    def of(kind: type) -> dict[str, object]:
        return {each.id: each for each in entries if isinstance(each, kind)}

    made = State(of(Agent), of(Hive), of(Swarm), of(Key))  # type: ignore[arg-type]
    return registry.begin(made, NOW)


def refused(work: object, *arguments: object) -> tuple[int, str]:
    with pytest.raises(RefusedError) as caught:
        work(*arguments)  # type: ignore[operator]
    return caught.value.status, caught.value.error


def told(change: Change) -> list[tuple[str, tuple[str, ...], set[str]]]:
    return [(each.type, each.channels, {name.removeprefix("id-") for name in each.audience}) for each in change.announcements]


LAB = state(agent("a"), agent("b"), agent("x"), hive("lab", "a", "b"), hive("other", "x"), swarm("one", "a", "lab"), swarm("two", "b", "lab"))


def test_a_key_lets_as_many_in_as_it_has_uses() -> None:
    one = state(key("k", uses=2))

    one = registry.register_agent(one, agent("a"), key("k").digest, NOW).state
    one = registry.register_agent(one, agent("b"), key("k").digest, NOW).state

    assert set(one.agents) == {"id-a", "id-b"}
    assert one.keys["pak_k"].uses_left == 0
    assert one.keys["pak_k"].last_used_ms == NOW.ms
    assert refused(registry.register_agent, one, agent("c"), key("k").digest, NOW) == (401, "INVALID_PREAUTH_KEY")


def test_a_name_that_is_taken_uses_no_key() -> None:
    taken = state(key("k"), agent("Arm"))

    assert refused(registry.register_agent, taken, replace(agent("new"), name="arm"), key("k").digest, NOW) == (409, "Conflict")
    assert taken.keys["pak_k"].uses_left == 1


def test_an_expired_key_lets_nobody_in() -> None:
    held = state(key("k", expires_ms=NOW.ms + 10))

    assert registry.valid_key(held, key("k").digest, NOW.ms + 9).id == "pak_k"
    assert refused(registry.valid_key, held, key("k").digest, NOW.ms + 10) == (401, "INVALID_PREAUTH_KEY")


def test_who_comes_with_a_key_for_a_hive_is_in_it_with_what_it_registers() -> None:
    begun = state(key("k", in_hive="lab"), hive("lab", "b", is_public=False), agent("b"))

    come = registry.register_agent(begun, agent("a"), key("k").digest, NOW).state
    change = registry.register_swarm(come, swarm("one", "a"), None, NOW)

    assert come.hives["id-lab"].members == {"id-a", "id-b"}
    assert change.state.swarms["swarm-one"].hives == {"id-lab"}
    assert told(change) == [
        ("swarm_registered", ("map:discovery",), {"a", "b"}),
        ("swarm_joined_hive", ("map:hive:id-lab",), {"a", "b"}),
    ]


def test_who_shows_the_key_again_that_it_came_with_does_not_use_it_again() -> None:
    """Clients of other hubs show the same key with all that they register."""
    come = registry.register_agent(state(key("k", in_hive="lab"), hive("lab")), agent("a"), key("k").digest, NOW).state

    again = registry.register_swarm(come, swarm("one", "a"), key("k").digest, later(1)).state

    assert again.keys["pak_k"].uses_left == 0
    assert again.swarms["swarm-one"].hives == {"id-lab"}
    assert refused(registry.register_swarm, replace(again, keys={}), swarm("two", "a"), key("k").digest, NOW) == (401, "INVALID_PREAUTH_KEY")


def test_another_key_lets_a_swarm_into_another_hive() -> None:
    held = state(agent("a"), key("k", in_hive="other"), hive("other", "x", is_public=False), agent("x"))

    change = registry.register_swarm(held, swarm("one", "a"), key("k").digest, NOW)

    assert change.state.keys["pak_k"].uses_left == 0
    assert change.state.hives["id-other"].members == {"id-a", "id-x"}
    assert refused(registry.register_swarm, change.state, swarm("two", "a"), key("k").digest, NOW) == (401, "INVALID_PREAUTH_KEY")


def test_a_private_hive_is_joined_with_a_key_for_it_alone() -> None:
    held = state(agent("a"), agent("b"), hive("shut", "b", is_public=False), hive("open", "b"), swarm("one", "a"), swarm("two", "b"))

    assert refused(registry.join_hive, held, "id-a", "swarm-one", "shut", NOW) == (403, "NOT_HIVE_MEMBER")
    assert registry.join_hive(held, "id-b", "swarm-two", "shut", NOW).state.swarms["swarm-two"].hives == {"id-shut"}
    joined = registry.join_hive(held, "id-a", "swarm-one", "open", NOW)
    assert joined.state.hives["id-open"].members == {"id-a", "id-b"}
    assert told(joined) == [("swarm_joined_hive", ("map:hive:id-open",), {"a", "b"})]
    assert registry.join_hive(joined.state, "id-a", "swarm-one", "open", NOW).announcements == ()
    assert refused(registry.join_hive, held, "id-a", "swarm-one", "nowhere", NOW) == (404, "HIVE_NOT_FOUND")


def test_nobody_sees_what_it_shares_no_hive_with() -> None:
    assert registry.may_see(LAB, "id-a", LAB.swarms["swarm-two"])
    assert not registry.may_see(LAB, "id-x", LAB.swarms["swarm-two"])
    assert registry.may_see(state(agent("a"), swarm("one", "a")), "id-a", swarm("one", "a"))


@pytest.mark.parametrize("work", [registry.heartbeat, registry.update_swarm, registry.remove_swarm, registry.join_hive, registry.leave_hive])
@pytest.mark.parametrize("name", ["swarm-two", "swarm-none"])
def test_nobody_changes_what_is_anothers_or_not_there(work: object, name: str) -> None:
    rest = {
        registry.heartbeat: (NOW,),
        registry.update_swarm: ({"name": "mine"}, NOW),
        registry.remove_swarm: (),
        registry.join_hive: ("lab", NOW),
        registry.leave_hive: ("lab", NOW),
    }[work]  # type: ignore[index]

    assert refused(work, LAB, "id-a", name, *rest) == (403, "NOT_SWARM_OWNER")


def test_who_falls_silent_is_offline_and_those_of_its_hives_are_told() -> None:
    heard = registry.heartbeat(LAB, "id-a", "swarm-one", later(600)).state

    early = registry.go_stale(heard, later(999), STALE_MS)
    change = registry.go_stale(heard, later(1000), STALE_MS)

    assert (early.state.swarms, early.announcements, early.is_durable) == (heard.swarms, (), False)
    assert {each.name: each.status for each in change.state.swarms.values()} == {"one": "online", "two": "offline"}
    channels = ("map:discovery", "map:hive:id-lab", "map:swarm:swarm-two")
    assert told(change) == [("swarm_offline", channels, {"a", "b"})]
    assert change.is_durable
    assert registry.go_stale(change.state, later(1500), STALE_MS).announcements == ()


def test_who_is_heard_of_again_is_online_and_those_of_its_hives_are_told() -> None:
    silent = registry.go_stale(LAB, later(1000), STALE_MS).state

    change = registry.heartbeat(silent, "id-b", "swarm-two", later(2000))

    assert [(each[0], each[2]) for each in told(change)] == [("swarm_online", {"a", "b"})]
    assert change.state.swarms["swarm-two"].last_seen_ms == NOW.ms + 2000
    assert change.is_durable
    assert not registry.heartbeat(change.state, "id-b", "swarm-two", later(2100)).is_durable
    assert registry.go_stale(change.state, later(2999), STALE_MS).announcements == ()


def test_a_clock_that_jumps_makes_nobody_silent() -> None:
    jumped = Moment(NOW.ms + 10 * 365 * 24 * 3600 * 1000, NOW.steady_ms + 1)

    assert registry.go_stale(LAB, jumped, STALE_MS).announcements == ()


def test_a_restart_of_the_hub_makes_nobody_silent() -> None:
    """What was kept is as old as it is: time counts from when the hub listens again."""
    again = registry.begin(replace(LAB, heard={}), Moment(NOW.ms + 10**9, 7))

    assert registry.go_stale(again, Moment(NOW.ms + 10**9, 7 + STALE_MS - 1), STALE_MS).announcements == ()
    assert len(registry.go_stale(again, Moment(NOW.ms + 10**9, 7 + STALE_MS), STALE_MS).announcements) == 2


def test_its_own_word_makes_a_swarm_offline_at_once() -> None:
    change = registry.update_swarm(LAB, "id-a", "swarm-one", {"status": "offline"}, later(5))

    assert [each[0] for each in told(change)] == ["swarm_offline"]
    assert "swarm-one" not in change.state.heard
    back = registry.update_swarm(change.state, "id-a", "swarm-one", {"status": "unreachable"}, later(6))
    assert [each[0] for each in told(back)] == ["swarm_online"]


def test_an_address_is_given_once_but_one_that_is_offline_makes_room_for_a_site_of_its_hive() -> None:
    """A site that was set up anew comes back with another credential."""
    anew, stranger = replace(swarm("new", "b"), map_endpoint="https://one:1"), replace(swarm("new", "x"), map_endpoint="https://one:1")
    silent = registry.update_swarm(LAB, "id-a", "swarm-one", {"status": "offline"}, NOW).state

    assert refused(registry.register_swarm, LAB, anew, None, NOW) == (409, "DUPLICATE_ENDPOINT")
    assert refused(registry.register_swarm, silent, stranger, None, NOW) == (409, "DUPLICATE_ENDPOINT")
    assert refused(registry.update_swarm, LAB, "id-b", "swarm-two", {"map_endpoint": "https://one:1"}, NOW) == (409, "DUPLICATE_ENDPOINT")
    change = registry.register_swarm(silent, anew, None, NOW)
    assert set(change.state.swarms) == {"swarm-new", "swarm-two"}
    assert told(change)[0] == ("swarm_left_hive", ("map:hive:id-lab",), {"a", "b"})


def test_who_is_forgotten_leaves_nothing_behind() -> None:
    own = registry.create_hive(LAB, hive("own", "a", owner="id-a")).state

    change = registry.forget(own, "id-a")

    assert set(change.state.agents) == {"id-b", "id-x"}
    assert set(change.state.swarms) == set(change.state.heard) == {"swarm-two"}
    assert set(change.state.hives) == {"id-lab", "id-other"}
    assert change.state.hives["id-lab"].members == {"id-b"}
    assert [each[0] for each in told(change)] == ["swarm_left_hive"]
    assert registry.agent_of(change.state, agent("a").digest) is None


def test_who_was_forgotten_a_moment_ago_makes_nothing() -> None:
    assert refused(registry.register_swarm, LAB, swarm("late", "gone"), None, NOW) == (401, "Unauthorized")
    assert refused(registry.create_hive, LAB, hive("late", "gone", owner="id-gone")) == (401, "Unauthorized")


def test_leaving_is_told_and_may_be_said_twice() -> None:
    change = registry.leave_hive(LAB, "id-a", "swarm-one", "lab", NOW)

    assert change.state.swarms["swarm-one"].hives == frozenset()
    assert told(change) == [("swarm_left_hive", ("map:hive:id-lab",), {"a", "b"})]
    assert registry.leave_hive(change.state, "id-a", "swarm-one", "lab", NOW).announcements == ()
    assert refused(registry.leave_hive, LAB, "id-a", "swarm-one", "other", NOW) == (404, "HIVE_NOT_FOUND")


def test_a_hub_holds_so_much_and_no_more() -> None:
    full = (403, "LIMIT_REACHED")
    agents = state(key("k", AGENTS_MAX + 1), *(agent(f"n{number}") for number in range(AGENTS_MAX)))
    mine = [hive(f"h{number}", owner="id-a") for number in range(HIVES_PER_AGENT_MAX)]
    many = [hive(f"h{number}", "a") for number in range(HIVES_PER_SWARM_MAX + 1)]
    crowd = state(agent("a"), *(swarm(f"s{number}", f"n{number}") for number in range(SWARMS_MAX)))
    busy = state(agent("a"), *(swarm(f"s{number}", "a") for number in range(SWARMS_PER_AGENT_MAX)))
    in_all = state(agent("a"), *many, swarm("one", "a", *(each.name for each in many[:-1])))

    assert refused(registry.register_agent, agents, agent("late"), key("k").digest, NOW) == full
    assert refused(registry.create_hive, state(agent("a"), *mine), hive("late", owner="id-a")) == full
    assert refused(registry.create_hive, state(*(hive(f"h{number}") for number in range(HIVES_MAX))), hive("late")) == full
    assert refused(registry.register_swarm, crowd, swarm("late", "a"), None, NOW) == full
    assert refused(registry.register_swarm, busy, swarm("late", "a"), None, NOW) == full
    assert refused(registry.join_hive, in_all, "id-a", "swarm-one", many[-1].name, NOW) == full


def test_keys_that_let_nobody_in_make_room() -> None:
    valid = [key(f"k{number}") for number in range(KEYS_MAX - 1)]

    change = registry.add_key(state(*valid, key("spent", uses=0)), key("new"), NOW)

    assert set(change.state.keys) == {each.id for each in valid} | {"pak_new"}
    assert refused(registry.add_key, change.state, key("late"), NOW) == (403, "LIMIT_REACHED")
