"""The sections of the configuration reference: each config class once, with its page and heading."""

from __future__ import annotations

__all__ = ["PAGES", "Section", "sections"]

from dataclasses import dataclass, field
from functools import cache

from attn.config.base import Config
from attn.runs.field_tree import places

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


@dataclass
class Section:
    """A config class and where it stands in a run's config.

    Attributes:
        config: The class.
        command: The command whose config has it, the first where there are several.
        path: Its place in that config, `training` for instance; empty for the command's own.
        choice: `name=gain` where its family is a choice.
    """

    config: type[Config]
    command: str
    path: str
    choice: str = ""
    heading: str = field(default="", init=False)

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
    for location in places():
        results.setdefault(location.config, Section(location.config, location.command, location.path, location.choice))
    taken: set[tuple[str, str]] = set()
    for section in results.values():
        location = section.path or f"attn {section.command}"
        for heading in (
            location,
            f"{section.command}: {location}",
            f"{section.command}: {location} ({section.config.__name__})",
        ):
            section.heading = f"{heading}, {section.choice}" if section.choice else heading
            if (section.page, section.heading) not in taken:
                break
        taken.add((section.page, section.heading))
    return results
