"""Description of a run in a few words, for lists of runs: from its config, of any kind and any version."""

from __future__ import annotations

__all__ = ["about_of", "about_run"]

from collections.abc import Mapping
from typing import Any

from attn.config.document import read_document
from attn.errors import AttnError
from attn.files.locations import name_of
from attn.run_state import About, RunState
from jobs.runs.run_folder import RunFolder


def about_of(kind: str | None, config: Mapping[str, Any], base: Mapping[str, Any] | None = None) -> About:
    """Describe a run by its config as plain values; what the config does not say stays empty.

    Args:
        base: Of a sweep: the config of the run that it searches.
    """
    if kind == "sweep":
        return _about_sweep(config, base or {})
    if kind == "pipeline":
        classifier = "integral" if _section(config, "integral") else "train"
        names = [_name(config, classifier), _name(config, "segment")]
        data = _data(_section(config, "train")) or _data(config)
        return About(what=" + ".join(name for name in names if name) or None, data=data)
    if kind == "cues":
        maps = _section(config, "labels", "maps")
        where = maps.get("model") or maps.get("uri") or maps.get("root")
        return About(what=_of(where) if isinstance(where, str) else None, data=_data(config))
    training = _section(config, "training")
    epochs = training.get("epochs") if training.get("steps") is None else None
    return About(what=_name(config), data=_data(config), epochs=epochs if isinstance(epochs, int) else None)


def about_run(folder: RunFolder, state: RunState) -> About:
    """Description of a run: that of its `run.json` or, for a run of an earlier version, from its config."""
    about = state.about
    if about is None:
        base = _values(folder, "base.yaml") if state.kind == "sweep" else None
        about = about_of(state.kind, _values(folder, "config.yaml"), base)
    target = state.target or state.model
    if about.what is None and state.kind in ("evaluate", "maps", "masks"):
        target = target or (state.maps if isinstance(state.maps, str) else None)
        about = about.model_copy(update={"what": target and _of(target)})
    if about.what is None and state.compared:
        about = about.model_copy(update={"what": f"of {', '.join(state.compared)}"})
    return about


def _about_sweep(config: Mapping[str, Any], base: Mapping[str, Any]) -> About:
    searched = ", ".join(_section(config, "space"))
    title = _name(base) or about_of(str(base.get("kind", "train")), base).what
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


def _name(config: Mapping[str, Any], *section: str) -> str | None:
    """The method's name; with supervision by masks or boxes, also that."""
    method = _section(config, *section, "method")
    name, extra = method.get("name"), method.get("extra_supervision")
    if not isinstance(name, str):
        return None
    return f"{name} with {extra}" if isinstance(extra, str) and extra != "none" else name


def _of(target: str) -> str:
    """`of NAME`: the model or store that a run works on, without the folders above it; `NAME/2` stays whole."""
    place = target.removesuffix("/model").removesuffix("/store").rstrip("/")
    name = name_of(place)
    above = name_of(place.removesuffix(name)) if name.isdecimal() else ""
    return f"of {above}/{name}" if above else f"of {name}"


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
