"""The entry point of the command `recmesh`, and the one place where errors become a line and an exit status.

`recmesh: what: why; what to do [code]` on standard error. 0 done; 1 failed; 2 wrong usage or configuration; 3 no peer reached; 4 timed out; 5 some of
several failed; 130 interrupted.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from peer import __version__
from peer.cli import (
    backup,
    configuration,
    demo,
    group,
    hub,
    machine,
    network,
    options,
    peer,
    policy,
    recording,
    site,
    stored,
    token,
    transfers,
    watch,
)
from peer.cli.output import plain
from peer.cli.times import parse_duration
from peer.errors import ConfigError, MeshError, SomeFailedError, TimedOutError, TransportError

DONE, FAILED, USAGE, NO_PEER, TIMED_OUT, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
COMPLETE_VARIABLE = "_RECMESH_COMPLETE"
NOUNS = (site, group, peer, recording, transfers, machine, stored, token, hub, backup, configuration, watch, policy, network, demo)
EPILOG = (
    "Every command takes --data DIR, --url URL, --token-file FILE, --json, --quiet, --verbose, --timeout 30s and --help, before or after its name."
)

app = typer.Typer(
    name="recmesh",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog=EPILOG,
    help="Shares robot recordings between sites: a signed, replicated history, and the bytes that each site wants.",
)


def _print_version(value: bool) -> None:  # noqa: FBT001  (typer calls it)
    if value:
        sys.stdout.write(f"recmesh {__version__}\n")
        raise typer.Exit


@app.callback()
def _root(  # noqa: PLR0913  (the common options)
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="The data directory of the peer [RECMESH_DATA].")] = None,
    url: Annotated[str | None, typer.Option("--url", metavar="URL", help="The admin API of a peer elsewhere [RECMESH_URL].")] = None,
    token_file: Annotated[
        Path | None, typer.Option("--token-file", metavar="FILE", help="Where its token stands; else RECMESH_TOKEN has it.")
    ] = None,
    *,
    json: Annotated[bool, typer.Option("--json", help="Print data as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="No hints and no progress.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="More to read when something fails.")] = False,
    timeout: Annotated[str | None, typer.Option("--timeout", metavar="30s", help="How long to wait for an answer.")] = None,
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    del version
    timeout_s = None if timeout is None else parse_duration(timeout)
    vars(options.current).update(data=data, url=url, token_file=token_file, json=json, quiet=quiet, verbose=verbose, timeout_s=timeout_s)


for noun in NOUNS:
    noun.add_commands(app)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit status."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command; its exit status."""
    if COMPLETE_VARIABLE in os.environ:
        from typer._completion_classes import completion_init  # noqa: PLC0415  (typer calls it only where it adds options of its own)

        completion_init()
    try:
        status = app(options.gather(arguments), prog_name="recmesh", standalone_mode=False)
        sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = FAILED
    except MeshError as error:
        _say(error.text, error.fix, error.code)
        status = _status(error)
    except typer.TyperException as error:
        message = error.format_message().strip()
        if message:
            command = getattr(getattr(error, "ctx", None), "command_path", "recmesh")
            _say(message.replace("Value error, ", "").rstrip("."), f"see `{command} --help`", "usage")
        status = error.exit_code
    except Exception as error:  # noqa: BLE001  (the last edge: a bug must still be one line and a status)
        _say(f"internal error: {type(error).__name__}: {error}", "run it again with --verbose and report what it prints", "internal")
        status = FAILED
    return status if isinstance(status, int) else DONE


def _status(error: MeshError) -> int:
    match error:
        case ConfigError():
            return USAGE
        case TransportError():
            return NO_PEER
        case TimedOutError() | MeshError(code="timed_out"):
            return TIMED_OUT
        case SomeFailedError():
            return SOME_FAILED
        case _:
            return FAILED


def _say(text: str, fix: str, code: str) -> None:
    advice = f"; {fix}" if fix else ""
    sys.stderr.write(plain(" ".join(f"recmesh: {text}{advice} [{code}]".split())) + "\n")
    if options.current.verbose:
        traceback.print_exc()


if __name__ == "__main__":
    main()
