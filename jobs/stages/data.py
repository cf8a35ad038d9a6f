"""The data sets of a pipeline."""

from __future__ import annotations

__all__ = ["SALIENCY_FIELD", "PipelineData"]

import torch

from attn.data.classes import check_classes
from attn.data.content import Part, content
from attn.data.source import SourceConfig
from attn.data.source_cache import SourceCache
from attn.errors import ConfigError
from attn.notices import print_once
from attn.runs.pipeline import PipelineConfig
from attn.segmentation.cue_saliency import cue_saliency, saliency_notices, without_saliency
from attn.training.inputs import check_inputs
from attn.training.sources import overlap_notices

SALIENCY_FIELD = "segment.labels.saliency"


class PipelineData:
    """Data sets, each built once, and the digests of their files.

    Attributes:
        sources: The data sets.
    """

    def __init__(self) -> None:
        self.sources = SourceCache()
        self._contents: dict[tuple[str, tuple[Part, ...]], str] = {}

    def inputs(self, config: SourceConfig, parts: tuple[Part, ...]) -> dict[str, str]:
        """Digests of these parts of the data, for the inputs of a stage that reads them."""
        source, key = self.sources.get(config), (config.model_dump_json(), parts)
        if key not in self._contents:
            self._contents[key] = content(source, parts)
        return {"fingerprint": source.fingerprint(), "content": self._contents[key]}

    def check(self, config: PipelineConfig, *, cues_there: bool = False) -> None:
        """Find before the first stage what would stop a later one: inputs, files, data, classes, weights, saliency.

        Args:
            cues_there: The cues are made already, so that their saliency's network is not needed. If they are to be
                made again after all, their stage says what is missing.
        """
        check_inputs(config)
        missing = list(config.missing_files())
        if cues_there:
            missing = [fault for fault in missing if not fault.where.startswith(SALIENCY_FIELD)]
        if missing:
            raise ConfigError(missing)
        classes = tuple(self.sources.get(config.data).classes)
        sections = {"segment": config.segment.data, "evaluation": config.evaluation.data}
        sections |= {"integral": config.integral.data} if config.integral else {}
        sections |= {"maps": config.maps.data} if config.maps else {}
        for name, section in sections.items():
            check_classes(classes, self.sources.get(section).classes, what="train.data", of=f"{name}.data")
        for training in filter(None, (config.train, config.integral, config.segment)):
            if training.validation.split is not None:
                validated = training.data.model_copy(update={"split": training.validation.split})
                # The stage prints the notices.
                overlap_notices(training, self.sources.get(training.data), self.sources.get(validated))
        config.segment.model.build(classes)
        segmented = self.sources.get(config.segment.data)
        if not cues_there:
            cue_saliency(segmented, config.labels, config.root, field=SALIENCY_FIELD)
        without = without_saliency(segmented)
        for notice in saliency_notices(len(segmented.records), without, config.labels, field=SALIENCY_FIELD):
            print_once(f"notice: {notice}")  # the stage has it again
        for refinement in (config.refine, config.maps and config.maps.refine):
            if refinement is not None:
                refinement.open(torch.device("cpu"))
