"""A kind of run that the project does not have: it counts, and its score is how far."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from attn.data.sources.generated import ScenesConfig
from attn.runs.composed import ComposedConfig
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


def run(config: ToyConfig, *, run_id: str | None = None, address: str | None = None) -> dict[str, Any]:
    folder = RunFolder(config.root, run_id or new_run_id("toy"))
    scores = {"height": float(config.height)}
    with begin_or_continue("toy", config, folder, recorded=config) as live:
        live.outputs["metrics"] = scores
    return {"run_id": folder.run_id, "folder": folder.uri, "scores": scores, "tracking_run": live.tracking_run}


def resume(run_id: str, *, root: str = "runs", address: str | None = None) -> dict[str, Any]:
    folder = RunFolder.of(run_id, root)
    return {"run_id": folder.run_id, "state": folder.state().state}
