"""What is said about recordings over HTTP: titles and other properties, tags, annotations, reviews; deleting one, and taking that back."""

from collections.abc import Sequence

from aiohttp import web

from peer.api.editing_models import Annotation, AnnotationAdd, AnnotationChange, RecordingChange, RecordingShown, ReviewSet, TagsChange
from peer.api.models import Empty
from peer.api.recording_routes import RECORDINGS, with_revision
from peer.api.routes import Route, read_body
from peer.api.services import Services
from peer.core.access import Tier
from peer.errors import RequestError

ONE = f"{RECORDINGS}/{{id}}"
NOTE = "/api/v1/annotations/{id}"


class EditingRoutes:
    """Handlers, for these services."""

    def __init__(self, services: Services) -> None:
        """Does nothing yet."""
        self._editing = services.editing

    def routes(self) -> Sequence[Route]:
        """All routes of this file."""
        change = "Change its properties; with If-Match, only if its ETag is still that one (else 409)"
        return (
            Route("PATCH", ONE, self.change, change, RecordingShown, RecordingChange, tier=Tier.OPERATOR),
            Route("DELETE", ONE, self.remove, "Delete it everywhere; its bytes go after a time of grace", RecordingShown, tier=Tier.OPERATOR),
            Route("POST", f"{ONE}/restore", self.restore, "Take its deletion back", RecordingShown, Empty, tier=Tier.OPERATOR),
            Route("POST", f"{ONE}/tags", self.tag, "Set tags, and take others away", RecordingShown, TagsChange, tier=Tier.OPERATOR),
            Route("GET", f"{ONE}/annotations", self.annotations, "What was said about it", (Annotation,), tier=Tier.VIEWER),
            Route("POST", f"{ONE}/annotations", self.annotate, "Say something about it", Annotation, AnnotationAdd, status=201, tier=Tier.OPERATOR),
            Route("GET", NOTE, self.annotation, "One annotation, with the recording that it is about", Annotation, tier=Tier.VIEWER),
            Route("PATCH", NOTE, self.change_annotation, "Let an annotation say something else", Annotation, AnnotationChange, tier=Tier.OPERATOR),
            Route("DELETE", NOTE, self.unannotate, "Take an annotation back, for good", RecordingShown, tier=Tier.OPERATOR),
            Route("POST", f"{ONE}/reviews", self.review, "Say what a person thinks of it", RecordingShown, ReviewSet, tier=Tier.OPERATOR),
        )

    async def change(self, request: web.Request) -> object:
        """Other properties."""
        body = await read_body(request, RecordingChange)
        return with_revision(await self._editing.set(request.match_info["id"], body.properties, revision=_revision(request)))

    async def remove(self, request: web.Request) -> object:
        """Hide it everywhere."""
        return await self._editing.remove(request.match_info["id"])

    async def restore(self, request: web.Request) -> object:
        """Show it again."""
        await read_body(request, Empty)
        return await self._editing.restore(request.match_info["id"])

    async def tag(self, request: web.Request) -> object:
        """Other tags."""
        body = await read_body(request, TagsChange)
        return await self._editing.tag(request.match_info["id"], body.add, body.remove)

    async def annotations(self, request: web.Request) -> object:
        """All of a recording."""
        return await self._editing.annotations(request.match_info["id"])

    async def annotate(self, request: web.Request) -> object:
        """One more."""
        body = await read_body(request, AnnotationAdd)
        return await self._editing.annotate(request.match_info["id"], body.model_dump())

    async def annotation(self, request: web.Request) -> object:
        """One of them."""
        return await self._editing.annotation(request.match_info["id"])

    async def change_annotation(self, request: web.Request) -> object:
        """Another text."""
        body = await read_body(request, AnnotationChange)
        return await self._editing.change_annotation(request.match_info["id"], body.model_dump(exclude_unset=True))

    async def unannotate(self, request: web.Request) -> object:
        """One less."""
        return await self._editing.unannotate(request.match_info["id"])

    async def review(self, request: web.Request) -> object:
        """That of a person."""
        body = await read_body(request, ReviewSet)
        return await self._editing.review(request.match_info["id"], body.value, person=body.person, annotation=body.annotation)


def _revision(request: web.Request) -> str | None:
    """The revision that the caller has seen, None if any is fine. Raises `RequestError`."""
    given = request.headers.get("If-Match")
    if given is None or given.strip() == "*":
        return None
    tag = given.strip()
    if len(tag) < 3 or not (tag.startswith('"') and tag.endswith('"')):  # noqa: PLR2004  (two quotes, and something between)
        raise RequestError("If-Match holds one ETag in quotes", fix="send the ETag of the recording as it came")
    return tag[1:-1]
