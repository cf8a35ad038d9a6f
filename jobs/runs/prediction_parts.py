"""Probabilities of a run's images in parts, each of a chunk of images, until all chunks are done."""

from __future__ import annotations

__all__ = ["PredictionParts"]

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attn.evaluation.predictions import read_predictions, write_predictions
from attn.files.locations import join, list_files
from attn.files.transfer import remove_folder

FOLDER = "parts"


@dataclass(frozen=True)
class PredictionParts:
    """The parts in a run's folder. A process that writes one has done its chunk; a later process finds it.

    Attributes:
        run: The run's folder.
        work: A digest of everything that the parts depend on: those of other work are not found.
        classes: Names, in the order of the probabilities.
    """

    run: str
    work: str
    classes: tuple[str, ...]

    def numbers(self) -> set[int]:
        """The chunks that are done."""
        return {int(posixpath.splitext(name)[0]) for name in list_files(join(self.run, FOLDER, self.work))}

    def write(self, number: int, probabilities: Mapping[str, NDArray[np.float64]]) -> None:
        """Write a chunk's probabilities (C,) by image id.

        Raises:
            RunError: They cannot be written.
        """
        write_predictions(self._location(number), probabilities, self.classes)

    def read(self, number: int) -> dict[str, NDArray[np.float64]]:
        """Read a chunk's probabilities.

        Raises:
            DataError: They are not there, or damaged.
        """
        return read_predictions(self._location(number), self.classes)

    def remove(self) -> None:
        """Remove all parts of the run."""
        remove_folder(join(self.run, FOLDER))

    def _location(self, number: int) -> str:
        return join(self.run, FOLDER, self.work, f"{number:06d}.parquet")
