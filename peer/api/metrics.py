"""`/metrics`: the numbers of this peer in the words of Prometheus.

The only module that imports `prometheus_client`; it does so when somebody asks for them, since most peers are watched by nobody.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from aiohttp import web

from peer.api.routes import Route
from peer.api.transfer_services import CountingService
from peer.core.access import Tier
from peer.core.counts import Count

if TYPE_CHECKING:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

PREFIX = "recmesh_"
PLAIN_TYPE = "text/plain"


class MetricsRoutes:
    """Handlers, for these services."""

    def __init__(self, counting: CountingService) -> None:
        """Does nothing yet."""
        self._counting = counting

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        return (Route("GET", "/metrics", self.metrics, "Numbers for Prometheus", content=(PLAIN_TYPE,), tier=Tier.VIEWER),)

    async def metrics(self, _: web.Request) -> web.Response:
        """All of them, now."""
        from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4  # noqa: PLC0415  (see the module's docstring)

        counts = await self._counting.counts()
        return web.Response(body=exposed(counts), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


def exposed(counts: Iterable[Count]) -> bytes:
    """The text that Prometheus reads."""
    from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415  (see the module's docstring)

    registry = CollectorRegistry()
    registry.register(_Now(counts))
    return generate_latest(registry)


class _Now:
    """What was counted just now."""

    def __init__(self, counts: Iterable[Count]) -> None:
        self._counts = sorted(counts, key=lambda count: count.name)

    def collect(self) -> Iterator["GaugeMetricFamily | CounterMetricFamily"]:
        """All of them, by name."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily  # noqa: PLC0415  (see the module's docstring)

        for name, found in groupby(self._counts, key=lambda count: count.name):
            rows = list(found)
            kind = CounterMetricFamily if rows[0].only_grows else GaugeMetricFamily
            family = kind(PREFIX + name, rows[0].text, labels=list(rows[0].labels))
            for row in rows:
                family.add_metric(list(row.labels.values()), row.value)
            yield family
