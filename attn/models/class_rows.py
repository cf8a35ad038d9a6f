"""Rows of a trained network's score layers under the classes of other data: matched by the classes' names."""

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
    """Put the rows of score layers where this network has their classes; the rows of other classes stay as they start.

    Args:
        trained: Where the state dict is from, with its classes where they are known.
        state: In this network's names.
        own: This network's own state dict.
        scores: Names of the parameters that have a row for each class.
        classes: Names in the order of this network's rows, where they are known.
        first: How many rows stand before those of the classes: 1 where the background has one.

    Returns:
        The state dict with those parameters in this network's order, and what is to be said of it. Where either list of
        names is not known, the state dict is returned as it is, and what is to be said is that rows of as many classes
        are taken in the order that they have.

    Raises:
        WeightsError: The layers do not have the rows that the description says.
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
        return state, None  # a layer of another width, which is not taken at all
    theirs = {name: row for row, name in enumerate(trained.classes, start=first)}
    taken = [name for name in classes if name in theirs]
    rows = [*range(first), *(row for row, name in enumerate(classes, start=first) if name in theirs)]
    sources = [*range(first), *(theirs[name] for name in taken)]
    matched = dict(state)
    for name, value in layers.items():
        matched[name] = own[name].clone()
        matched[name][rows] = value[sources].reshape(len(rows), *own[name].shape[1:]).to(own[name].dtype)
    new, dropped = [name for name in classes if name not in theirs], [name for name in theirs if name not in taken]
    parts = [f"{len(taken)} of {len(classes)} classes are taken over by name ({first_names(taken) or 'none'})"]
    parts += [f"{len(new)} start anew ({first_names(new)})"] if new else []
    parts += [f"{len(dropped)} are dropped ({first_names(dropped)})"] if dropped else []
    return matched, f"{trained.origin}: {'; '.join(parts)}"


def _unnamed(
    trained: TrainedWeights, layers: StateDict, own: StateDict, classes: Sequence[str] | None, first: int
) -> str | None:
    if any(len(value) != len(own[name]) for name, value in layers.items()):
        return None
    count = len(next(iter(layers.values()))) - first
    names = f" ({first_names(classes)})" if classes is not None else ""
    return (
        f"{trained.origin} does not say which classes its {count} rows are of: they are taken for the data's{names} in "
        "the order that they have. If that is not so, give the folder of the trained model (model.json beside its "
        "state_dict.pt), whose rows are matched by name, or a state dict without the classifier"
    )
