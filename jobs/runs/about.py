"""Description of a run in a few words, for lists of runs: from its config, of any kind and any version."""

from __future__ import annotations

__all__ = ["about_of", "about_run", "maps_words", "method_words", "target_name"]

from collections.abc import Mapping, Sequence
from typing import Any

from attn.config.document import read_document
from attn.errors import AttnError
from attn.files.locations import name_of
from attn.run_state import About, RunState
from jobs.runs.run_folder import RunFolder

MADE_OF_MAPS = ("compare", "evaluate", "maps")
"""Kinds whose config says how maps are made."""


def about_of(
    kind: str | None,
    config: Mapping[str, Any],
    base: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
) -> About:
    """Describe a run by its config as plain values; what the config does not say stays empty.

    Args:
        base: Of a sweep: the config of the run that it searches.
        recipe: Config of the recipe that it started from. A network that is not the recipe's is named.
    """
    if kind == "sweep":
        return _about_sweep(config, base or {})
    if kind == "pipeline":
        classifier = "integral" if _section(config, "integral") else "train"
        names = [_trained(config, recipe, classifier), _trained(config, recipe, "segment")]
        data = _data(_section(config, "train")) or _data(config)
        return About(what=" + ".join(name for name in names if name) or None, data=data)
    if kind == "cues":
        maps = _section(config, "labels", "maps")
        where = maps.get("model") or maps.get("uri") or maps.get("root")
        return About(what=f"of {target_name(where)}" if isinstance(where, str) else None, data=_data(config))
    training = _section(config, "training")
    epochs = training.get("epochs") if training.get("steps") is None else None
    return About(
        what=_trained(config, recipe),
        data=_data(config),
        epochs=epochs if isinstance(epochs, int) else None,
        maps=(kind in MADE_OF_MAPS and _maps(config, config if kind == "maps" else _section(config, "maps"))) or None,
    )


def about_run(folder: RunFolder, state: RunState) -> About:
    """Description of a run: that of its `run.json` or, for a run of an earlier version, from its config."""
    about = state.about
    if about is None:
        base = _values(folder, "base.yaml") if state.kind == "sweep" else None
        about = about_of(state.kind, _values(folder, "config.yaml"), base)
    target = state.target or state.model
    if about.what is None and state.kind in ("evaluate", "maps", "masks"):
        target = target or (state.maps if isinstance(state.maps, str) else None)
        about = about.model_copy(update={"what": target and f"of {target_name(target)}"})
    if about.what is None and state.compared:
        about = about.model_copy(update={"what": f"of {', '.join(state.compared)}"})
    if about.what is not None and about.maps is not None:
        about = about.model_copy(update={"what": f"{about.what}, maps: {about.maps}"})
    return about


def maps_words(scales: Sequence[float], flip: bool, refinement: Mapping[str, Any] | None) -> str:
    """What differs from plain maps, in a few words: `3 scales, flip, affinity`; empty for plain maps.

    Args:
        refinement: Its description, or its config as plain values.
    """
    several = f"{len(scales)} scales" if len(scales) > 1 else f"scale {scales[0]:g}"
    words = ([] if tuple(scales) == (1.0,) else [several]) + (["flip"] if flip else [])
    steps: list[str] = []
    while refinement is not None:  # one may be of maps that another has refined before
        steps.insert(0, str(refinement.get("name", "refined")))
        refinement = refinement.get("after")
    return ", ".join([*words, *steps])


def _about_sweep(config: Mapping[str, Any], base: Mapping[str, Any]) -> About:
    searched = ", ".join(_section(config, "space"))
    title = method_words(base) or about_of(str(base.get("kind", "train")), base).what
    trials = _section(config, "search").get("trials")
    return About(
        what=": ".join(words for words in (title, searched) if words) or None,
        data=_data(base) or _data(_section(base, "train")),
        trials=trials if isinstance(trials, int) else None,
    )


def _section(values: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        inner = values.get(name)
        values = inner if isinstance(inner, Mapping) else {}
    return values


def method_words(config: Mapping[str, Any], *section: str) -> str | None:
    """The name of a config's method; with supervision by masks or boxes, also that."""
    method = _section(config, *section, "method")
    name, extra = method.get("name"), method.get("extra_supervision")
    if not isinstance(name, str):
        return None
    return f"{name} with {extra}" if isinstance(extra, str) and extra != "none" else name


def _trained(config: Mapping[str, Any], recipe: Mapping[str, Any] | None, *section: str) -> str | None:
    """The method's name, with the network's if it is another than the recipe's."""
    name = method_words(config, *section)
    own, theirs = (_section(one, *section, "model").get("name") for one in (config, recipe or config))
    return f"{name} ({own})" if name is not None and isinstance(own, str) and own != theirs else name


def _maps(config: Mapping[str, Any], maps: Mapping[str, Any]) -> str:
    """How the maps differ from plain ones of the model; of values that nobody can read, nothing."""
    kind = config.get("map_kind")
    try:
        words = maps_words(maps.get("scales") or (1.0,), bool(maps.get("flip")), maps.get("refine"))
    except (AttributeError, TypeError, ValueError):
        return ""
    return ", ".join(filter(None, (kind if isinstance(kind, str) else None, words)))


def target_name(target: str) -> str:
    """The name of the model or store that a run works on, without the folders above it; `NAME/2` stays whole."""
    place = target.removesuffix("/model").removesuffix("/store").rstrip("/")
    name = name_of(place)
    above = name_of(place.removesuffix(name)) if name.isdecimal() else ""
    return f"{above}/{name}" if above else name


def _data(config: Mapping[str, Any]) -> str | None:
    data = _section(config, "data")
    words = [data.get("source"), data.get("split")]
    return " ".join(name_of(word) for word in words if isinstance(word, str)) or None


def _values(folder: RunFolder, name: str) -> dict[str, Any]:
    """A YAML file of a run as plain values; empty where there is none that can be read."""
    try:
        if not folder.exists(name):
            return {}
        return read_document(folder.read_text(name), folder.path(name)).values
    except AttnError:
        return {}
