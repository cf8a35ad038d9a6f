"""Matches the classifier rows of a trained network with the classes of other data, by name."""

from __future__ import annotations

__all__ = ["rows_by_class"]

from collections.abc import Collection, Sequence

from attn.data.classes import first_names
from attn.errors import WeightsError
from attn.models.weights import StateDict, TrainedWeights


def rows_by_class(
    trained: TrainedWeights,
    state: StateDict,
    own: StateDict,
    scores: Collection[str],
    classes: Sequence[str] | None,
    *,
    first: int = 0,
) -> tuple[StateDict, str | None]:
    """Reorder the rows of score layers by class name. Rows of classes that the weights lack keep their initial values.

    Args:
        trained: Origin of the state dict, and its class names if known.
        state: The state dict, with this network's parameter names.
        own: This network's own state dict.
        scores: Names of the parameters that have a row for each class.
        classes: Class names in the order of this network's rows, if known.
        first: Number of rows before those of the classes: 1 if the background has one.

    Returns:
        The state dict with these parameters in this network's order, and a message for the user, or None. If either
        list of names is unknown, the state dict is unchanged, and the message warns that the order is assumed equal.

    Raises:
        WeightsError: The layers do not have as many rows as the description has classes.
    """
    layers = {name: state[name] for name in scores if name in state and state[name].ndim}
    if not layers:
        return state, None
    if trained.classes is None or classes is None:
        return state, _unnamed(trained, layers, own, classes, first)
    for name, value in layers.items():
        if len(value) != first + len(trained.classes):
            raise WeightsError(
                f"{trained.origin}: {name} has {len(value)} rows, but the description beside it names "
                f"{len(trained.classes)} classes: copy the trained model's folder again"
            )
    if any(value[0].numel() != own[name][0].numel() for name, value in layers.items()):
        return state, None  # a layer of another width is not loaded at all
    theirs = {name: row for row, name in enumerate(trained.classes, start=first)}
    taken = [name for name in classes if name in theirs]
    rows = [*range(first), *(row for row, name in enumerate(classes, start=first) if name in theirs)]
    sources = [*range(first), *(theirs[name] for name in taken)]
    matched = dict(state)
    for name, value in layers.items():
        matched[name] = own[name].clone()
        matched[name][rows] = value[sources].reshape(len(rows), *own[name].shape[1:]).to(own[name].dtype)
    new, dropped = [name for name in classes if name not in theirs], [name for name in theirs if name not in taken]
    counts = [f"{len(taken)} of {len(classes)} classes are taken over by name ({first_names(taken) or 'none'})"]
    counts += [f"{len(new)} start from initial values ({first_names(new)})"] if new else []
    counts += [f"{len(dropped)} are dropped ({first_names(dropped)})"] if dropped else []
    return matched, f"{trained.origin}: {'; '.join(counts)}"


def _unnamed(
    trained: TrainedWeights, layers: StateDict, own: StateDict, classes: Sequence[str] | None, first: int
) -> str | None:
    if any(len(value) != len(own[name]) for name, value in layers.items()):
        return None
    count = len(next(iter(layers.values()))) - first
    names = f" ({first_names(classes)})" if classes is not None else ""
    return (
        f"{trained.origin} does not name the classes of its {count} rows: they are assumed to be the data's{names}, in "
        "this order. If that is wrong, give the trained model's folder (with model.json beside state_dict.pt), so that "
        "rows are matched by name, or a state dict without the classifier"
    )
