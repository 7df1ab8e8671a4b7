"""How a recording shows where it comes from, what was dropped of it, and what does not stand in its manifest."""

from typing import Any

from peer.cli.output import line, local_time, short, size, table

UNKNOWN = "not said"
MANIFEST_STATES = {
    None: "none yet: the recording is open",
    "waiting": "waiting: not all that it lists is here",
    "mismatch": "mismatch: what it lists is not what it says",
    "newer": "of a later version: upgrade to read it",
}


def fact_pairs(answer: dict[str, Any]) -> list[tuple[str, object]]:
    """What is told of it above the tables."""
    provenance, dropped = answer["provenance"], answer["dropped_message_count"]
    tool = " ".join(part for part in (provenance["tool"], provenance["version"]) if part)
    return [
        ("held", held(answer)),
        ("kept", kept(answer)),
        ("profile", answer["profile"]),
        ("dropped", UNKNOWN if dropped is None else dropped),
        ("added by", provenance["operator"]),
        ("added from", ":".join(part for part in (provenance["host"], provenance["source_path"]) if part)),
        ("added with", tool),
        ("manifest", answer["manifest_id"] or MANIFEST_STATES[answer["manifest_state"]]),
    ]


def held(answer: dict[str, Any]) -> str:
    """Why nothing of it may go, empty if nothing holds it."""
    hold = answer.get("hold")  # A peer of an earlier version knows no holds.
    if hold is None:
        return ""
    return f"{hold['reason']} ({' at '.join(part for part in (hold['by']['person'], hold['author_name']) if part)})"


def kept(answer: dict[str, Any]) -> str:
    """How long it is to be kept, empty if nobody says."""
    found = answer.get("retention")
    if found is None or found["class"] is None:
        return ""
    until = "for ever" if found["until_ns"] is None else f"until {local_time(found['until'])}"
    why = "as the group says" if found["of_group"] else found["reason"]
    return f"{found['class']}: {'no longer' if found['has_run_out'] else until} ({why})"


def print_facts(answer: dict[str, Any]) -> None:
    """What is in its files beside messages, and which files came too late; nothing where there is none."""
    embedded = [(chunk["name"], each) for chunk in answer["chunks"] for each in chunk["embedded"]]
    if embedded:
        line("")
        rows = [[file, each["kind"], each["name"], each["media_type"], size(each["size_bytes"])] for file, each in embedded]
        table(["in file", "kind", "name", "media type", "size"], rows, empty="")
    if answer["late"]:
        line("")
        rows = [[each["name"], each["source_name"], size(each["size_bytes"]), short(each["blob_id"])] for each in answer["late"]]
        table(["came late, in no manifest", "original name", "size", "blake3"], rows, empty="")
