"""Which bytes come to a site by its rules: what a dry run says, what travels as proxies count it, and what the test itself expects."""

import asyncio
import random
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest

from peer.api.policy_models import Policy, PolicyTried
from peer.core.group import read_invitation
from peer.operations import adding
from tests.conftest import LONG
from tests.counting_proxy import CountingProxy, counting_proxy
from tests.integration.running_peer import RunningPeer, running_peer
from tests.mcap_samples import write_mcap
from tests.patience import PATIENCE_S

GROUPS = "/api/v1/sync/groups"
RECORDINGS = "/api/v1/recordings"
LAB = "/api/v1/policies/lab"
RULE_SETS = 1000 if LONG else 100
HOUR_NS = 3600 * 10**9
KB = 1000
AGES_H = (0, 10, 100, 1000)
TAGS = ("crash", "night", "rain", "cr*sh")
LABELS = ("pothole", "near miss")
MACHINES = ("truck-7", "truck-8", "")
OPERATORS = ("alice", "bob")
RECORDED = 10
HEAD_SIZE_MAX = 3000
"""Of the answers with which a file comes."""
HEADS_BESIDE = 20
"""As much as that may cross beside files: links say more than what they are asked."""


class Made(NamedTuple):
    """A recording, as the test made it."""

    name: str
    site: str
    blob: str
    size: int
    age_h: int
    tags: frozenset[str]
    machine: str
    operator: str | None
    labels: frozenset[str]
    topics: frozenset[str]
    closed: bool


@dataclass
class Scene:
    """Two sites that record, one that keeps what its rules say, and proxies between them."""

    folder: Path
    recorders: dict[str, RunningPeer]
    keeper: RunningPeer
    proxies: list[CountingProxy]
    recordings: list[Made]

    def asked(self) -> Counter[str]:
        """How often bytes of each blob were asked for."""
        return sum((proxy.blobs for proxy in self.proxies), Counter())

    def carried(self) -> int:
        """Bytes that came to the keeper."""
        return sum(proxy.carried["out"] for proxy in self.proxies)

    def here(self) -> dict[str, Path]:
        """The files of recordings on the keeper's disk, whatever it says."""
        blobs = {each.blob for each in self.recordings}
        return {path.name: path for path in (self.keeper.root / "blobs").glob("??/??/*") if path.name in blobs}

    async def set(self, *rules: str) -> Any:
        return await self.keeper.call("PATCH", LAB, json={"rules": list(rules)}, model=Policy)

    async def dry_run(self, *rules: str) -> Any:
        if rules:
            return await self.keeper.post(f"{LAB}/dry-run", {"rules": list(rules)}, PolicyTried)
        return await self.keeper.get(f"{LAB}/dry-run", PolicyTried)

    async def holds(self, blobs: Iterable[str]) -> None:
        """Wait until the keeper has these bytes, nothing else, and nothing is on its way."""
        wanted = set(blobs)
        try:
            async with asyncio.timeout(PATIENCE_S):
                while self.here().keys() != wanted or await self.keeper.get("/api/v1/transfers"):  # noqa: ASYNC110  (a disk)
                    await asyncio.sleep(0.01)
        except TimeoutError:
            names = {each.blob: each.name for each in self.recordings}
            wrong = {names[blob] for blob in wanted ^ self.here().keys()}
            raise AssertionError(f"of {wrong}: {await self.keeper.get('/api/v1/transfers')}") from None

    async def empty(self) -> None:
        """Keep nothing, and have nothing."""
        await self.set("none")
        for path in self.here().values():
            path.unlink()


async def record(scene: Scene, chance: random.Random, number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One more recording, with whatever chance says."""
    site, age_h, topics = chance.choice(sorted(scene.recorders)), chance.choice(AGES_H), chance.randrange(1, 5)
    name, machine, closed = f"run-{number}", chance.choice(MACHINES), chance.random() < 0.8
    tags = frozenset(chance.sample(TAGS, chance.randrange(3)))
    path = write_mcap(scene.folder / f"{name}.mcap", messages=4, topics=topics, payload=chance.randbytes(chance.choice([500, 4000, 12_000])))
    with monkeypatch.context() as patch:
        patch.setattr(adding, "time", SimpleNamespace(time_ns=lambda: time.time_ns() - age_h * HOUR_NS))
        order = {"paths": [str(path)], "group": "lab", "tags": sorted(tags), "machine": machine or None, "open": not closed}
        added = await scene.recorders[site].post(RECORDINGS, order)
    one, operator = f"{RECORDINGS}/{added['id']}", chance.choice([None, *OPERATORS])
    if operator is not None:
        await scene.recorders[site].call("PATCH", one, json={"properties": {"operator": operator}})
    labels = frozenset(chance.sample(LABELS, chance.randrange(3)))
    for label in labels:
        await scene.recorders[site].post(f"{one}/annotations", {"label": label})
    names = frozenset(f"/topic_{topic}" for topic in range(topics))
    blob, size = added["chunks"][0]["blob_id"], path.stat().st_size
    scene.recordings.append(Made(name, site, blob, size, age_h, tags, machine, operator, labels, names, closed))


@asynccontextmanager
async def made_scene(folder: Path) -> AsyncIterator[Scene]:
    """Nobody keeps anything of the others."""
    async with AsyncExitStack() as stack:
        settings: dict[str, object] = {"fetch": "none", "gossip": {"enabled": False}}
        peers = [await stack.enter_async_context(running_peer(folder / name, name, **settings)) for name in ("alpha", "gamma", "keeper")]
        alpha, gamma, keeper = peers
        proxies = [await stack.enter_async_context(counting_proxy(f"http://{recorder.listen}")) for recorder in (alpha, gamma)]
        await alpha.post(GROUPS, {"name": "lab"})
        for peer in (gamma, keeper):
            made = await alpha.post(f"{GROUPS}/lab/invitations", {"role": "writer", "expires_in_ms": 600_000})
            invitation = read_invitation(made["invitation"])
            through = invitation._replace(endpoint=proxies[0].url) if peer is keeper else invitation
            await peer.post(f"{GROUPS}/join", {"invitation": through.to_text()})
        known = {"name": "gamma", "sync_endpoint": proxies[1].url, "peer_id": gamma.peer_id, "shared_groups": ["lab"]}
        await keeper.post("/api/v1/sync/peers", known)
        yield Scene(folder, {"alpha": alpha, "gamma": gamma}, keeper, proxies, [])


Condition = tuple[str, Callable[[Made], bool]]
"""As a rule has it, and as the test understands it."""


def condition(chance: random.Random, scene: Scene) -> Condition:
    """Of any kind."""
    tag, label, operator, machine = chance.choice(TAGS[:3]), chance.choice(LABELS), chance.choice(OPERATORS), chance.choice(MACHINES[:2])
    site, topic, number, size = chance.choice(sorted(scene.recorders)), f"/topic_{chance.randrange(4)}", chance.randrange(3), chance.choice([5, 30])
    age = chance.choice([5, 50, 500])
    conditions: list[Condition] = [
        (f"tag={tag}", lambda made: tag in made.tags),
        (f"tag!={tag}", lambda made: tag not in made.tags),
        ("tag=cr*sh", lambda made: bool(made.tags & {"crash", "cr*sh"})),
        (f"property=operator={operator}", lambda made: made.operator == operator),
        (f"property!=operator={operator}", lambda made: made.operator != operator),
        ("property=operator", lambda made: made.operator is not None),
        (f"site={site.upper()}", lambda made: made.site == site),
        (f"site!={scene.recorders[site].peer_id[:10]}", lambda made: made.site != site),
        (f"machine={machine}", lambda made: made.machine == machine),
        ("machine=truck-*", lambda made: bool(made.machine)),
        (f"name=RUN*-{number}", lambda made: made.name == f"run-{number}"),
        (f"topic={topic}", lambda made: topic in made.topics),
        (f"topic!=*_{number}", lambda made: f"/topic_{number}" not in made.topics),
        ("schema=std_msgs/*", lambda _: True),
        (f"annotation='{label}'", lambda made: label in made.labels),
        (f"'annotation!={label}'", lambda made: label not in made.labels),
        ("state=open", lambda made: not made.closed),
        ("state!=open", lambda made: made.closed),
        (f"age<{age}h", lambda made: made.age_h < age),
        (f"age>={age * 3600}s", lambda made: made.age_h >= age),
        (f"size<={size}kB", lambda made: made.size <= size * KB),
        (f"size>{size * KB}B", lambda made: made.size > size * KB),
    ]
    return chance.choice(conditions)


Rules = list[tuple[bool, list[Condition]]]


def random_rules(chance: random.Random, scene: Scene) -> tuple[list[str], Rules]:
    """What people might write, and what it means."""
    rules: Rules = [(chance.random() < 0.6, [condition(chance, scene) for _ in range(chance.randrange(1, 4))]) for _ in range(chance.randrange(1, 5))]
    if chance.random() < 0.4:
        rules.append((chance.random() < 0.7, []))
    texts = []
    for keep, conditions in rules:
        action = f"keep@{chance.randrange(-9, 10)}" if keep and chance.random() < 0.3 else "keep" if keep else "skip"
        texts.append(" ".join([action, *(text for text, _ in conditions)]))
    return texts, rules


def kept(rules: Rules, recordings: Iterable[Made]) -> set[Made]:
    """What rules keep, by the test's own reading of them."""
    found = set()
    for made in recordings:
        first = next((keep for keep, conditions in rules if all(fits(made) for _, fits in conditions)), False)
        found |= {made} if first else set()
    return found


async def test_what_a_dry_run_says_is_what_travels_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random rules, one set after the other. What crosses is seen at proxies, what is here on the disk."""
    chance = random.Random(7)
    figures: Counter[str] = Counter()
    async with made_scene(tmp_path) as scene:
        for number in range(RECORDED):
            await record(scene, chance, number, monkeypatch)
        ids = {made.name: (await scene.keeper.until(f"{RECORDINGS}/{made.name}", lambda _: True))["id"] for made in scene.recordings}
        await scene.keeper.until(f"{LAB}/dry-run", lambda tried: len(tried["recordings"]) == RECORDED)
        for _ in range(RULE_SETS):
            texts, rules = random_rules(chance, scene)
            expected = kept(rules, scene.recordings)
            before, carried = scene.asked(), scene.carried()

            tried = await scene.dry_run(*texts)
            await scene.set(*texts)
            await scene.holds(each.blob for each in expected)

            size, crossed = sum(each.size for each in expected), scene.carried() - carried
            coming = {each["id"] for each in tried["recordings"] if each["travels_bytes"]}
            assert coming == {ids[each.name] for each in expected}, texts
            assert tried["travels"] == {"recordings": len(expected), "files": len(expected), "bytes": size}, texts
            assert sum(path.stat().st_size for path in scene.here().values()) == size
            assert set(scene.asked() - before) == {each.blob for each in expected}, texts
            assert size <= crossed <= size + HEAD_SIZE_MAX * (len(expected) + HEADS_BESIDE), texts
            figures.update(sets=1, some=0 < len(expected) < RECORDED, all=len(expected) == RECORDED, files=len(expected), bytes=size)
            await scene.empty()
    print("rule sets and what travelled:", dict(figures))  # noqa: T201  (what was tried)
    assert figures["some"] >= RULE_SETS // 2
    assert figures["files"] >= RULE_SETS


async def add(scene: Scene, name: str, created_ns: int | None = None, **order: object) -> tuple[str, str]:
    """A recording of alpha; its id, and that of its bytes."""
    path = write_mcap(scene.folder / f"{name}.mcap", payload=name.encode())
    with pytest.MonkeyPatch.context() as patch:
        if created_ns is not None:
            patch.setattr(adding, "time", SimpleNamespace(time_ns=lambda: created_ns))
        added = await scene.recorders["alpha"].post(RECORDINGS, {"paths": [str(path)], **order})
    scene.recordings.append(Made(name, "alpha", added["chunks"][0]["blob_id"], 0, 0, frozenset(), "", None, frozenset(), frozenset(), closed=True))
    return added["id"], scene.recordings[-1].blob


async def test_what_changes_about_a_recording_brings_it(tmp_path: Path) -> None:
    async with made_scene(tmp_path) as scene:
        await scene.set("keep tag=crash", "keep 'annotation=near miss' property=operator", "keep state=complete name=growing", "skip")
        (tagged, first), (said, second), (growing, third) = [await add(scene, name, open=name == "growing") for name in ("tagged", "said", "growing")]
        ones = [f"{RECORDINGS}/{each}" for each in (tagged, said, growing)]
        alpha = scene.recorders["alpha"]
        await scene.keeper.until(f"{LAB}/dry-run", lambda tried: [each["keep"] for each in tried["recordings"]] == [False] * 3)
        await scene.holds([])

        await alpha.post(f"{ones[0]}/tags", {"add": ["crash"]})
        await scene.holds([first])
        await alpha.post(f"{ones[1]}/annotations", {"label": "near miss"})
        await alpha.call("PATCH", ones[1], json={"properties": {"operator": "alice"}})
        await scene.holds([first, second])
        await alpha.post(f"{ones[2]}/finalize")
        await scene.holds([first, second, third])


async def test_a_recording_comes_once_it_is_old_enough_and_not_before(tmp_path: Path) -> None:
    async with made_scene(tmp_path) as scene:
        await scene.set("keep age>=1h")
        due_ns = time.time_ns() + 2 * 10**9
        _, blob = await add(scene, "old", due_ns - HOUR_NS)
        await add(scene, "new")

        await scene.holds([blob])
        assert scene.here()[blob].stat().st_ctime_ns >= due_ns


async def test_rules_outlast_a_restart_and_rules_nobody_understands_bring_nothing(tmp_path: Path) -> None:
    root = tmp_path / "site"
    async with running_peer(root, "site") as peer:
        await peer.post(GROUPS, {"name": "lab"})
        before = await peer.call("PATCH", LAB, json={"rules": ["keep tag=crash", "skip"]}, model=Policy)
        assert not before["is_default"]
    async with running_peer(root, "site") as peer:
        assert await peer.get(LAB, Policy) == before
        assert await peer.get("/api/v1/policies", Policy) == [before]

    with closing(sqlite3.connect(root / "bytes.db")) as database, database:
        database.execute("UPDATE policies SET rules = ?", ('["keep moon=full"]',))
    async with running_peer(root, "site") as peer:
        shown = await peer.get(LAB, Policy)
        assert (shown["rules"], shown["is_default"]) == (["skip"], False)
        problems = {each["code"]: each for each in (await peer.get("/api/v1/status"))["problems"]}
        assert "moon" in problems["rule_invalid"]["text"]
        assert (await peer.call("PATCH", LAB, json={"rules": ["default"]}, model=Policy))["is_default"]
        assert "rule_invalid" not in {each["code"] for each in (await peer.get("/api/v1/status"))["problems"]}


async def test_requests_about_rules_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    async with running_peer(tmp_path / "site", "site") as peer:
        await peer.post(GROUPS, {"name": "lab"})
        bodies: list[object] = [{}, {"rules": []}, {"rules": "all"}, {"rules": [1]}, {"rules": ["all"] * 200}, {"rule": ["all"]}]
        for body in bodies:
            assert (await peer.call("PATCH", LAB, json=body, status=400))["code"] == "request_invalid"
        for rules in (["all", "none"], ["tag=a"], [""], ["all"] * 65, ["keep tag=" + "x" * 2000]):
            assert (await peer.call("PATCH", LAB, json={"rules": rules}, status=400))["code"] == "rule_invalid"
            assert (await peer.call("POST", f"{LAB}/dry-run", json={"rules": rules}, status=400))["code"] == "rule_invalid"
        for limit in (0, 10_001):
            assert (await peer.call("GET", f"{LAB}/dry-run", params={"limit": limit}, status=400))["code"] == "request_invalid"
            assert (await peer.call("POST", f"{LAB}/dry-run", json={"rules": ["all"], "limit": limit}, status=400))["code"] == "request_invalid"
        assert (await peer.call("GET", "/api/v1/policies/nowhere", status=404))["code"] == "not_found"
        assert (await peer.get(LAB, Policy))["is_default"]


async def test_what_waits_and_is_not_kept_any_more_is_not_fetched_and_the_rest_comes_in_the_order_of_rules(tmp_path: Path) -> None:
    async with made_scene(tmp_path) as scene:
        await scene.keeper.post("/api/v1/transfers/pause")
        added = [await add(scene, name) for name in ("low", "high", "gone", "plain")]
        low, high, gone, plain = [recording for recording, _ in added]
        await scene.set("keep@-9 name=low", "keep@9 name=high", "keep name=gone", "keep name=plain")
        listed = await scene.keeper.until("/api/v1/transfers", lambda transfers: len(transfers) == len(added))
        assert [listed[0]["recording"], listed[-1]["recording"]] == [high, low]
        assert {each["recording"]: each["reason"] for each in listed}[gone] == "rule 3: keep name=gone"

        await scene.set("keep@-9 name=low", "keep@9 name=high", "skip name=gone", "keep name=plain")
        listed = await scene.keeper.until("/api/v1/transfers", lambda transfers: len(transfers) == len(added) - 1)
        assert [each["recording"] for each in listed] == [high, plain, low]
        await scene.keeper.post("/api/v1/transfers/resume")
        await scene.holds([blob for recording, blob in added if recording != gone])
        assert added[2][1] not in scene.asked()
