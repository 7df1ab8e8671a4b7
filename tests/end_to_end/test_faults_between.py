"""A peer dies in the middle of something, and what is in between answers in its stead: 413, then 429, then nothing. Both agree afterwards."""

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from tests.counting_proxy import NOTHING, CountingProxy, proxy_in_background, refusal
from tests.end_to_end.processes import Site, agree, found, join, wait_until
from tests.end_to_end.test_kills import write_bag

CONVERGE_S = 90.0
"""An address that says nothing is given up after ten seconds, and back-off may be a few more."""


class Fault(NamedTuple):
    """Who dies where, and what is answered afterwards."""

    failpoint: str
    at: str
    offline: bool
    """True if the taker is away while there is something new: then it backfills."""
    answers: tuple[bytes, ...]


BUSY = (refusal(413), refusal(413), refusal(429, "Retry-After: 1"))
"""The first two answer a WebSocket, and what is tried in its place."""

FAULTS = (
    Fault("push.after_send", "adder", offline=False, answers=(*BUSY, NOTHING)),
    Fault("sync.after_store", "taker", offline=True, answers=BUSY),
    Fault("sync.between_pages", "adder", offline=True, answers=BUSY),
)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Site, Site, CountingProxy]]:
    """Two sites, of which only the first can be dialled, and that only through a proxy."""
    adder, taker = Site("adder", tmp_path / "a"), Site("taker", tmp_path / "b")
    with proxy_in_background(f"http://127.0.0.1:{adder.listen}") as proxy:
        _start(adder, proxy)
        found(adder)
        _start(taker, proxy)
        join(adder, taker)
        yield adder, taker, proxy
        for site in (adder, taker):
            if site.is_running:
                site.kill()


def test_after_deaths_and_refusals_both_agree_without_a_write_or_a_restart(pair: tuple[Site, Site, CountingProxy], tmp_path: Path) -> None:
    """In mid-push, in mid-backfill, in mid-page; the other side goes on running, and nobody touches anything but what died."""
    adder, taker, proxy = pair
    deaths: Counter[str] = Counter()
    for number, fault in enumerate(FAULTS):
        victim = adder if fault.at == "adder" else taker
        record = tmp_path / f"hit-{number}"
        failing = {"RECMESH_FAILPOINT": fault.failpoint, "RECMESH_FAILPOINT_FILE": str(record)}
        write_bag(tmp_path / f"bag-{number}.mcap", number)
        if fault.offline:
            taker.stop()
        if victim is adder:
            adder.stop()
            _start(adder, proxy, failing)
        wait_until(lambda fault=fault: fault.offline or _is_linked(taker), "they are linked")
        try:
            adder.add(tmp_path / f"bag-{number}.mcap")
        except httpx.TransportError:
            assert victim is adder
        if fault.offline:
            _start(taker, proxy, failing if victim is taker else None)
        assert victim.died() == -9
        proxy.faults.extend(fault.answers)
        _start(victim, proxy)
        deaths[fault.failpoint] += len(record.read_text().split())
        recordings = len(adder.recordings())
        assert recordings == number + 1, "what was durable before the announcement is there"
        wait_until(lambda recordings=recordings: not proxy.faults and agree([adder, taker], recordings), f"both agree after {fault}", CONVERGE_S)
    print(f"{sum(deaths.values())} deaths: {dict(deaths)}; answers in between: {dict(proxy.happened)}")  # noqa: T201
    assert deaths == {fault.failpoint: 1 for fault in FAULTS}
    assert proxy.happened["413"] == 2 * len(FAULTS)
    assert proxy.happened["429"] == len(FAULTS)
    assert proxy.happened["nothing"] == 1


def _start(site: Site, proxy: CountingProxy, environment: dict[str, str] | None = None) -> None:
    front = {"RECMESH_ADVERTISE": json.dumps([proxy.url])} if site.name == "adder" else {"RECMESH_LISTEN": "none"}
    site.start({**front, **(environment or {})})


def _is_linked(site: Site) -> bool:
    return any(link["phase"] == "push" for link in site.status()["links"])
