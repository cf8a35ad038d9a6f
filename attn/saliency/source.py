"""A data set with saliency from where the user says: each map is computed once, and kept in a folder."""

from __future__ import annotations

__all__ = ["GIVEN", "SaliencySource", "with_saliency"]

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attn.data.decode import read_saliency
from attn.data.sample import Example, Record
from attn.data.source import OnError, Source
from attn.errors import DataError
from attn.files.locations import FileFault, join
from attn.files.transfer import exists, write_bytes
from attn.saliency.border import METHOD, border_saliency
from attn.saliency.config import SaliencyKind, SaliencySettings
from attn.saliency.u2netp import U2NetP

Compute = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""Saliency (H, W), 0 to 255, of a uint8 RGB image (H, W, 3)."""
GIVEN = "given by the data"


class SaliencySource:
    """A source whose examples have saliency.

    Attributes:
        description: Origin of the saliency, for people and protocols.
        cached: Whether maps are worth computing ahead: each is kept, and takes long.
    """

    def __init__(
        self, source: Source, description: str, compute: Compute | None = None, folder: str | None = None
    ) -> None:
        """Wrap a source.

        Args:
            compute: By default the data's own maps are read.
            folder: Where computed maps are kept by the SHA-256 of their image's pixels; by default nowhere.
        """
        self.description = description
        self._source, self._compute, self._folder = source, compute, folder
        self.classes = source.classes
        self.records: Sequence[Record] = source.records
        self.on_error: OnError = source.on_error
        self.exclusive = source.exclusive

    @property
    def cached(self) -> bool:
        return self._folder is not None

    def load(self, index: int, *, mask: bool = True, saliency: bool = True) -> Example:
        if self._compute is None:
            return self._source.load(index, mask=mask, saliency=saliency)
        example = self._source.load(index, mask=mask, saliency=False)
        return replace(example, saliency=self._of(example.image, self._compute)) if saliency else example

    def reader(self, index: int) -> Callable[[], NDArray[np.uint8]]:
        """Reads an image's saliency when it is called."""

        def read() -> NDArray[np.uint8]:
            saliency = self.load(index, mask=False).saliency
            assert saliency is not None, "the source has saliency of every image"
            return saliency

        return read

    def compute(self, index: int) -> None:
        """Compute an image's map into the folder, unless it is there."""
        image = self._source.load(index, mask=False, saliency=False).image
        if self._folder is not None and self._compute is not None and not exists(self._file(self._folder, image)):
            write_bytes(self._file(self._folder, image), _png(self._compute(image)))

    def fingerprint(self) -> str:
        return self._source.fingerprint()

    def _of(self, image: NDArray[np.uint8], compute: Compute) -> NDArray[np.uint8]:
        if self._folder is None:
            return compute(image)
        file = self._file(self._folder, image)
        if exists(file):
            try:
                return read_saliency(file, (image.shape[0], image.shape[1]))
            except FileFault:  # damaged: computed again
                pass
        saliency = compute(image)
        write_bytes(file, _png(saliency))
        return saliency

    def _file(self, folder: str, image: NDArray[np.uint8]) -> str:
        digest = hashlib.sha256(f"{image.shape}".encode())
        digest.update(np.ascontiguousarray(image).data)
        name = digest.hexdigest()
        return join(folder, name[:2], f"{name}.png")


def with_saliency(
    source: Source, kind: SaliencyKind, settings: SaliencySettings, *, root: str | None, field: str
) -> SaliencySource | None:
    """The source with saliency of a kind; None for `none`.

    Args:
        root: Folder or prefix of runs, below which computed maps are kept; None: nowhere.
        field: Name of the setting that has the kind, for messages.

    Raises:
        DataError: The data is to give saliency, and does not.
        WeightsError: There is no usable file of the network.
    """
    if kind == "none":
        return None
    if kind == "given":
        without = [record.image_id for record in source.records if record.saliency is None]
        if without:
            raise DataError(
                f"{field}=given, but {len(without)} of {len(source.records)} images have no saliency map, "
                f"{without[0]} among them: data.saliency names their folder; or set {field}=u2netp"
            )
        return SaliencySource(source, GIVEN)
    if kind == "border":
        return SaliencySource(source, METHOD, border_saliency)
    network = U2NetP(settings.saliency_model, sha256=settings.saliency_sha256, field=f"{field}_model")
    folder = None if root is None else join(root, ".saliency", network.description.replace(" ", "-"))
    return SaliencySource(source, network.description, network, folder)


def _png(saliency_HW: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(saliency_HW).save(stream, "PNG")
    return stream.getvalue()
