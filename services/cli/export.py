"""The command that exports masks for annotation tools."""

from __future__ import annotations

__all__ = ["export"]

from typing import TYPE_CHECKING, Annotated

import typer

from attn.wording import counted
from services.cli.arguments import Overrides
from services.cli.command import Result, command
from services.cli.roots import takes_root

if TYPE_CHECKING:
    from rich.console import Console


@command
@takes_root("overrides")
def export(
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="A folder of `attn predict`, a run with masks, cues or stored maps, or a map store.",
        ),
    ],
    form: Annotated[
        str,
        typer.Option("--format", help="coco, cvat, label-studio, labelme, voc or yolo-seg.", show_default=False),
    ],
    to: Annotated[str, typer.Option(help="New folder to write.", show_default=False)],
    overrides: Overrides = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Stored maps: a pixel belongs to a class where its map exceeds this share of its maximum [0.3].",
            show_default=False,
        ),
    ] = None,
    polygons: Annotated[
        bool, typer.Option("--polygons", help="coco, cvat, label-studio: polygons instead of masks.")
    ] = False,
    tolerance: Annotated[
        float, typer.Option(min=0, help="Maximum distance of a polygon from the mask's outline, in pixels.")
    ] = 1.0,
    images: Annotated[bool, typer.Option("--images/--no-images", help="Copy the image files, too.")] = True,
) -> Result:
    """Export masks for annotation tools: of predictions, of a run, or of stored maps.

    For example: attn export predictions --format cvat --to for_cvat
    """
    from attn.annotations.format import Shapes
    from jobs.export_masks import run

    shapes = Shapes(polygons=polygons, tolerance=tolerance)
    data = run(source, overrides or [], form=form, to=to, threshold=threshold, shapes=shapes, copy=images).to_json()

    def show(console: Console) -> None:
        empty = f"; {counted(data['empty'], 'image')} without any" if data["empty"] else ""
        regions = f"{counted(data['regions'], 'region')} of {counted(data['images'], 'image')}{empty}"
        console.print(f"{data['folder']}: {regions}", markup=False, soft_wrap=True)

    return Result(data, show)
