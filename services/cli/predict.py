"""The command that lets a trained model look at images."""

from __future__ import annotations

__all__ = ["predict"]

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.command import FAILED, Result, command
from services.cli.tables import print_rows

if TYPE_CHECKING:
    from rich.console import Console


@command
def predict(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...", help="Images, folders of them, or s3:// URIs; and root= or tracking.uri= of the model."
        ),
    ],
    model: Annotated[
        str,
        typer.Option(help="A trained model's folder, a run's name, or NAME@ALIAS of the registry.", show_default=False),
    ],
    out: Annotated[str, typer.Option(help="Folder or s3:// prefix for the results.")] = "predictions",
    crf: Annotated[
        bool | None,
        typer.Option("--crf/--no-crf", help="Refine masks along the image's edges.", show_default=False),
    ] = None,
    probability: Annotated[
        float | None, typer.Option(help="From which probability on a class counts as there [0.5].", show_default=False)
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(help="Share of its maximum above which a map makes a pixel object [0.3].", show_default=False),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Whose maps and mask, e.g. cat,dog; else the predicted.", show_default=False)
    ] = None,
    max_pixels: Annotated[
        int | None, typer.Option(help="A larger image is not done [67108864].", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
) -> Result:
    """Labels, attention maps and a mask for any images, as JSON and PNGs.

    An image that cannot be read is named, the others are done, and the exit status is 1.
    """
    import json

    from attn.config.resolve import resolve
    from attn.prediction import ImagePredictConfig
    from jobs.predict import run

    given = {
        "classes": None if classes is None else [name.strip() for name in classes.split(",")],
        "probability": probability,
        "threshold": threshold,
        "crf": crf,
        "max_pixels": max_pixels,
        "device": device,
    }
    words = [f"{name}={json.dumps(value)}" for name, value in given.items() if value is not None]
    config = resolve(ImagePredictConfig, "", "options", words)
    data = run(images, model=model, out=out, config=config)

    def show(console: Console) -> None:
        rows = [(one["folder"], _labels(one["labels"])) for one in data["images"]]
        if rows:
            print_rows(console, rows)
        for one in data["failed"]:
            console.print(f"not done: {one['image']}: {one['problem']}", markup=False)

    return Result(data, show, status=FAILED if data["failed"] else 0)


def _labels(labels: list[dict[str, object]]) -> str:
    return ", ".join(f"{one['class']} {one['probability']:.2f}" for one in labels) or "nothing"
