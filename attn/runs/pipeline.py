"""The configuration of a pipeline: one section a stage, each of them the configuration that the stage has anywhere."""

from __future__ import annotations

__all__ = ["STAGES", "PipelineConfig", "Stage", "load_pipeline", "resolve_pipeline", "read_pipeline"]

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, get_args

from pydantic import model_validator

from attn.config.base import Config
from attn.config.document import Document, layered
from attn.config.resolve import drop_other_members, merged, override, parse_config, rank_in
from attn.data.source import SourceConfig, validation_split
from attn.errors import ConfigError, Fault
from attn.maps.refine import RefinementConfig
from attn.runs.composed import ComposedConfig
from attn.runs.config_reader import require_kind
from attn.runs.layers import Layers, read_layers, section_layers
from attn.runs.maps import MapsConfig
from attn.runs.recipes import load_run
from attn.runs.texts import RECIPES_ONLY, Texts
from attn.segmentation.config import SegmentConfig, SegmentPredictConfig
from attn.segmentation.labels import CueLabels
from attn.segmentation.map_sources import PipelineMaps
from attn.tracking.model_lookup import ModelLookup
from attn.training.network_input import own_input
from attn.training.run_config import RunConfig
from attn.training.train_config import TrainConfig

Stage = Literal["train", "refine", "integral", "maps", "cues", "segment", "retrain", "evaluation"]
STAGES: tuple[Stage, ...] = get_args(Stage)
TRAINING = ("train", "integral", "segment")
FIGURES = ("miou", "miou_crf", "cue_miou", "cue_miou_all", "cue_coverage", "cue_precision")
"""Scores of a pipeline."""
SHARED = {"root": (*TRAINING, "maps", "evaluation"), "tracking": (*TRAINING, "maps", "evaluation")} | dict.fromkeys(
    ("data", "seed", "cluster"), TRAINING
)
"""Fields above the sections, and the sections that take their values from them unless they set their own."""
REGISTERED = ("register_as", "alias")
"""Fields of the shared `tracking` that are of the segmentation network alone."""


class PipelineConfig(ComposedConfig):
    """From images and their labels to a segmentation network's masks and scores.

    Attributes:
        train: The classifier whose attention becomes cues.
        refine: Refinement of the maps that `train` has accumulated; `integral`, or the cues, take the refined ones.
        integral: OAA+'s integral attention model on what `train` has accumulated; its `method.maps` is set.
        maps: The last classifier's maps of the images that are segmented; null: those that it has accumulated. Of a
            training that accumulates, `maps.refine` alone means `refine`.
        segment: The segmentation network. `labels` are cues: rule and saliency are given here, the maps are set.
        from_classifier: The segmentation network's backbone starts from the last classifier's weights.
        evaluation: Masks and scores of the network; by default on the validation split.
    """

    kind: Literal["pipeline"] = "pipeline"  # pyright: ignore[reportIncompatibleVariableOverride]
    train: TrainConfig
    refine: RefinementConfig | None = None
    integral: TrainConfig | None = None
    maps: MapsConfig | None = None
    segment: SegmentConfig
    from_classifier: bool = False
    evaluation: SegmentPredictConfig

    @property
    def title(self) -> str:
        """First part of the names of runs."""
        return f"{self.classifier.title}-{self.segment.method.variant}"

    def sections(self) -> dict[str, Config]:
        sections: dict[str, Config | None] = {name: getattr(self, name, None) for name in STAGES}
        return {name: section for name, section in sections.items() if section is not None}

    def stages(self) -> dict[str, str]:
        stages: dict[str, str] = {}
        for name in self.sections():
            stages |= {"cues": name, name: name} if name == "segment" else {name: name}
            if name == "segment" and self.segment.retrain is not None:
                stages["retrain"] = name
        return stages

    def figures(self) -> dict[str, str]:
        refined = "" if self.evaluation.inference.crf else "set evaluation.inference.crf, which is null"
        return dict.fromkeys(FIGURES, "") | {"miou_crf": refined}

    def scored(self, metric: str) -> SourceConfig:
        return self.segment.data if metric.startswith("cue_") else self.evaluation.data

    def input_faults(self, prefix: str = "") -> list[Fault]:
        faults = super().input_faults(prefix)
        if faults or self.maps is None:
            return faults
        return self.classifier.map_faults(self.maps.input, self.maps, f"{prefix}maps.")

    @property
    def classifier(self) -> TrainConfig:
        """The training whose maps become cues."""
        return self.integral or self.train

    @property
    def data(self) -> SourceConfig:
        """The classifier's training data."""
        return self.train.data

    @property
    def labels(self) -> CueLabels:
        """Rule that makes cues of maps."""
        assert isinstance(self.segment.labels, CueLabels), "checked"
        return self.segment.labels

    @model_validator(mode="after")
    def _choose_input(self) -> Self:
        if self.maps is not None:
            own = own_input(self.maps.input, self.classifier.model.name)
            object.__setattr__(self, "maps", self.maps.model_copy(update={"input": own}))
        return self

    @model_validator(mode="after")
    def _check_stages(self) -> Self:
        labels = self.segment.labels
        if not isinstance(labels, CueLabels):
            raise ValueError(
                f"segment.labels.source={labels.variant} does not learn from the stages before: set it to cues, or use "
                "`attn segment` alone"
            )
        if not isinstance(labels.maps, PipelineMaps):
            raise ValueError(
                f"segment.labels.maps.source={labels.maps.variant}: a pipeline's cues are of its own maps; leave it out"
            )
        if self.integral is not None and (self.integral.method.variant != "oaa_plus" or not self.train.accumulates):
            raise ValueError(
                "integral learns from the maps that train has accumulated: set integral.method.name=oaa_plus and "
                "train.store.accumulate=true, or leave integral out"
            )
        if self.integral is None and self.train.method.variant == "oaa_plus":
            raise ValueError(
                "train.method.name=oaa_plus needs accumulated maps: make it integral, and train an OAA run"
            )
        if self.refine is not None and not self.train.accumulates:
            raise ValueError(
                "refine is of the maps that train has accumulated, and it keeps none: set maps.refine instead, or "
                "train.store.accumulate=true"
            )
        if self.refine is not None and self.integral is None and self.maps is not None:
            raise ValueError(
                "refine is of the maps that train has accumulated, but the cues are of those of the section maps: set "
                "maps.refine instead, or maps=null"
            )
        if self.maps is None and not self.classifier.accumulates:
            raise ValueError("maps=null takes the maps that training has accumulated, and it keeps none: leave it out")
        return self

    @model_validator(mode="after")
    def _check_start(self) -> Self:
        classifier, network = self.classifier.model, self.segment.model
        if not self.from_classifier:
            return self
        if network.weights is not None:
            raise ValueError(
                f"from_classifier=true takes the place of segment.model.weights={network.weights}: set that to null"
            )
        if (network.name, network.widths) != (classifier.name, classifier.widths):
            raise ValueError(
                f"segment.model is {network.name} {network.widths or ''}, which cannot start from the classifier's "
                f"{classifier.name} {classifier.widths or ''}: make them the same, or set from_classifier=false"
            )
        return self

    @model_validator(mode="after")
    def _check_place(self) -> Self:
        sections: dict[str, RunConfig | ModelLookup | None] = {name: getattr(self, name) for name in SHARED["root"]}
        for name, section in sections.items():
            if section is None:
                continue
            if section.root != self.root:
                raise ValueError(f"{name}.root={section.root}: all stages lie under one root; set root instead")
            for field in ("enabled", "uri", "experiment"):
                ours, theirs = getattr(self.tracking, field), getattr(section.tracking, field)
                if ours != theirs:
                    raise ValueError(
                        f"{name}.tracking.{field}={theirs}: all stages are recorded in one place; set tracking"
                    )
        return self


def load_pipeline(target: str, overrides: list[str]) -> PipelineConfig:
    """The pipeline that a recipe's name or a YAML file gives, changed by overrides.

    Raises:
        ConfigError: With all faults; or the recipe is of another kind.
    """
    return load_run(target, "pipeline", overrides)


def read_pipeline(
    text: str, name: str, overrides: list[str] | None = None, *, texts: Texts = RECIPES_ONLY
) -> PipelineConfig:
    """As `load_pipeline`, of a text; `texts` finds what it names.

    Raises:
        ConfigError: With all faults.
    """
    return resolve_pipeline(read_layers(text, name, overrides or [], texts))


def resolve_pipeline(layers: Layers) -> PipelineConfig:
    """Check a pipeline's texts.

    A section may name a `recipe` to start from. Over that lies what a text gives above the sections, over that the
    section's own fields, over those the next text, and last the overrides, likewise.

    Raises:
        ConfigError: With all faults.
    """
    said = Document()
    override(said, layers.overrides)
    documents = (*layers.documents, said)
    whole, lowest = layered(*documents), list[Document]()
    for section in TRAINING:
        if isinstance(whole.values.get(section), dict):
            under = _recipe(section, documents, layers.texts)
            lowest += under
            whole.attach(section, _training(section, documents, under))
    if "train" in whole.values and "segment" in whole.values:
        _place_maps(whole, documents)
        _place_evaluation(whole, documents)
    if ("segment", "data") in whole.unread:  # they have its data
        whole.unread |= {("maps", "data"), ("evaluation", "data")}
    for field in set(SHARED) - set(PipelineConfig.model_fields):
        whole.values.pop(field, None)
    drop_other_members(PipelineConfig, whole, rank_in([*lowest, *layers.documents]))
    try:
        return parse_config(PipelineConfig, whole)
    except ConfigError as error:
        raise ConfigError(_once(error.faults)) from None


def _recipe(section: str, documents: Sequence[Document], texts: Texts) -> tuple[Document, ...]:
    """The texts of the recipe that a section starts from; empty without one."""
    own = layered(*(_nested(section, document.section(section)) for document in documents))
    recipe, location = own.section(section).values.get("recipe"), own.location((section, "recipe"))
    if not isinstance(recipe, str):
        return ()
    kind = "segment" if section == "segment" else "train"
    try:
        result = section_layers(own, section, recipe, texts)
        require_kind(result.whole, [kind], f"name a recipe of kind {kind}")
    except ConfigError as error:
        faults = [Fault(location, f"{section}.recipe = {f.where}: {f.message}", f.hint) for f in error.faults]
        return (Document(faults=faults),)
    return result.documents


def _training(section: str, documents: Sequence[Document], under: Sequence[Document]) -> Document:
    """A section that trains, over the texts of its recipe."""
    own, above = layered(*(document.section(section) for document in documents)), list[Document]()
    for document in documents:
        above += [_shared(document, section), _without(document.section(section), "recipe")]
    labels = own.values.get("labels", {})
    if section == "segment" and isinstance(labels, dict) and labels.get("source", "cues") == "cues":
        above.insert(0, _at(own.location(()), {"labels": {"source": "cues", "maps": {"source": "pipeline"}}}))
    return layered(merged(SegmentConfig if section == "segment" else TrainConfig, under), *above)


def _place_maps(whole: Document, layers: Sequence[Document]) -> None:
    last = "integral" if isinstance(whole.values.get("integral"), dict) else "train"
    store = whole.section(last).values.get("store")
    if isinstance(store, dict) and store.get("accumulate") is True:
        given = whole.section("maps")
        if given.values.keys() == {"refine"} and "refine" not in whole.values:
            whole.attach("refine", given.section("refine"))
            whole.drop(("maps",))
        if "maps" not in whole.values:
            return
    fields = _borrowed(whole, {"data": ("segment", "data"), "input": (last, "input")})
    _derived(whole, layers, "maps", fields, exclude="")


def _place_evaluation(whole: Document, layers: Sequence[Document]) -> None:
    fields = _borrowed(whole, {"data": ("segment", "data"), "inference": ("segment", "inference")})
    segment = whole.section("segment")
    again = _borrowed(segment, {"inference": ("retrain", "inference")})
    learned = segment.section("data").values
    validation = segment.section("validation").values.get("split", validation_split(learned))
    if validation is None and "split" not in whole.section("evaluation").section("data").values:
        location = segment.location(("validation", "split"))
        problem = "segment.validation.split is null, so that nothing says which images the masks are scored on"
        whole.faults.append(Fault(location, problem, "set evaluation.data.split"))
    if isinstance(fields.values.get("data"), dict) and isinstance(validation, str):
        fields.set(("data", "split"), validation, segment.location(("validation",)))
    _derived(whole, layers, "evaluation", layered(fields, again), exclude="split")
    data = whole.section("evaluation").section("data").values
    if data and "split" not in data and data.get("source") != learned.get("source"):
        whole.set(("evaluation", "data", "split"), validation_split(data), whole.location(("evaluation", "data")))


def _derived(whole: Document, layers: Sequence[Document], section: str, fields: Document, *, exclude: str) -> None:
    """Put a section that begins with other sections' fields.

    Args:
        exclude: Field of the shared `data` overrides that this section ignores.
    """
    if not isinstance(whole.values.get(section, {}), dict):
        return
    location = whole.location((section,))
    above = [_at(location, {"tracking": {"enabled": True}}), fields]
    for layer in layers:
        above += [_shared(layer, section), layer.section(section)]
        if layer is layers[-1]:
            above.insert(-1, layered(_at(location, {}), _nested("data", _without(layer.section("data"), exclude))))
    whole.attach(section, layered(*above))


def _shared(document: Document, section: str) -> Document:
    """The fields above the sections that this section has too.

    A pipeline stands for its segmentation network, so that no other section has the name that it registers.
    """
    values = {
        field: document.values[field] for field in SHARED if section in SHARED[field] and field in document.values
    }
    tracking = values.get("tracking")
    if section != "segment" and isinstance(tracking, dict):
        values["tracking"] = {name: value for name, value in tracking.items() if name not in REGISTERED}
    return Document(
        values, {path: location for path, location in document.locations.items() if path and path[0] in values}
    )


def _borrowed(document: Document, fields: Mapping[str, tuple[str, str]]) -> Document:
    """Fields of a document's sections, by another name and with their places."""
    borrowed = Document()
    for name, (section, theirs) in fields.items():
        if isinstance(document.section(section).values.get(theirs), dict):
            borrowed = layered(borrowed, _nested(name, document.section(section).section(theirs)))
    return borrowed


def _nested(name: str, document: Document) -> Document:
    if not document.values:
        return Document()
    return Document({name: document.values}, {(name, *path): location for path, location in document.locations.items()})


def _without(document: Document, name: str) -> Document:
    values = {key: value for key, value in document.values.items() if key != name}
    return Document(values, document.locations)


def _at(location: str, values: dict[str, Any]) -> Document:
    return Document(values, {(): location})


def _once(faults: list[Fault]) -> list[Fault]:
    """Each fault once: what stands above the sections is checked in several of them."""
    once: dict[tuple[str, str], Fault] = {}
    for fault in faults:
        once.setdefault((fault.where, fault.message.partition(".")[2]), fault)
    return list(once.values())
