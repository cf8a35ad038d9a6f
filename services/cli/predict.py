"""The command that applies a trained model to images."""

from __future__ import annotations

__all__ = ["predict"]

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from services.cli.arguments import Address, Tasks
from services.cli.command import FAILED, Result, command
from services.cli.roots import takes_root
from services.cli.tables import print_rows

if TYPE_CHECKING:
    from rich.console import Console


@command
@takes_root("images")
def predict(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...",
            help="Images, folders with their subfolders, or s3:// URIs; also maps.scales=, maps.flip= and "
            "maps.refine.*= of a classifier's maps, and tracking.uri= of the model's registry.",
        ),
    ],
    model: Annotated[
        str,
        typer.Option(help="A trained model's folder, a run's name, or NAME@ALIAS of the registry.", show_default=False),
    ],
    out: Annotated[str, typer.Option(help="Folder or s3:// prefix for the results.")] = "predictions",
    crf: Annotated[
        bool | None,
        typer.Option("--crf/--no-crf", help="Refine masks with a dense CRF.", show_default=False),
    ] = None,
    probability: Annotated[
        float | None, typer.Option(help="Lowest probability of a predicted class [0.5].", show_default=False)
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="A pixel belongs to a class where its map exceeds this share of its maximum [0.3].", show_default=False
        ),
    ] = None,
    classes: Annotated[
        str | None,
        typer.Option(
            help="Classes to make maps and masks of, e.g. cat,dog; by default the predicted ones.", show_default=False
        ),
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(help="Images with more pixels are skipped [67108864].", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    address: Address = None,
    tasks: Tasks = None,
) -> Result:
    """Predict labels, attention maps and a mask for any images, as JSON and PNGs, and a table of all images.

    Images that cannot be read are listed and skipped; the exit status is then 1. After an interruption, the same
    command goes on with the images that are lacking.
    """
    from attn.config.document import override_of
    from attn.config.resolve import resolve
    from attn.prediction import ImagePredictConfig
    from jobs.predict import OF_MAPS, maps_text, run

    given = {
        "classes": None if classes is None else [name.strip() for name in classes.split(",")],
        "probability": probability,
        "threshold": threshold,
        "crf": crf,
        "max_pixels": max_pixels,
        "device": device,
    }
    overrides = [override_of(name, value) for name, value in given.items() if value is not None]
    of_maps = [text for text in images if OF_MAPS.match(text)]
    config = resolve(ImagePredictConfig, "", "options", [*overrides, *of_maps])
    others = [text for text in images if text not in of_maps]
    data = run(others, model=model, out=out, config=config, address=address, tasks=tasks).to_json()

    def show(console: Console) -> None:
        rows = [(one["folder"], _result_text(one)) for one in data["images"]]
        if rows:
            print_rows(console, rows)
        if (more := data["predicted"] - len(rows)) > 0:
            console.print(f"and {more} more", markup=False)
        for one in data["failed"]:
            console.print(f"skipped: {one['image']}: {one['problem']}", markup=False)
        if words := maps_text(data["maps"]):
            console.print(f"maps: {words}", markup=False)
        console.print(f"all images in one table: {data['summary']}", markup=False, soft_wrap=True)
        if data["predicted"]:
            to_tools = f"attn export {shlex.quote(out)} --format coco --to FOLDER"
            console.print(f"masks as annotations: {to_tools}", markup=False, soft_wrap=True)

    return Result(data, show, status=FAILED if data["failed"] else 0)


def _result_text(predicted: dict[str, Any]) -> str:
    from attn.display import percent
    from attn.prediction.write import best_guess, removed_text

    labels = ", ".join(f"{one['class']} {percent(one['probability'])} %" for one in predicted["labels"])
    removed = removed_text(predicted["removed_by_crf"], predicted["probabilities"])
    return "; ".join(filter(None, (labels, removed))) or best_guess(predicted["probabilities"])
