"""The process of one job: `python -m services.driver FILE`. It runs known kinds of jobs only."""

from __future__ import annotations

__all__ = ["main"]

import json
import shlex
import signal
import sys
from typing import TYPE_CHECKING

from attn import progress
from attn.config.document import override_of
from attn.errors import AttnError, RunError
from attn.files import locations, transfer
from attn.files.patience import DEFAULT_PATIENCE_SECONDS, set_patience
from attn.files.roots import limit_reading
from attn.runs.table import file_kinds, job_of, target_job_of
from services.output_redaction import redact, redact_streams
from services.submission import Submission

if TYPE_CHECKING:
    from attn.runs.result import RunResult


def main(file: str) -> int:
    """Run the job that an order file describes, and write its exit status to `FILE.exit`.

    Args:
        file: Path or `s3://` URI of a JSON object with `submission`, `root` and `data_roots`.

    Returns:
        The exit status.
    """
    from jobs.runs.run_folder import RunFolder

    signal.signal(signal.SIGTERM, _interrupt)  # until Ray installs its own handler
    set_patience(DEFAULT_PATIENCE_SECONDS)  # the service has used the root before
    status, error = 1, "the job ended unexpectedly; see its log"
    try:
        order = json.loads(locations.read_bytes(file))
    except AttnError as fault:
        print(
            f"error: {fault}: the service's root must be a folder or prefix that all machines share",
            file=sys.stderr, flush=True,
        )  # fmt: skip
        return 2
    try:
        with progress.shown():  # plain lines, since the log is no terminal
            result = _run(Submission.model_validate(order["submission"]), order["root"], tuple(order["data_roots"]))
        name = shlex.quote(RunFolder(order["root"], result.run_id).reference)
        print(f"done: {result.folder}; `attn show {name}` has its scores and files", flush=True)
        status, error = 0, ""
    except KeyboardInterrupt:
        status, error = 3, "cancelled"
        print("cancelled", file=sys.stderr, flush=True)
    except AttnError as fault:
        status, error = fault.exit_status, str(fault)
        print(f"error: {fault}", file=sys.stderr, flush=True)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            transfer.write_bytes(f"{file}.exit", redact(json.dumps({"status": status, "error": error}).encode()))
        except AttnError as fault:  # only the process's exit status is left
            print(f"error: {fault}", file=sys.stderr, flush=True)
    return status


def _run(job: Submission, root: str, data_roots: tuple[str, ...]) -> RunResult:
    """Start or resume a job, and refuse every config that it resolves beyond the service's permissions.

    A resumed job is checked again: the permissions or the run's folder may have changed, and a sweep makes most of its
    trials later.
    """
    from attn.config.resolve import extra_check
    from attn.runs.recipes import recipe_text
    from attn.runs.started import recipe_in, started_from
    from attn.runs.texts import GivenTexts
    from jobs.runs.run_folder import RunFolder
    from services.admission import overrides_of
    from services.permissions import Permissions, code_in

    limit_reading((root, *data_roots))
    permissions = Permissions(root, data_roots)
    folder = RunFolder(root, job.id)
    if job.kind in file_kinds() and folder.exists():
        from jobs.resume import resume

        if (kind := folder.state().kind) != job.kind:
            raise RunError(f"run {job.id!r} exists already with kind {kind}, not {job.kind}: choose another id")
        with extra_check(permissions.resumed, code_in):
            return resume(job.id, root=root, address=job.address)
    recipe = None
    if job.kind in file_kinds():  # other kinds work on runs, which may be called like a recipe
        text = recipe_text(job.target) if job.config is None else (job.config, "config")
        recipe = recipe_in(*text, GivenTexts(job.files), overrides_of(job))
    with started_from(recipe), extra_check(permissions.run, code_in):
        return _begin(job, root)


def _begin(job: Submission, root: str) -> RunResult:
    from services.admission import load, overrides_of

    if job.kind in file_kinds():
        return job_of(job.kind).run(load(job, root), run_id=job.id, address=job.address)
    module = target_job_of(job.kind)
    work = module.load(job.target, [*overrides_of(job), override_of("root", root)])
    return module.run(work, run_id=job.id, address=job.address)


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    with redact_streams():
        sys.exit(main(sys.argv[1]))
