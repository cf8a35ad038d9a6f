"""Label Studio's labelling interface: what a project labels, and predictions as its results."""

from __future__ import annotations

__all__ = ["Control", "Interface", "read_interface", "results_of"]

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from services.prediction_service.answer import Wanted
from services.prediction_service.engine import RefusedError

REGIONS = ("BrushLabels", "PolygonLabels", "RectangleLabels")
KINDS = (*REGIONS, "Choices")
LONGEST = 1 << 20
"""Characters of a labelling interface."""


@dataclass(frozen=True)
class Control:
    """A tag by which people label.

    Attributes:
        kind: One of `KINDS`.
        labels: The labels or choices that it offers.
    """

    kind: str
    name: str
    to_name: str
    labels: frozenset[str]


@dataclass(frozen=True)
class Interface:
    """What a project shows and labels.

    Attributes:
        field: The field of a task's data with the image.
        controls: Those of the image that predictions can fill in: of the tags for regions the first, and for choices.
    """

    field: str
    controls: tuple[Control, ...]

    @property
    def wanted(self) -> Wanted:
        """What a prediction must contain to fill in the controls."""
        kind = next((control.kind for control in self.controls if control.kind in REGIONS), None)
        form = {"BrushLabels": "label-studio", "PolygonLabels": "label-studio", "RectangleLabels": "coco"}
        return Wanted("none", form=kind and form[kind], polygons=kind == "PolygonLabels")


def read_interface(xml: str) -> Interface:
    """Read a project's labelling interface.

    Raises:
        RefusedError: It is no XML, or it labels no image by regions or choices.
    """
    if len(xml) > LONGEST or "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise RefusedError(f"the labelling interface has a document type, or more than {LONGEST} characters")
    try:
        root = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        raise RefusedError(f"the labelling interface is no XML: {error}") from None
    images = {tag.get("name"): tag.get("value", "") for tag in root.iter("Image")}
    controls = [
        Control(tag.tag, tag.get("name", ""), tag.get("toName", ""), frozenset(_labels(tag)))
        for tag in root.iter()
        if tag.tag in KINDS and tag.get("toName") in images
    ]
    regions = [control for control in controls if control.kind in REGIONS][:1]
    chosen = (*regions, *(control for control in controls if control.kind == "Choices"))
    if not chosen:
        raise RefusedError(f"the labelling interface has an image with none of {', '.join(KINDS)}")
    field = images[chosen[0].to_name]
    if not field.startswith("$") or len(field) < 2:
        raise RefusedError(
            f"the labelling interface's image has value={field[:100]!r}: expected a field such as $image"
        )
    return Interface(field[1:], tuple(control for control in chosen if control.to_name == chosen[0].to_name))


def results_of(interface: Interface, image: dict[str, Any]) -> list[dict[str, Any]]:
    """A prediction as Label Studio's results, with the labels that its controls offer.

    Args:
        image: As `answer_of` gives, of `interface.wanted`.
    """
    results: list[dict[str, Any]] = []
    for control in interface.controls:
        if control.kind == "Choices":
            results += _choices(control, image)
        elif control.kind == "RectangleLabels":
            results += _rectangles(control, image)
        else:
            (task,) = json.loads(image["annotations"]["tasks.json"])
            for result in task["predictions"][0]["result"]:
                if set(result["value"][result["type"]]) <= control.labels:
                    results.append(result | {"from_name": control.name, "to_name": control.to_name})
    return results


def _labels(tag: ElementTree.Element) -> Iterator[str]:
    for inner in (*tag.iter("Label"), *tag.iter("Choice")):
        yield inner.get("value", "")


def _choices(control: Control, image: dict[str, Any]) -> Iterator[dict[str, Any]]:
    offered = [label for label in image["labels"] if label["class"] in control.labels]
    if offered:
        names, score = [label["class"] for label in offered], max(label["probability"] for label in offered)
        yield _result(control, image, "choices", 0, {"choices": names}, score)


def _rectangles(control: Control, image: dict[str, Any]) -> Iterator[dict[str, Any]]:
    coco = json.loads(image["annotations"]["annotations/instances_train.json"])
    names = {category["id"]: category["name"] for category in coco["categories"]}
    for region in coco["annotations"]:
        if (name := names[region["category_id"]]) in control.labels:
            left, top, width, height = region["bbox"]
            x, y = 100 / image["width"], 100 / image["height"]
            box = {"x": left * x, "y": top * y, "width": width * x, "height": height * y, "rotation": 0}
            value = box | {"rectanglelabels": [name]}
            yield _result(control, image, "rectanglelabels", region["id"], value, region.get("score"))


def _result(
    control: Control, image: dict[str, Any], kind: str, number: int, value: dict[str, Any], score: float | None
) -> dict[str, Any]:
    return {
        "id": f"{control.name}{number}",
        "type": kind,
        "from_name": control.name,
        "to_name": control.to_name,
        "original_width": image["width"],
        "original_height": image["height"],
        "image_rotation": 0,
        "value": value,
        **({} if score is None else {"score": score}),
    }
