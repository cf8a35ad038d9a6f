"""Predicts images by this process or a pool of others, chunk by chunk; an interrupted command continues.

The rows of each chunk's images are written beside the results, and joined to a table when all chunks are done.
"""

from __future__ import annotations

__all__ = ["ImagesWork", "PredictedImages", "predict_images"]

import hashlib
import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from attn import progress
from attn.data.source import map_in_threads
from attn.errors import DataError
from attn.files.locations import FileFault, join, list_files, list_folders, read_bytes
from attn.files.spreadsheet import csv_rows
from attn.files.transfer import exists, remove_folder, write_bytes, write_in_pieces
from attn.models.bundle import Bundle
from attn.prediction import ImagePredictConfig, Predictor, predict_file, write_prediction
from attn.prediction.images import RESULT, ImageFile
from attn.prediction.predictor import predictor_of
from attn.prediction.summary import COLUMNS, SUMMARY, Row, fault_row, summary_row
from attn.redaction import without_secrets
from attn.segmentation.bundle import Segmenter
from attn.wording import counted
from jobs.ray_cluster.worker_pool import Report, is_alone, worker_pool

CHUNK = 32
"""Images that a process is given at a time."""
PARTS = ".parts"
"""Folder of the rows of chunks that are done, within the results."""
MOST_LISTED = 1000
"""Largest number of images of which the result has all that was predicted."""


@dataclass(frozen=True)
class ImagesWork:
    """Input of all processes.

    Attributes:
        out: Folder or `s3://` prefix; each image has a folder of its own in it.
        parts: Folder of the rows of chunks that are done.
        maps: How a classifier's maps differ from plain ones.
        predictor: Of the process that does it alone; others open their own.
    """

    model: Bundle | Segmenter
    config: ImagePredictConfig
    out: str
    parts: str
    maps: str
    predictor: Predictor | None


@dataclass
class PredictedImages:
    """What became of the images, in their order.

    Attributes:
        predicted: How many have results.
        images: The `prediction.json` of each of the first ones.
        failed: `image` and `problem` of each that could not be read.
        summary: Table with a row for each image.
    """

    summary: str
    predicted: int = 0
    images: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class _Chunk:
    """Some of the images, by the names of their folders."""

    number: int
    positions: range
    images: tuple[tuple[str, ImageFile], ...]


class _ImagesPredictor:
    """A model on its device, ready for one chunk after the other."""

    def __init__(self, work: ImagesWork) -> None:
        self.work = work
        self.predictor = work.predictor or predictor_of(work.model, work.config)

    def __call__(self, chunk: _Chunk, report: Report) -> None:
        rows: list[Row] = []
        for name, (location, image_id) in chunk.images:
            rows.append(self._predict(name, location, image_id))
            report(len(rows))
        write_bytes(_part(self.work.parts, chunk.number), json.dumps(rows).encode())

    def _predict(self, name: str, location: str, image_id: str) -> Row:
        shown = without_secrets(location)
        try:
            prediction = predict_file(self.predictor, location, self.work.config.max_pixels, "--max-pixels")
        except DataError as fault:
            return fault_row(shown, image_id, fault.problem if isinstance(fault, FileFault) else str(fault))
        data = write_prediction(prediction, location, join(self.work.out, name))
        return summary_row(shown, image_id, data, self.work.maps)


def predict_images(
    model: Bundle | Segmenter,
    predictor: Predictor,
    images: Mapping[str, ImageFile],
    out: str,
    config: ImagePredictConfig,
    *,
    maps: str,
    address: str | None,
    tasks: int | None,
) -> PredictedImages:
    """Predict images, but those that an interrupted call with the same arguments has done.

    Args:
        predictor: Of the model.
        maps: How a classifier's maps differ from plain ones, in a few words.
        images: By name, as `find_images` returns them.
        out: Folder or `s3://` prefix that all processes reach.
        address, tasks: As for `worker_pool`.

    Raises:
        AttnError: Something cannot be written.
    """
    named = list(images.items())
    values = [predictor.sha256, config.model_dump(mode="json"), CHUNK, named]
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
    parts = join(out, PARTS, digest)
    starts = range(0, len(named), CHUNK)
    chunks = [
        _Chunk(number, range(start, min(start + CHUNK, len(named))), tuple(named[start : start + CHUNK]))
        for number, start in enumerate(starts)
    ]
    written = {int(posixpath.splitext(name)[0]) for name in list_files(parts)}
    done = {number for number in written if number < len(chunks) and _is_whole(out, parts, chunks[number])}
    before = sum(len(chunks[number].positions) for number in done)
    if before:
        progress.say(
            f"{counted(before, 'image')} of {len(named)} were done by an earlier command that was interrupted; remove "
            f"{without_secrets(join(out, PARTS))} to predict them again"
        )
    alone = predictor if is_alone(address, tasks) else None
    work = ImagesWork(model, config, out, parts, maps, alone)
    with (
        progress.task("predictions", len(named), "images") as reported,
        worker_pool(_ImagesPredictor, work, address=address, tasks=tasks, gpu=config.device != "cpu") as pool,
    ):
        reported.kept = before
        todo = [chunk for chunk in chunks if chunk.number not in done]
        for _ in pool.run(todo, lambda count: reported.update(before + count)):
            pass
    result = _joined(parts, len(chunks), join(out, SUMMARY), [join(out, name) for name in images])
    remove_folder(parts)
    if not list_folders(join(out, PARTS)):  # else another command predicts into the same folder
        remove_folder(join(out, PARTS))
    return result


def _is_whole(out: str, parts: str, chunk: _Chunk) -> bool:
    """Whether the results that a part lists are there; somebody may have removed them."""
    rows = json.loads(read_bytes(_part(parts, chunk.number)))
    at = COLUMNS.index("problem")
    names = [name for (name, _), row in zip(chunk.images, rows, strict=True) if row[at] is None]
    return all(map_in_threads(lambda name: exists(join(out, name, RESULT)), names))


def _joined(parts: str, chunks: int, summary: str, folders: Sequence[str]) -> PredictedImages:
    """Join the rows of all chunks to one table."""
    result = PredictedImages(summary)
    listed: list[str] = []

    def rows() -> Iterator[list[list[str | None]]]:
        position = 0
        for number in range(chunks):
            part = json.loads(read_bytes(_part(parts, number)))
            for row in part:
                image, problem = row[COLUMNS.index("image")], row[COLUMNS.index("problem")]
                if problem is not None:
                    result.failed.append({"image": image, "problem": problem})
                else:
                    result.predicted += 1
                    listed.extend(folders[position : position + 1] if len(listed) < MOST_LISTED else ())
                position += 1
            yield part

    with write_in_pieces(summary) as stream:
        stream.write(csv_rows([COLUMNS]).encode())
        for part in rows():
            stream.write(csv_rows(part).encode())
    result.images = map_in_threads(lambda folder: json.loads(read_bytes(join(folder, RESULT))), listed)
    return result


def _part(parts: str, number: int) -> str:
    return join(parts, f"{number:06d}.json")
