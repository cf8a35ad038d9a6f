"""Score a trained model and its attention maps on any data, in this process."""

from __future__ import annotations

__all__ = ["resolve_config", "run", "score", "table"]

import contextlib
import csv
import io
import json
import re
import sys
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from attn.config.base import is_remote
from attn.config.document import dump_values, read_document
from attn.config.evaluate import EvaluateConfig, ModelPlace
from attn.config.resolve import dump_config, resolve
from attn.data import transfer
from attn.data.dataset import AttentionDataset
from attn.data.files import name_of
from attn.data.loader import build_loader
from attn.data.transforms import InputConfig
from attn.errors import AttnError, DataError, RunError, TrackingError, WeightsError
from attn.evaluation.evaluate import DataDescription, Evaluation, evaluate
from attn.evaluation.inference import ImageMaps
from attn.models.bundle import Bundle, load_bundle
from attn.pictures.curve import threshold_curves
from attn.pictures.panel import Looked, panel, sheet
from attn.pictures.preview import looked_at, spread
from attn.tracking import Tracker, attach, create_run, fetch_model
from jobs.checkpoint_transfer import download_folder
from jobs.run_folder import RunFolder, new_run_id

if TYPE_CHECKING:
    from rich.table import Table

SHEET_ROWS = 8
# Short enough for a terminal of 80 columns; `direct_miou_best` is in scores.json.
FIGURES = {
    "mean_ap": "AP",
    "mean_auc": "AUC",
    "recall": "recall",
    "specificity": "spec.",
    "seed_miou": "seed",
    "direct_miou": "direct",
    "energy": "energy",
    "pointing": "point",
    "coverage": "cover",
    "precision": "prec.",
}


def run(model: str, overrides: list[str]) -> dict[str, Any]:
    """Score a model and write the scores, a table per class, curves and panels into a folder of their own.

    Args:
        model: A bundle's folder, a run's id or folder, or a registered model as `name@alias` or `name/version`.
        overrides: `a.b=value`, over the model's own data and input.

    Returns:
        `run_id`, `folder`, `model`, `data`, `images`, `masked`, `scores` by name, `protocols` (hash by score), `notes`,
        `per_class` rows, `tracking_run`, `seconds`.

    Raises:
        AttnError: Model, config and data do not fit; the text says where.
    """
    return score(model, overrides)[0]


def score(model: str, overrides: list[str]) -> tuple[dict[str, Any], list[Looked]]:
    """As `run`, and the images that were drawn with their maps."""
    started = time.time()
    with _opened(model, overrides) as bundle:
        config = resolve_config(bundle, overrides, f"{model}: config.yaml")
    layer = config.evaluation.layer or bundle.layer
    config = config.model_copy(update={"evaluation": config.evaluation.model_copy(update={"layer": layer})})
    bundle.network.expose(layer)
    source = config.data.build()
    _check_classes(bundle.classes, source.classes)
    dataset = AttentionDataset(source, config.input, train=False, with_masks=config.evaluation.maps)
    if not len(dataset):
        raise DataError(f"data.split={config.data.split!r} has no images")
    folder = RunFolder(config.root, new_run_id("evaluate"))
    tracking_run = create_run(config.tracking, config.root, folder.run_id, config, tags={"attn.model": model})
    folder.update(kind="evaluate", state="running", started=started, model=model, tracking_run=tracking_run)
    folder.write("config.yaml", dump_config(config, f"The resolved config of the evaluation of {model}."))
    tracker = attach(config.tracking, config.root, tracking_run)
    try:
        evaluation, looked = _evaluate(bundle, config, dataset)
        _write(folder, evaluation, looked)
        with _told("the scores could not be recorded", TrackingError):
            _record(tracker, folder, evaluation)
    except BaseException as error:
        state = "cancelled" if isinstance(error, KeyboardInterrupt) else "failed"
        with _told("the evaluation's end could not be recorded", AttnError):  # must not hide what ended it
            folder.update(state=state, ended=time.time(), error=str(error))
        with _told("the evaluation's end could not be recorded", AttnError):
            tracker.terminate(state)
        raise
    folder.update(state="done", ended=time.time(), metrics=evaluation.metrics())
    with _told("the evaluation's end could not be recorded", TrackingError):
        tracker.terminate("done")
    result = {
        "run_id": folder.run_id,
        "folder": folder.uri,
        "model": model,
        "data": f"{_name(config.data)} {config.data.split}",
        "images": evaluation.images,
        "masked": evaluation.masked,
        "scores": evaluation.metrics(),
        "protocols": {name: score.hash for name, score in evaluation.scores.items()},
        "notes": list(evaluation.notes),
        "per_class": evaluation.table(),
        "tracking_run": tracking_run,
        "seconds": round(time.time() - started, 1),
    }
    return result, looked


def resolve_config(bundle: Bundle, overrides: list[str], name: str) -> EvaluateConfig:
    """The evaluation's config: the validation split and input of the model's own run, changed by the overrides.

    Args:
        name: What to call the model's config in messages.

    Raises:
        ConfigError: With all faults.
    """
    trained: dict[str, Any] = {}
    if bundle.config_file.is_file():
        trained = read_document(bundle.config_file.read_text(encoding="utf-8"), name).values
    text: dict[str, Any] = {"tracking": {"enabled": False}, "input": json.loads(bundle.input.model_dump_json())}
    if "data" in trained:
        split = (trained.get("validation") or {}).get("split") or trained["data"].get("split")
        text["data"] = trained["data"] | ({"split": split} if split else {})
    return resolve(EvaluateConfig, dump_values(text), name, overrides)


def table(result: dict[str, Any]) -> Table:
    """The result of `run` as a table for a terminal: one row a class, the means last."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    rows, scores = result["per_class"], result["scores"]
    shown = [name for name in FIGURES if name in scores]
    title = f"{result['data']}: {result['images']} images, {result['masked']} with masks; percent"
    drawn = Table(title=title, title_style="bold", title_justify="left", box=SIMPLE_HEAD, padding=0, pad_edge=False)
    drawn.add_column("class", overflow="fold")
    for name in shown:
        drawn.add_column(FIGURES[name], justify="right", no_wrap=True, min_width=max(5, len(FIGURES[name])))
    for row in rows:
        drawn.add_row(row["class"], *(_percent(row.get(name)) for name in shown))
    drawn.add_section()
    drawn.add_row("mean", *(_percent(scores[name]) for name in shown), style="bold")
    drawn.caption, drawn.caption_justify = "\n".join([*result["notes"], result["folder"]]), "left"
    return drawn


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


@contextlib.contextmanager
def _told(what: str, kind: type[AttnError]) -> Generator[None]:
    """Within, an error of a kind becomes a line on stderr."""
    try:
        yield
    except kind as error:
        print(f"{what}: {error}", file=sys.stderr)


@contextlib.contextmanager
def _opened(model: str, overrides: list[str]) -> Generator[Bundle]:
    """The model, wherever it lies; a copy that had to be fetched is removed afterwards."""
    of_place = [text for text in overrides if re.match(r"(root|tracking\.\w+)=", text)]
    place = resolve(ModelPlace, "tracking: {enabled: false}", "overrides", of_place)
    with tempfile.TemporaryDirectory(prefix="attn-model-") as scratch:
        try:
            bundle = _load(model, place.root, Path(scratch))
        except WeightsError:
            if not re.fullmatch(r"[^/@]+(@[^/@]+|/[0-9]+)", model) or Path(model).exists():
                raise
            bundle = load_bundle(fetch_model(place.tracking, place.root, model, Path(scratch)))
        yield bundle


def _load(model: str, root: str, scratch: Path) -> Bundle:
    if is_remote(model):
        places = [model.rstrip("/"), f"{model.rstrip('/')}/model"]
    elif is_remote(root) and not Path(model).exists():
        places = [f"{root.rstrip('/')}/{model}/model"]
    else:
        return load_bundle(model, root)
    for uri in places:
        if transfer.exists(f"{uri}/model.json"):
            return load_bundle(download_folder(uri, scratch))
    raise WeightsError(
        f"no trained model {model!r}: looked for model.json in {', '.join(places)}; give a finished run's id or folder"
    )


def _check_classes(of_model: tuple[str, ...], of_data: tuple[str, ...]) -> None:
    if of_model == of_data:
        return
    missing, more = sorted(set(of_model) - set(of_data)), sorted(set(of_data) - set(of_model))
    if not missing and not more:
        raise DataError(
            "the data has the model's classes in another order, so that labels would be taken for one another: "
            f"give data.classes={json.dumps(list(of_model))} where the source has that field"
        )
    parts = [f"the data lacks {', '.join(missing)}"] if missing else []
    parts += [f"the model does not know {', '.join(more)}"] if more else []
    raise DataError(
        f"the model has {len(of_model)} classes, the data {len(of_data)}, and they differ: {'; '.join(parts)}. "
        "Evaluate on data with the classes that the model was trained on"
    )


def _evaluate(bundle: Bundle, config: EvaluateConfig, dataset: AttentionDataset) -> tuple[Evaluation, list[Looked]]:
    device = _device(config.device)
    batches = [
        range(start, min(start + config.batch_size, len(dataset)))
        for start in range(0, len(dataset), config.batch_size)
    ]
    if config.input.resize == "short_side":  # inputs differ in size, and only equal ones make a batch
        batches = [range(index, index + 1) for index in range(len(dataset))]
    source = dataset.source
    wanted = {source.records[index].image_id: index for index in spread(source.records, config.panels)}
    looked: list[Looked] = []

    def keep(maps: ImageMaps) -> None:
        if (index := wanted.get(maps.record.image_id)) is not None:
            looked.append(looked_at(maps, source.load(index, saliency=False), bundle.classes))

    evaluation = evaluate(
        bundle.network.to(device),
        build_loader(dataset, batches, workers=config.data_workers),
        bundle.classes,
        config.evaluation,
        config.map_kind or bundle.map_kind,
        device,
        data=DataDescription(
            source=_name(config.data),
            split=config.data.split,
            resize=_resize(config.input),
            masks=_masks(config.data),
        ),
        observe=keep,
    )
    return evaluation, looked


def _device(name: str) -> torch.device:
    if name == "gpu" and not torch.cuda.is_available():
        raise RunError("device=gpu, but PyTorch sees no GPU here; set device=cpu or device=auto")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def _name(data: Any) -> str:
    return str(data.source)


def _masks(data: Any) -> str | None:
    """The folder of the masks by a name that is the same on every machine."""
    masks = getattr(data, "masks", None)
    return name_of(masks) if masks and masks.startswith(("/", "s3://")) else masks


def _resize(config: InputConfig) -> str:
    size = f"{config.size}x{config.size}" if isinstance(config.size, int) else "x".join(map(str, config.size))
    return f"short_side {config.size}" if config.resize == "short_side" else f"{config.resize} {size}"


def _write(folder: RunFolder, evaluation: Evaluation, looked: list[Looked]) -> None:
    scores = {name: json.loads(score.to_json()) for name, score in evaluation.scores.items()}
    described = {
        "images": evaluation.images,
        "masked": evaluation.masked,
        "classes": list(evaluation.classes),
        "notes": list(evaluation.notes),
        "scores": scores,
    }
    folder.write("scores.json", json.dumps(described, indent=1, allow_nan=False))
    rows = evaluation.table()
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    folder.write("per_class.csv", text.getvalue())
    names = {"seed_miou": "seed mIoU", "direct_miou": "direct mIoU", "coverage": "coverage", "precision": "precision"}
    curves = {label: evaluation.scores[name].curve for name, label in names.items() if name in evaluation.scores}
    if curves:
        seeds = evaluation.scores["seed_miou"]
        title = f"{seeds.protocol.source} {seeds.protocol.split}, {seeds.protocol.map_kind}"
        folder.write("curves.png", threshold_curves(curves, mark=seeds.extras["threshold"], title=title).png())
    for one in looked:
        folder.write(f"panels/{re.sub(r'[^A-Za-z0-9_.-]', '_', one.image_id)}.png", panel(one).png())
    if looked:
        folder.write("sheet.png", sheet(looked[:SHEET_ROWS]).png())


def _record(tracker: Tracker, folder: RunFolder, evaluation: Evaluation) -> None:
    if tracker.run_id is None:
        return
    tracker.log_metrics(evaluation.metrics(), 0)
    tracker.set_tags({f"attn.protocol.{name}": score.hash for name, score in evaluation.scores.items()})
    tracker.log_text("scores.json", folder.read("scores.json").decode())
    tracker.log_text("per_class.csv", folder.read("per_class.csv").decode())
    if folder.is_local:
        for name in ("curves.png", "sheet.png", "panels"):
            if (path := Path(folder.path(name))).exists():
                tracker.log_files(path, name if path.is_dir() else "")
