"""Which of a pipeline's networks gets the name and the alias that the pipeline registers."""

from __future__ import annotations

from pathlib import Path

import pytest

from attn.data.source_cache import SourceCache
from attn.registry import log_model
from attn.registry.mlflow_registry import Registry
from attn.run_state import RunState
from attn.training.run_config import RunConfig
from jobs import pipeline, segment
from jobs.runs.run_folder import RunFolder
from jobs.stages import training
from jobs.train import TrainResult
from tests.jobs.pipelines import Untrained, config, untrained

NAMED = ("tracking.register_as=masks", "tracking.alias=champion")


class Registering(Untrained):
    """Registers its network as a training does; ends in the middle of a stage, if one is named."""

    def __init__(self, ends_in: str | None = None) -> None:
        self.ends_in = ends_in

    def run(
        self, config: RunConfig, *, run_id: str, address: str | None = None, sources: SourceCache | None = None
    ) -> TrainResult:
        if self.ends_in is not None and f"-{self.ends_in}-" in run_id:
            raise KeyboardInterrupt
        result = super().run(config, run_id=run_id, sources=sources)
        state: RunState = RunFolder(config.root, run_id).state()
        log_model(config.tracking, config.root, state.tracking_run, Path(result.model))
        return result


def registering(patch: pytest.MonkeyPatch, ends_in: str | None = None) -> None:
    untrained(patch)
    for module in (training, segment):
        patch.setattr(module, "train", Registering(ends_in))


@pytest.mark.parametrize(
    "second_round", [(), ("segment.retrain={labels: {scales: [1.0], crf: null}, training: {steps: 1}}",)]
)
def test_only_the_last_network_gets_the_name_and_the_alias(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second_round: tuple[str, ...]
) -> None:
    last = "retrain" if second_round else "segment"
    given = config(tmp_path, "tracking.enabled=true", *NAMED, *second_round)
    registry = Registry(f"sqlite:///{tmp_path}/mlflow.db")
    registering(monkeypatch, ends_in=last)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(given, run_id="p")
    assert registry.names() == []
    registering(monkeypatch)
    stages = pipeline.run(given, run_id="p").stages
    (version,) = registry.versions()
    tracked = RunFolder(given.root, stages[last].run_id).state().tracking_run
    assert (version.reference, version.aliases, version.tracking_run) == ("masks/1", ("champion",), tracked)


def test_a_classifier_is_registered_under_a_name_of_its_own(tmp_path: Path) -> None:
    asked = config(tmp_path, "tracking.enabled=true", *NAMED, "train.tracking.register_as=classifier")
    assert (asked.train.tracking.register_as, asked.train.tracking.alias) == ("classifier", None)
    assert (asked.segment.tracking.register_as, asked.segment.tracking.alias) == ("masks", "champion")
