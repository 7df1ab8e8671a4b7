"""Message rates of a recording over HTTP: how many messages there are over its time, topic by topic."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.rate_models import RecordingRates
from peer.api.recording_routes import RECORDINGS
from peer.api.routes import Query, Route, query_number
from peer.core.access import Tier
from peer.core.message_order import RateService

BINS_DEFAULT = 100


class RateRoutes:
    """Handlers, for this service."""

    def __init__(self, rates: RateService) -> None:
        """Does nothing yet."""
        self._rates = rates

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        queries = (
            Query("topic", "A topic that is wanted; without one, all are", repeated=True),
            Query("bins", f"Into how many equal parts its time is cut, up to 10000; {BINS_DEFAULT} without it", "integer"),
        )
        what = "How many messages it has over its time, by topic; of a recording that is elsewhere only the indexes are brought here"
        return (Route("GET", f"{RECORDINGS}/{{id}}/rates", self.rates, what, RecordingRates, query=queries, tier=Tier.VIEWER),)

    async def rates(self, request: web.Request) -> object:
        """Counts by topic and part."""
        return await self._rates.rates(request.match_info["id"], request.query.getall("topic", []), query_number(request, "bins", BINS_DEFAULT))
