"""A kind of run that the project does not have: it counts, and its score is how far."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from attn.data.sources.generated import ScenesConfig
from attn.runs.composed import ComposedConfig
from attn.runs.result import ComposedResult
from jobs.runs.lifecycle import begin_or_continue
from jobs.runs.run_folder import RunFolder, new_run_id


class ToyConfig(ComposedConfig):
    """Counting to a number."""

    kind: Literal["toy"] = "toy"  # pyright: ignore[reportIncompatibleVariableOverride]
    height: int = Field(default=3, ge=1, le=100)

    @property
    def data(self) -> ScenesConfig:
        return ScenesConfig(count=self.height)

    def figures(self) -> dict[str, str]:
        return {"height": ""}


def run(config: ToyConfig, *, run_id: str | None = None, address: str | None = None) -> ComposedResult:
    folder = RunFolder(config.root, run_id or new_run_id("toy"))
    scores = {"height": float(config.height)}
    with begin_or_continue("toy", config, folder, recorded=config) as live:
        live.outputs["metrics"] = scores
        live.outputs["outputs"] = {"numbers": list(range(1, config.height + 1))}
    return ComposedResult(run_id=folder.run_id, folder=folder.uri, scores=scores, model=None)


def resume(run_id: str, *, root: str = "runs", address: str | None = None) -> ComposedResult:
    folder = RunFolder.of(run_id, root)
    scores = {name: value for name, value in (folder.state().metrics or {}).items() if value is not None}
    return ComposedResult(run_id=folder.run_id, folder=folder.uri, scores=scores, model=None)
