"""Model cards: a description of a trained model, its training data, its scores and its usage, as Markdown."""

from __future__ import annotations

__all__ = ["model_card"]

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attn.data.preprocessing import preprocessing_text
from attn.display import figures, percent
from attn.evaluation.score import Score
from attn.evaluation.thresholds import threshold_of
from attn.files.locations import name_of
from attn.prediction.usage import usage
from attn.wording import counted

SHOWN_CLASSES = 30
MAP_KINDS = {
    "cam": "class activation maps",
    "integral": "integral attention maps (OAA+)",
    "grad_cam": "Grad-CAM maps",
    "channel": "channel attention maps (ICASC)",
    "pixel": "pixel attention maps (ICASC)",
}
LOCATION_FIELDS = ("root", "images", "labels", "masks", "saliency", "location", "annotations", "table")
"""Fields with locations of data; a card shows only their last part."""


def model_card(name: str, described: Mapping[str, Any], config: Mapping[str, Any], scores: Sequence[Score] = ()) -> str:
    """The card of a model as Markdown.

    Args:
        name: Name and version in the registry, such as `gain/3`.
        described: The content of the bundle's `model.json`.
        config: The run's config as plain values; may be empty.
        scores: Scores from evaluations of exactly these weights.
    """
    info = dict(described.get("info") or {})
    parts = [
        f"# {name}",
        _summary(described, info),
        _rows("The model", _model(described)),
        _rows("Where it comes from", _origin(info, config)),
        _scores(scores),
        _use(name),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(described: Mapping[str, Any], info: Mapping[str, Any]) -> str:
    classes, method = counted(len(described["classes"]), "class", "classes"), (info.get("method") or {}).get("name")
    by = f", trained by {method}" if method else ""
    if described.get("task", "classification") == "segmentation":
        return f"A network that gives every pixel of an image one of {classes} or the background{by}."
    maps = MAP_KINDS.get(described["map_kind"], described["map_kind"])
    layer = described.get("layer", "last")
    return (
        f"A classifier that says which of {classes} are in an image{by}, and where it looks for each of them: "
        f"{maps} of the layer `{layer}`."
    )


def _model(described: Mapping[str, Any]) -> dict[str, Any]:
    model, use = described["model"], usage(described)
    network = {name: value for name, value in model.items() if value is not None and name not in _unused(model)}
    output = use["output"]
    rows = {
        "task": described.get("task", "classification"),
        "classes, in the order of the logits": _first_classes(output["logits"].get("channels", described["classes"])),
        "network": f"{model['name']}: {_as_text(network)}",
        "input": preprocessing_text(use["preprocessing"]),
        "probabilities": output["probabilities"],
        "predicted": output["predicted"],
        "averaged over": _averaged(output),
        "CRF": _as_text(output["crf"]) if output.get("crf") else None,
        "input in training": _as_text(_training_input(described["input"])),
        "weights (SHA-256)": described["sha256"],
    }
    return {key: value for key, value in rows.items() if value}


def _unused(model: Mapping[str, Any]) -> set[str]:
    """Fields without meaning for this network, such as sizes of layers that its head does not have."""
    unused = {"name", "weights"}
    if "fc_width" in model:  # a classifier's
        unused |= set() if model["head"] == "fc" else {"fc_width", "fc_dropout"}
        unused |= set() if model["head"] == "conv" else {"head_convolutions", "head_width"}
        unused |= set() if model["head_convolutions"] else {"head_width"}
    elif model.get("hidden") is None:
        unused |= {"dropout"}
    return unused


def _averaged(output: Mapping[str, Any]) -> str | None:
    scales, mirrored = output.get("scales", [1.0]), output.get("mirrored", False)
    parts = [f"scales {_as_text(scales)}"] if scales != [1.0] else []
    return ", ".join(parts + (["the mirrored input"] if mirrored else [])) or None


def _training_input(input: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the random transforms in training, without those of other `resize` modes."""
    resize = input["resize"]
    fields = {"crop": ("crop_area", "crop_aspect"), "scaled_crop": ("crop_scale",), "squash": ("shift",)}
    fields["random_part"] = fields["crop"]
    shown = {name: input[name] for name in ("resize", "size", *fields.get(resize, ()), "flip") if input.get(name)}
    jitter = {name: value for name, value in input.get("color_jitter", {}).items() if value}
    return shown | ({"color_jitter": jitter} if jitter else {})


def _origin(info: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    rows: dict[str, Any] = {"run": info.get("run_id")}
    data = {
        key: name_of(value) if key in LOCATION_FIELDS and isinstance(value, str) else value
        for key, value in dict(config.get("data") or {}).items()
        if value is not None and key != "classes"
    }
    rows["trained on"] = _as_text(data) if data else None
    rows["data fingerprint"] = info.get("data")
    rows["method"] = _as_text(info["method"]) if info.get("method") else None
    rows["map store"] = f"{info['store']}, version {info.get('store_version')}" if info.get("store") else None
    if (best := info.get("best")) is not None:
        rows["weights of"] = f"epoch {best['epoch']}, the best by {figures({best['metric']: best['value']})}"
    known = {"run_id", "data", "method", "store", "store_version", "best"}
    rows |= {key: _as_text(value) for key, value in info.items() if key not in known}
    return {key: value for key, value in rows.items() if value not in (None, "")}


def _rows(title: str, rows: Mapping[str, Any]) -> str:
    if not rows:
        return ""
    lines = [f"| {key} | {str(value).replace('|', chr(92) + '|')} |" for key, value in rows.items()]
    return "\n".join([f"## {title}", "", "| | |", "|---|---|", *lines])


def _scores(scores: Sequence[Score]) -> str:
    if not scores:
        return "## Scores\n\nNone yet: `attn evaluate` with `tracking.enabled=true` adds its own."
    lines = ["## Scores", "", "| score | value | data | images | measured on | protocol |", "|---|---|---|---|---|---|"]
    for score in sorted(scores, key=lambda one: (one.protocol.split, one.name)):
        protocol = score.protocol
        data = f"{protocol.source} {name_of(protocol.split)}"
        lines.append(
            f"| {score.name} | {percent(score.value)} % | {data} | {protocol.images} "
            f"| {_measured(score)} | `{score.hash[:12]}` |"
        )
    return "\n".join([*lines, "", "Values of different protocols are not comparable."])


def _measured(score: Score) -> str:
    protocol = score.protocol
    if protocol.scored == "classifier":
        return "classifier"
    parts = [protocol.scored]
    parts += [f"{protocol.map_kind} of {protocol.layer}"] if protocol.map_kind and protocol.layer else []
    parts += [f"{protocol.labels} classes"] if protocol.labels else []
    if protocol.threshold:
        at = threshold_of(score)
        parts.append(f"threshold {protocol.threshold.rule}" + (f" ({100 * at:g} %)" if at is not None else ""))
    parts += ["CRF"] if protocol.crf else []
    return ", ".join(parts)


def _use(name: str) -> str:
    folder = name.replace("/", "-")
    return "\n".join(
        [
            "## How to use it",
            "",
            "```bash",
            f"attn models get {name} --to {folder}        # checks the hash; from here on no network is needed",
            f"attn predict photograph.jpg --model {folder}",
            "```",
            "",
            "```python",
            "import attn",
            f'attn.open_model("{folder}").predict("photograph.jpg")    # tensors and JSON only: nothing is unpickled',
            "```",
        ]
    )


def _first_classes(names: Sequence[str]) -> str:
    rest = len(names) - SHOWN_CLASSES
    return ", ".join(names[:SHOWN_CLASSES]) + (f" and {rest} more" if rest > 0 else "")


def _as_text(value: Any) -> str:
    """Plain values as short text: `name gain, alpha 0.1`."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_as_text(inner)}" for key, inner in value.items() if inner is not None)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_as_text, value)) + "]"
    return value if isinstance(value, str) else json.dumps(value)
