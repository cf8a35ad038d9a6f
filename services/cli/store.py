"""Commands that show, check, clean up and export map stores."""

from __future__ import annotations

__all__ = ["export", "gc", "growth", "show", "verify"]

from typing import TYPE_CHECKING, Annotated

import typer

from attn.display import size
from attn.wording import counted
from services.cli.arguments import Overrides
from services.cli.command import FAILED, Result, command
from services.cli.roots import takes_root
from services.cli.tables import print_rows, print_tree

if TYPE_CHECKING:
    from rich.console import Console

    from attn.store import MapStore

Uri = Annotated[str, typer.Argument(metavar="URI", help="Folder or s3://bucket/prefix of a map store.")]
Version = Annotated[int | None, typer.Option(help="Version number; by default the newest.", show_default=False)]
Run = Annotated[str | None, typer.Option(help="Take the newest version of this run.", show_default=False)]


@command
def show(uri: Uri) -> Result:
    """Print a map store's rows, runs and versions."""
    from services.store_versions import describe_store

    data = describe_store(_open(uri))

    def show_it(console: Console) -> None:
        grid = "×".join(map(str, data["grid"]))
        rows, images = counted(data["rows"], "row"), counted(data["images"], "image")
        console.print(f"{rows} of {images}, grid {grid}, fusion {data['fusion']}")
        if not data["writable"]:
            console.print(f"format {data['format']}: to be read only; what crops did not see counted as 0 in its means")
        lines: list[tuple[str, ...]] = [
            ("version", "run", "parent", "epoch", "accepted", "fallback", "pending", "size", "")
        ]
        for item in data["versions"]:
            marks = [
                *item["heads"],
                *(f"tag {name}" for name in item["tags"]),
                *([] if item["live"] else ["abandoned"]),
                *(["tentative"] if item["tentative"] else []),
            ]
            last = str(item["epoch"] + 1) if item["epoch"] >= 0 else "-"  # counted from 1, as in training and pictures
            parent, *rest = (str(item[name]) for name in ("parent", "accepted", "fallback", "pending"))
            whole = (str(item["version"]), item["run"], parent, last, *rest, size(item["bytes"]))
            lines.append((*whole, ", ".join(marks)))
        if len(lines) > 1:
            print_rows(console, lines)
        else:
            console.print("no version yet")

    return Result(data, show_it)


def _open(uri: str) -> MapStore:
    """Open a store; where there is none, say which store a run of that name has, or how one is made.

    Raises:
        StoreError: There is none, or its definition is damaged.
    """
    from attn.store import DamagedError, StoreAwayError, StoreError, open
    from jobs.scoring.found_store import stores_of_run

    try:
        return open(uri)
    except (DamagedError, StoreAwayError):
        raise
    except StoreError as error:
        near = stores_of_run(uri)
        way_out = "a training keeps one with store.accumulate=true, and `attn maps MODEL` writes one"
        hint = f"did you mean {' or '.join(near)}?" if near else way_out
        raise StoreError(f"{error}; {hint}") from None


@command
@takes_root("overrides")
def growth(uri: Uri, overrides: Overrides = None) -> Result:
    """Draw how the maps of some images change over the epochs of a run.

    The data is that of the run whose folder contains the store, or given as data.*; images=[...] selects images.
    """
    from jobs.growth import run

    data = run(uri, overrides or []).to_json()
    return Result(data, lambda console: print_tree(console, data))


@command
def verify(uri: Uri) -> Result:
    """Read a whole map store, check every hash and count, and list all faults."""
    report = _open(uri).verify()
    data = {
        "ok": report.ok,
        "versions": report.versions,
        "objects": report.objects,
        "bytes": report.size,
        "faults": report.faults,
    }

    def show_it(console: Console) -> None:
        for fault in report.faults:
            console.print(fault, markup=False)
        checked = f"{counted(report.versions, 'version')}, {counted(report.objects, 'object')}"
        read = f"{checked}, {size(report.size)} read"
        console.print(f"{read}: " + ("all is well" if report.ok else counted(len(report.faults), "fault")))

    return Result(data, show_it, status=0 if report.ok else FAILED)


@command
def gc(
    uri: Uri,
    delete: Annotated[bool, typer.Option("--delete", help="Delete it; by default it is only listed.")] = False,
    keep: Annotated[int, typer.Option(min=1, help="Number of newest versions of each run to keep.")] = 2,
) -> Result:
    """List or delete what no head, tag or recent version of a map store uses; nothing younger than a day."""
    result = _open(uri).gc(dry_run=not delete, keep=keep)
    data = {
        "dry_run": result.dry_run,
        "versions": list(result.versions),
        "kept": list(result.kept),
        "objects": list(result.keys),
        "bytes": result.size,
    }

    def show_it(console: Console) -> None:
        numbers = ", ".join(map(str, result.versions))
        versions = f"version{'s' * (len(result.versions) > 1)} {numbers}" if numbers else "no version"
        verb = "would go; --delete removes them" if result.dry_run else "removed"
        console.print(f"{versions}, {counted(len(result.keys), 'object')}, {size(result.size)} {verb}")

    return Result(data, show_it)


@command
def export(
    uri: Uri,
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="For png a folder, for npz and parquet a file, by just this name.")
    ],
    form: Annotated[str, typer.Option("--format", help="png, npz or parquet.")] = "png",
    version: Version = None,
    run: Run = None,
) -> Result:
    """Export a version's maps: one PNG per image and class, one NPZ, or one Parquet file.

    For example: attn store export runs/RUN/store maps.npz --format npz
    """
    import os

    from attn.config.base import is_remote

    store = _open(uri)
    manifest = store.at(version, run=run).manifest
    count = store.export(target, form=form, version=manifest.version, run=manifest.run or None)
    data = {"maps": count, "version": manifest.version, "format": form, "target": target}
    place = target if is_remote(target) else os.path.abspath(target)
    text = (
        f"{counted(count, 'map')} of version {manifest.version} in the {'folder' if form == 'png' else 'file'} {place}"
    )
    return Result(data, lambda console: console.print(text, markup=False))
