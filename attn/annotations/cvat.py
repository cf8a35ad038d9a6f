"""CVAT for images 1.1: one XML file, with masks or polygons."""

from __future__ import annotations

__all__ = ["CvatFormat"]

from dataclasses import dataclass, field
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from attn.annotations.format import AnnotationFormat, Files, json_bytes, rounded
from attn.annotations.image import AnnotatedImage, Region
from attn.annotations.run_lengths import run_lengths
from attn.pictures.palette import voc_palette


@dataclass(frozen=True)
class CvatFormat(AnnotationFormat):
    """`annotations.xml` to upload, `labels.json` for a new task's labels (*Raw*), and `images`."""

    drawn: list[Element] = field(default_factory=list[Element])

    def add(self, image: AnnotatedImage) -> Files:
        height, width = image.size
        numbers = {"id": str(image.number - 1), "width": str(width), "height": str(height)}
        element = Element("image", numbers | {"name": image.file})
        for region in image.regions:
            common = {"label": self.classes[region.label], "source": "auto", "occluded": "0", "z_order": "0"}
            if self.shapes.polygons:
                points = ";".join(f"{x:.2f},{y:.2f}" for x, y in rounded(self.polygon(region)))
                SubElement(element, "polygon", common | {"points": points})
            else:
                SubElement(element, "mask", common | _mask(region))
        self.drawn.append(element)
        return {}

    def end(self) -> Files:
        kind = "polygon" if self.shapes.polygons else "mask"
        labels = [
            {"name": name, "type": kind, "color": "#" + bytes(voc_palette()[(index + 1) % 255].tolist()).hex()}
            for index, name in enumerate(self.classes)
        ]
        root = Element("annotations")
        SubElement(root, "version").text = "1.1"
        task = SubElement(SubElement(root, "meta"), "task")
        SubElement(task, "size").text = str(len(self.drawn))
        SubElement(task, "mode").text = "annotation"
        listed = SubElement(task, "labels")
        for label in labels:
            element = SubElement(listed, "label")
            for name, text in label.items():
                SubElement(element, name).text = text
            SubElement(element, "attributes")
        root.extend(self.drawn)
        xml = ElementTree.tostring(root, "utf-8", xml_declaration=True)
        return {"annotations.xml": xml, "labels.json": json_bytes([label | {"attributes": []} for label in labels])}


def _mask(region: Region) -> dict[str, str]:
    """A region's box, and the run lengths in it, row by row."""
    left, top, width, height = region.box
    runs = ", ".join(map(str, run_lengths(region.pixels.ravel())))
    return {"rle": runs, "left": str(left), "top": str(top), "width": str(width), "height": str(height)}
