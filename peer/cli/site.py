"""This site: setting it up, running it, asking how it is."""

import asyncio
import gc
from pathlib import Path
from typing import Annotated, Any

import typer

from peer.cli import options
from peer.cli.client import connect
from peer.cli.output import hint, line, ms_time, pairs, short, show, size, table
from peer.cli.transfers import progress

OBJECTS_PER_COLLECTION = 100_000


def add_commands(app: typer.Typer) -> None:
    """Put the commands of this file into `app`."""
    app.command("init")(init)
    app.command("serve")(serve)
    app.command("id")(show_id)
    app.command("status")(status)


def init(
    name: Annotated[str | None, typer.Option(help="What this site is called. Default: the host name.")] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where other peers reach it, `tailnet` or `none`. Default: 0.0.0.0:7850.")
    ] = None,
    admin: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Where its admin API listens. Default: 127.0.0.1:7851.")] = None,
) -> None:
    """Make keys, configuration and databases of a new peer."""
    from peer.setup import initialise  # noqa: PLC0415  (loads keys and settings; other commands start without them)

    site = initialise(options.current.directory, name=name, listen=listen, admin=admin)

    def text() -> None:
        pairs([("peer id", site["peer_id"]), ("name", site["name"]), ("listens at", site["listen"]), ("admin API", site["admin"])])
        hint(f"Set up in {site['data']}. Next: `recmesh serve`, then `recmesh group create NAME` or `recmesh group join INVITATION`.")

    show(site, text)


def serve(*, init: Annotated[bool, typer.Option("--init", help="Set up an empty data directory first.")] = False) -> None:
    """Run the peer in the foreground until SIGTERM or Ctrl-C."""
    from peer.node import serve as run_peer  # noqa: PLC0415  (loads everything; other commands start without it)
    from peer.setup import initialise_if_empty  # noqa: PLC0415  (see above)

    if init:
        initialise_if_empty(options.current.directory)
    directory = options.current.existing_directory

    def ready(site: dict[str, str]) -> None:
        show(site, lambda: line(f"ready: {site['name']} ({short(site['peer_id'])}), peers at {site['listen']}, admin API at {site['admin']}"))

    _spare_the_collector()
    asyncio.run(run_peer(directory, ready))


def _spare_the_collector() -> None:
    """Let garbage in cycles, of which little is made, be looked for less often, and not among what was loaded: it took a quarter of a backfill."""
    gc.freeze()
    gc.set_threshold(OBJECTS_PER_COLLECTION, *gc.get_threshold()[1:])


def show_id() -> None:
    """The peer id."""
    if options.current.remote_url is not None:
        with connect() as client:
            answer = client.get("/api/v1/status")
        site = {"peer_id": answer["peer_id"], "name": answer["name"]}
    else:
        from peer.setup import identify  # noqa: PLC0415  (loads keys and settings; see above)

        site = identify(options.current.existing_directory)
    show(site, lambda: line(site["peer_id"]))


def status() -> None:
    """This peer, its groups, links, transfers, disk, and problems with their fix."""
    with connect() as client:
        answer = client.get("/api/v1/status")
    show(answer, lambda: _print_status(answer))


def _print_status(answer: dict[str, Any]) -> None:
    pairs(
        [
            ("peer", f"{answer['name']} ({answer['peer_id']})"),
            ("reached at", answer["endpoint"]),
            ("ready", answer["ready"]),
            *_rebuilding(answer["rebuilding"]),
            ("disk", _disk(answer["disk"])),
            *_hub(answer["hub"]),
            ("addresses from", [_source(each) for each in answer["sources"]]),
        ]
    )
    line("")
    table(
        ["group", "id", "events", "in view", "quarantined", "forks", "digest"],
        [
            [
                each["name"],
                short(each["group_id"]),
                each["events"],
                each["view_events"],
                each["quarantined"],
                each["forks"],
                short(each["state_digest"]),
            ]
            for each in answer["groups"]
        ],
        empty="No groups yet: `recmesh group create NAME` or `recmesh group join INVITATION`.",
    )
    line("")
    table(
        ["site", "peer", "state", "phase", "reached at", "missing", "last seen"],
        [
            [
                each["name"],
                short(each["peer_id"]),
                "unreachable" if each["unreachable_since_ms"] is not None else each["state"],
                each["phase"],
                _reached_at(each),
                each["missing_events"],
                ms_time(each["last_seen_ms"]),
            ]
            for each in answer["links"]
        ],
        empty="No links.",
    )
    for each in answer["pending_peers"]:
        line(f"knocked: {each['name']} ({each['peer_id']}) from {each['address']}")
    for each in answer["transfers"]:
        line(f"transfer {progress(each)}")
    for each in answer["problems"]:
        line(f"problem: {each['text']}; {each['fix']} [{each['code']}]")


def _reached_at(link: dict[str, Any]) -> str | None:
    """Where that is: others that tell of the site, the address that was dialled, else the machine of the mesh that it came in from."""
    if link["route"] == "relayed":
        return f"through {link['via_name']}"
    node = link["node"]
    address: str | None = link["address"]
    return address if node is None else f"{address} ({node['name']})" if address else f"from {node['name']}"


def _source(source: dict[str, Any]) -> str:
    """A source of addresses, with what went wrong there."""
    error = f": {source['last_error']}" if source["last_error"] else ""
    return f"{source['source']} ({source['state']}{error})"


def _rebuilding(rebuilding: dict[str, Any] | None) -> list[tuple[str, object]]:
    """A line while projections are computed anew."""
    if rebuilding is None:
        return []
    return [("rebuilding", f"{rebuilding['events_done']} of {rebuilding['events_total']} events; until then the present view answers")]


def _hub(hub: dict[str, Any]) -> list[tuple[str, object]]:
    """A line for a peer that is a hub."""
    return [("hub at", f"{hub['url']} ({hub['peers_online']} of {hub['peers']} peers online)")] if hub["enabled"] else []


def _disk(disk: dict[str, Any]) -> str:
    passing = f"{size(disk['cache_bytes'])} of {size(disk['cache_limit_bytes'])} that pass through, " if disk["cache_bytes"] else ""
    return f"{size(disk['used_bytes'])} used, {passing}{size(disk['free_bytes'])} free"


def read_text_argument(text: str) -> str:
    """`text`, or what `-` (standard input) or `@FILE` stands for."""
    from peer.errors import FileUnreadableError  # noqa: PLC0415  (only where it is needed)

    if text == "-":
        return typer.get_text_stream("stdin").read().strip()
    if not text.startswith("@"):
        return text
    path = Path(text.removeprefix("@"))
    try:
        return path.read_text().strip()
    except OSError as error:
        raise FileUnreadableError(f"{path} cannot be read: {error.strerror}", fix="check the path and its permissions") from error
    except UnicodeDecodeError as error:
        raise FileUnreadableError(f"{path} is no text", fix="name the file with the line that was sent to you") from error
