"""Stages that train a network: the run of `jobs.train` in the stage's folder."""

from __future__ import annotations

__all__ = ["outputs_of", "train_stage"]

from attn.training.run_config import RunConfig
from jobs import train
from jobs.runs.run_folder import RunFolder
from jobs.stages.outputs import TrainOutputs, store_digest, weights_digest
from jobs.stages.stage import StageContext


def train_stage(config: RunConfig, folder: RunFolder, context: StageContext) -> TrainOutputs:
    """Train in a stage's folder, or continue the training that was interrupted there."""
    if folder.exists():
        return outputs_of(train.resume(folder.uri, address=context.address))
    return outputs_of(train.run(config, run_id=folder.run_id, address=context.address, sources=context.sources))


def outputs_of(result: train.TrainResult) -> TrainOutputs:
    """The outputs of a training."""
    outputs = TrainOutputs(model=result.model, metrics=result.metrics, weights=weights_digest(result.model))
    if result.store is None:
        return outputs
    digest = store_digest(result.store, result.store_version)
    stored = {"store": result.store, "store_version": result.store_version, "store_digest": digest}
    return outputs.model_copy(update=stored)
