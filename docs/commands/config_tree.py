"""The sections of the configuration reference: each config class once, with its page and heading."""

from __future__ import annotations

__all__ = ["PAGES", "Section", "sections"]

from dataclasses import dataclass
from functools import cache

from attn.config.base import Config
from attn.runs.field_tree import Place, places

PAGES = {
    "training.md": ("Fields of a training", ("attn.training", "attn.models", "attn.tracking")),
    "data.md": ("Fields of data and input", ("attn.data",)),
    "methods.md": ("Fields of methods", ("attn.methods",)),
    "segmentation.md": ("Fields of segmentation", ("attn.segmentation",)),
    "scores.md": (
        "Fields of scores, maps and predictions",
        ("attn.evaluation", "attn.maps", "attn.prediction", "attn.runs"),
    ),
    "pipelines_and_sweeps.md": (
        "Fields of pipelines and sweeps",
        ("attn.runs.composed", "attn.runs.pipeline", "attn.runs.sweep", "jobs"),
    ),
}
"""Title of each page, and the packages whose configs it holds."""


@dataclass(frozen=True)
class Section(Place):
    """A config class at the first of its places, with its heading."""

    heading: str = ""

    @property
    def page(self) -> str:
        """The file of its page: that with the longest name of a package that it lies in."""
        module = f"{self.config.__module__}."
        results = [(len(package), page) for page, (_, packages) in PAGES.items() for package in packages
                 if module.startswith(f"{package}.")]  # fmt: skip
        return max(results)[1]


@cache
def sections() -> dict[type[Config], Section]:
    """Every config class that a command's config reaches, by class, with its heading."""
    results: dict[type[Config], Section] = {}
    taken: set[tuple[str, str]] = set()
    for place in places():
        if place.config in results:
            continue
        location = place.path or f"attn {place.command}"
        for heading in (
            location,
            f"{place.command}: {location}",
            f"{place.command}: {location} ({place.config.__name__})",
        ):
            section = Section(**vars(place), heading=f"{heading}, {place.choice}" if place.choice else heading)
            if (section.page, section.heading) not in taken:
                break
        taken.add((section.page, section.heading))
        results[place.config] = section
    return results
