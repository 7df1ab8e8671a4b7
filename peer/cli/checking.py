"""`recmesh recording check`: the folder of a recording, wherever it was copied to, against its manifest. Asks no peer."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from peer.cli.output import line, show
from peer.errors import SomeFailedError


def add_commands(section: typer.Typer) -> None:
    """Put the command of this file into `section`."""
    section.command("check")(check)


def check(path: Annotated[Path, typer.Argument(metavar="PATH", help="The folder of a recording, or a manifest in it.")]) -> None:
    """Compare files with the manifest beside them; needs no running peer."""
    from materializer.manifest_files import DIFFERENT, GOOD, MISSING, check_folder  # noqa: PLC0415  (takes time that help does not have)

    found = check_folder(path)
    counts = Counter(file.state for file in found.files)
    answer = {
        "manifest_id": found.manifest.manifest_id.hex(),
        "version": found.manifest.fields["version"],
        "name": found.manifest.fields["name"],
        "recording": found.manifest.fields["recording"].hex(),
        "files": [file._asdict() for file in found.files],
    }

    def text() -> None:
        line(f"{answer['name']} {answer['recording']}")
        line(f"manifest {answer['manifest_id']}, version {answer['version']}")
        for file in found.files:
            line(f"{file.state}  {file.name}")

    show(answer, text)
    if counts[GOOD] < len(found.files):
        wrong = f"{counts[MISSING]} missing, {counts[DIFFERENT]} different"
        raise SomeFailedError(f"of {len(found.files)} files {wrong}", fix="copy them again from a site that has them")
