"""The stages of a pipeline: what each depends on, how it is run or gone on with, and what it leaves."""

from __future__ import annotations

__all__ = ["Stage", "Work", "is_intact", "stages_of"]

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from attn import store
from attn.config.base import Config, is_remote
from attn.config.document import as_overrides
from attn.data.content import Part, file_mark
from attn.data.source import SourceConfig
from attn.errors import AttnError
from attn.files.locations import join, list_below, read_bytes, sha256_of
from attn.files.transfer import exists
from attn.models.description import WEIGHTS
from attn.models.weights import weights_file
from attn.parsing import load_json
from attn.runs.pipeline import PipelineConfig
from attn.segmentation.labels import CUES_FILE, FileLabels
from attn.segmentation.map_sources import FolderMaps, MapSourceConfig, StoreMaps
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig
from jobs import cues, maps, segment_predict, train
from jobs.retrain import retrain
from jobs.runs.run_folder import RunFolder

PLACE = {"root", "tracking"}
"""Fields that say where results lie and not what they are."""

Outputs = dict[str, Any]


@dataclass(frozen=True)
class Work:
    """What every stage is told.

    Attributes:
        made: What the stages before it have left, by stage.
        data: Of a data set: names, labels and the files of the parts that a stage reads.
    """

    config: PipelineConfig
    made: Mapping[str, Outputs]
    data: Callable[[SourceConfig, tuple[Part, ...]], dict[str, str]]
    address: str | None = None


class Stage(Protocol):
    """One stage.

    Attributes:
        on_ray: Whether it needs a Ray session.
    """

    on_ray: bool

    def inputs(self, work: Work) -> dict[str, Any]:
        """Everything that the result depends on, as plain values: equal inputs, equal result."""
        ...

    def run(self, work: Work, folder: RunFolder) -> Outputs:
        """Do it in a folder, or go on with what an interruption has left there."""
        ...

    def told(self, outputs: Outputs) -> str:
        """The result in a few words."""
        ...


def stages_of(config: PipelineConfig) -> dict[str, Stage]:
    """The stages that a pipeline has, in order."""
    stages: dict[str, Stage] = {"train": _Train()}
    if config.integral is not None:
        stages["integral"] = _Integral()
    if config.maps is not None:
        stages["maps"] = _Maps()
    stages |= {"cues": _Cues(), "segment": _Segment()}
    if config.segment.retrain is not None:
        stages["retrain"] = _Retrain()
    return stages | {"evaluation": _Evaluation()}


def is_intact(outputs: Outputs) -> bool:
    """Whether what a stage has left is still there and still the same."""
    try:
        return all(checksum(outputs) == outputs[name] for name, checksum in CHECKSUMS.items() if name in outputs)
    except (AttnError, OSError, ValueError, KeyError, TypeError, AttributeError):  # a damaged record names anything
        return False


def _weights_digest(outputs: Outputs) -> str | None:
    model = outputs["model"]
    described = load_json(read_bytes(f"{model}/model.json"))
    return str(described["sha256"]) if exists(f"{model}/{WEIGHTS}") else None


def _store_digest(outputs: Outputs) -> str:
    return store.open(outputs["store"]).at(outputs["store_version"]).digest()


def _png_digest(outputs: Outputs) -> str:
    digest = hashlib.sha256()
    for name in list_below(outputs["png"]):
        digest.update(f"{name}\n".encode() + hashlib.sha256(read_bytes(join(outputs["png"], name))).digest())
    return digest.hexdigest()


def _cues_digest(outputs: Outputs) -> str:
    made = load_json(read_bytes(f"{outputs['cues']}/{CUES_FILE}"))
    return str(made["digest"]) if len(list_below(outputs["cues"])) >= outputs["files"] else ""


def _scores_digest(outputs: Outputs) -> str:
    return hashlib.sha256(read_bytes(outputs["scores_file"])).hexdigest()


CHECKSUMS: dict[str, Callable[[Outputs], str | None]] = {
    "weights": _weights_digest,
    "stored": _store_digest,
    "drawn": _png_digest,
    "cued": _cues_digest,
    "scored": _scores_digest,
}
"""The hash under each name in a stage's outputs, computed anew."""


class _Train:
    on_ray = True

    def inputs(self, work: Work) -> dict[str, Any]:
        return _training_inputs(work.config.train, work)

    def run(self, work: Work, folder: RunFolder) -> Outputs:
        return _train(work.config.train, folder, work.address)

    def told(self, outputs: Outputs) -> str:
        return _figures(outputs["metrics"])


class _Integral:
    on_ray = True

    def inputs(self, work: Work) -> dict[str, Any]:
        assert work.config.integral is not None, "a stage only where it is given"
        described = _training_inputs(work.config.integral, work)
        method = {
            name: value for name, value in described["config"]["method"].items() if name not in ("maps", "version")
        }
        return described | {"config": described["config"] | {"method": method}, "maps": work.made["train"]["stored"]}

    def run(self, work: Work, folder: RunFolder) -> Outputs:
        assert work.config.integral is not None, "a stage only where it is given"
        first, config = work.made["train"], work.config.integral
        method = config.method.model_copy(update={"maps": first["store"], "version": first["store_version"]})
        return _train(config.model_copy(update={"method": method}), folder, work.address)

    def told(self, outputs: Outputs) -> str:
        return _figures(outputs["metrics"])


class _Maps:
    on_ray = False

    def inputs(self, work: Work) -> dict[str, Any]:
        assert work.config.maps is not None, "a stage only where it is given"
        data = work.data(work.config.maps.data, ("image",))
        return {"config": _plain(work.config.maps), "data": data, "weights": _classifier(work)["weights"]}

    def run(self, work: Work, folder: RunFolder) -> Outputs:
        config = work.config.maps
        assert config is not None, "a stage only where it is given"
        recorded = config.model_copy(update={"tracking": work.config.tracking})
        result = maps.run(
            _classifier(work)["model"],
            as_overrides(recorded.model_dump(mode="json")),
            run_id=folder.run_id,
            address=work.address,
        )
        if "png" in result:
            found = {"png": result["png"]}
            return found | {"drawn": _png_digest(found), "images": result["images"], "maps": result["maps"]}
        found = {"store": result["store"], "store_version": result["store_version"]}
        return found | {"stored": _store_digest(found), "images": result["images"], "maps": result["maps"]}

    def told(self, outputs: Outputs) -> str:
        return f"{outputs['maps']} maps of {outputs['images']} images"


class _Cues:
    on_ray = False

    def inputs(self, work: Work) -> dict[str, Any]:
        config = work.config
        labels, source = config.labels.model_dump(mode="json", exclude={"maps"}), config.segment.data
        made = _attention(work)
        data = {"config": source.model_dump(mode="json"), **work.data(source, ("image", "mask", "saliency"))}
        return {"labels": labels, "data": data, "maps": made.get("stored") or made["drawn"]}

    def run(self, work: Work, folder: RunFolder) -> Outputs:
        config, made = work.config, _attention(work)
        source: MapSourceConfig
        if "store" in made:
            source = StoreMaps(uri=made["store"], version=made["store_version"])
        else:
            source = FolderMaps(path=made["png"])
        labels = config.labels.model_copy(update={"maps": source})
        segment = config.segment.model_copy(update={"labels": labels})
        result = cues.run(segment, run_id=folder.run_id)
        report = result["report"]
        files = len(list_below(result["folder"]))
        return {
            "cues": result["folder"],
            "files": files,
            "cued": report["digest"],
            "quality": report.get("quality") or {},
        }

    def told(self, outputs: Outputs) -> str:
        return _figures(outputs["quality"]) or "no masks to hold the cues against"


class _Segment:
    on_ray = True

    def inputs(self, work: Work) -> dict[str, Any]:
        described = _training_inputs(work.config.segment, work)
        described["config"].pop("labels")
        described["config"]["retrain"] = None  # a stage of its own
        if work.config.from_classifier:
            described["weights"] = _classifier(work)["weights"]
        return described | {"cues": work.made["cues"]["cued"]}

    def run(self, work: Work, folder: RunFolder) -> Outputs:
        config = work.config.segment
        made: dict[str, Any] = {"labels": FileLabels(path=work.made["cues"]["cues"]), "retrain": None}
        if work.config.from_classifier:
            made["model"] = config.model.model_copy(update={"weights": _classifier(work)["model"]})
        return _train(config.model_copy(update=made), folder, work.address)

    def told(self, outputs: Outputs) -> str:
        return _figures(outputs["metrics"])


class _Retrain:
    on_ray = True

    def inputs(self, work: Work) -> dict[str, Any]:
        described = _training_inputs(work.config.segment, work)
        described["config"].pop("labels")
        return described | {"weights": work.made["segment"]["weights"]}

    def run(self, work: Work, folder: RunFolder) -> Outputs:
        first = work.made["segment"]["model"]
        return _outputs(retrain(work.config.segment, first, folder, work.address))

    def told(self, outputs: Outputs) -> str:
        return _figures(outputs["metrics"])


class _Evaluation:
    on_ray = False

    def inputs(self, work: Work) -> dict[str, Any]:
        config = work.config.evaluation
        data, weights = work.data(config.data, ("image", "mask")), _segmenter(work)["weights"]
        return {"config": _plain(config), "data": data, "weights": weights}

    def run(self, work: Work, folder: RunFolder) -> Outputs:
        model, overrides = _segmenter(work)["model"], as_overrides(work.config.evaluation.model_dump(mode="json"))
        result = segment_predict.run(model, overrides, run_id=folder.run_id, address=work.address)
        found = {"scores_file": folder.path("scores.json"), "scores": result["scores"], "masks": result["masks"]}
        return found | {"scored": _scores_digest(found), "protocols": result["protocols"], "images": result["images"]}

    def told(self, outputs: Outputs) -> str:
        return _figures(outputs["scores"]) or "no masks to score against"


def _classifier(work: Work) -> Outputs:
    return work.made.get("integral") or work.made["train"]


def _segmenter(work: Work) -> Outputs:
    return work.made.get("retrain") or work.made["segment"]


def _attention(work: Work) -> Outputs:
    """The outputs with the maps that cues are made of."""
    return work.made.get("maps") or _classifier(work)


def _plain(config: Config) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude=PLACE)


def _training_inputs(config: RunConfig, work: Work) -> dict[str, Any]:
    described: dict[str, Any] = {"config": _plain(config)}
    parts: tuple[Part, ...] = ("image",)
    if isinstance(config, TrainConfig):
        if config.method.build().supervision is not None:
            parts += ("mask",)
        if (stream := config.method.source_stream) is not None:
            seen: tuple[Part, ...] = ("image", "saliency") if stream.saliency else ("image",)
            described["companion"] = work.data(stream.source, seen)  # in hashes of stages that are there already
    described["data"] = work.data(config.data, parts)
    weights = described["config"]["model"].get("weights")
    if isinstance(weights, str) and weights != "imagenet":
        file = weights_file(weights)
        if is_remote(file):
            described["weights"] = file_mark(file)
        else:
            described["weights"] = sha256_of(Path(file)) if Path(file).is_file() else None
    return described


def _train(config: RunConfig, folder: RunFolder, address: str | None) -> Outputs:
    if folder.exists():
        result = train.resume(folder.uri, address=address)
    else:
        result = train.run(config, run_id=folder.run_id, address=address)
    return _outputs(result)


def _outputs(result: dict[str, Any]) -> Outputs:
    """What a training has left."""
    outputs: Outputs = {"model": result["model"], "metrics": result["metrics"]}
    outputs["weights"] = _weights_digest(outputs)
    if result["store"]:
        outputs |= {"store": result["store"], "store_version": result["store_version"]}
        outputs["stored"] = _store_digest(outputs)
    return outputs


def _figures(values: Mapping[str, Any]) -> str:
    """Shares in percent, the telling ones."""
    shown = [name for name in SHOWN if isinstance(values.get(name), float)]
    return ", ".join(f"{SHOWN[name]} {100 * values[name]:.1f} %" for name in shown)


SHOWN = {
    "val/mAP": "mAP",
    "val/miou": "val mIoU",
    "coverage": "coverage",
    "precision": "precision",
    "miou": "mIoU",
    "miou_crf": "mIoU with CRF",
}
