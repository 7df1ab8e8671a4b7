"""What is said of recordings, as people and programs read it: annotations in threads, reviews, who wrote them."""

from collections.abc import Callable, Iterable, Sequence

from materializer.reviews import average, is_value
from peer.core.clock import hlc_ms
from peer.core.identity import EventId, PeerId
from peer.core.views import AnnotationView, ReviewView
from peer.operations.json_form import Json, to_json

NameOf = Callable[[PeerId], str]


def in_threads(annotations: Iterable[AnnotationView]) -> list[tuple[AnnotationView, int]]:
    """Annotations with how deep each stands below what it answers: replies come below it, by when they were said.

    What answers something that is not here, or was taken back, stands on its own.
    """
    known = list(annotations)
    here = {each.annotation for each in known}
    replies: dict[EventId, list[AnnotationView]] = {}
    for each in known:
        if each.reply_to in here:
            replies.setdefault(each.reply_to, []).append(each)
    waiting = [(each, 0) for each in reversed(known) if each.reply_to not in here]
    found: list[tuple[AnnotationView, int]] = []
    while waiting:
        annotation, depth = waiting.pop()
        found.append((annotation, depth))
        below = sorted(replies.get(annotation.annotation, ()), key=lambda each: (each.hlc, each.annotation), reverse=True)
        waiting.extend((each, depth + 1) for each in below)
    return found


def describe_annotations(annotations: Iterable[AnnotationView], reviews: Sequence[ReviewView], name_of: NameOf) -> list[Json]:
    """Annotations in threads, each with the reviews of it."""
    return [
        describe_annotation(each, [review for review in reviews if review.annotation == each.annotation], name_of, depth)
        for each, depth in in_threads(annotations)
    ]


def describe_annotation(annotation: AnnotationView, reviews: Sequence[ReviewView], name_of: NameOf, depth: int = 0) -> Json:
    """One annotation."""
    edited_by, edited_hlc = annotation.edited_by, annotation.edited_hlc
    document = to_json(
        {
            "id": annotation.annotation,
            "recording": annotation.recording,
            **_author(annotation.author, annotation.site, annotation.person, name_of),
            "time_ms": hlc_ms(annotation.hlc),
            "label": annotation.label,
            "text": annotation.text,
            "start_ns": annotation.start_ns,
            "end_ns": annotation.end_ns,
            "reply_to": annotation.reply_to,
            "depth": depth,
            "edited_by": None
            if edited_by is None
            else {"peer_id": edited_by, "name": name_of(edited_by), "site": annotation.edited_site, "person": annotation.edited_person},
            "edited_ms": None if edited_hlc is None else hlc_ms(edited_hlc),
            **describe_reviews(reviews, name_of),
        }
    )
    assert isinstance(document, dict)
    return document


def describe_reviews(reviews: Sequence[ReviewView], name_of: NameOf) -> Json:
    """Reviews of one thing, how many of them count, and their average."""
    counted = [review.value for review in reviews if is_value(review.value)]
    return {
        "reviews": [
            {
                **{key: to_json(value) for key, value in _author(each.author, each.site, each.person, name_of).items()},
                "value": each.value,
                "time_ms": hlc_ms(each.hlc),
            }
            for each in reviews
        ],
        "review_count": len(counted),
        "review_average": average(counted),
    }


def _author(author: PeerId, site: str, person: str, name_of: NameOf) -> Json:
    """Who wrote something: the snapshot that it carries, and what its site is called today."""
    return {"author": author, "author_name": name_of(author), "by": {"peer_id": author, "site": site, "person": person}}
