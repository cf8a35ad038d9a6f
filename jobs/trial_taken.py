"""What a trial takes over from another in population-based training: weights and optimizer, with values of its own."""

from __future__ import annotations

__all__ = ["Taken"]

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from attn.config.kinds import read_config
from attn.config.resolve import dump_config
from attn.config.run import RunConfig
from attn.errors import TrackingError
from attn.sweep.load import point_overrides
from attn.sweep.space import Point
from attn.tracking import attach
from jobs.checkpoint_transfer import upload_checkpoint
from jobs.run_folder import RunFolder
from jobs.storage import COMMITTED, newest_checkpoint_name


@dataclass(frozen=True)
class Taken:
    """A takeover.

    Attributes:
        trial: Number of the trial that it is taken from.
        epoch: That this one had come to; training goes on with the next.
        values: By which it goes on.
    """

    trial: int
    epoch: int
    values: Point

    def into(self, folder: RunFolder, checkpoint: Path) -> None:
        """Make the other's checkpoint this trial's newest, so that a restart comes back to it, too."""
        before = newest_checkpoint_name(folder)
        name = f"epoch-{self.epoch:04d}-of-trial-{self.trial:04d}"
        upload_checkpoint(checkpoint, folder.path(f"checkpoints/{name}"))
        state = folder.state()
        step = {"epoch": self.epoch, "of_trial": self.trial, "values_before": state["values"]}
        folder.update(values=self.values, taken=[*state.get("taken", []), step])
        folder.write(COMMITTED, json.dumps({"checkpoint": name}))
        if before not in (None, name) and folder.is_local:
            shutil.rmtree(folder.path(f"checkpoints/{before}"), ignore_errors=True)

    def config(self, config: RunConfig, folder: RunFolder) -> RunConfig:
        """The trial's config by its new values.

        Raises:
            ConfigError: They do not go together.
        """
        name = folder.path("config.yaml")
        changed = read_config(dump_config(config), name, point_overrides(self.values))
        folder.write("config.yaml", dump_config(changed, "A trial's config, as its last takeover left it."))
        state = folder.state()
        record = attach(config.tracking, config.root, state["tracking_run"], folder.uri)
        try:  # the record's parameters are those of the trial's begin, for ever
            record.set_tags({"attn.taken": json.dumps(state["taken"]), "attn.values": json.dumps(self.values)})
        except TrackingError as error:
            print(f"the takeover could not be recorded: {error}", file=sys.stderr)
        return changed
