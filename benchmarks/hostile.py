"""Do files that somebody made to break the programs break one? Every command on every file of the corpus.

    python -m benchmarks.hostile                       # all of it: 40 minutes on two cores
    python -m benchmarks.hostile --only "JPEG of" --seed 3
    python -m benchmarks.hostile --part 2/8            # the second eighth of it

The corpus is that of `tests/hostile`: images, data sets, configs, map stores and trained models, built by code from a
seed. Each command runs in a process of its own, with limits on memory and time. It must end with status 0, 1 or 2,
without a traceback, in less than a gigabyte and 20 seconds of a core; what is no sound file must end with 1
or 2. Training is done in process: the data is opened as a run opens it, and every image is read with all that belongs
to it. `models get` asks a registry that holds the model. Prints a line for each command, and the files that did not do.
"""

from __future__ import annotations

__all__ = ["main"]

import argparse
import hashlib
import io
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from attn.data.source import SourceConfig
from attn.models.description import DESCRIPTION, WEIGHTS
from attn.registry import mlflow_registry
from services.cli.main import app
from tests.bundles import tiny_bundle
from tests.data.layouts import folder, write
from tests.data.test_check_and_train import train
from tests.hostile.bundles import BUNDLES
from tests.hostile.commands import COMMANDS, FULL_DISK, fields, prepare
from tests.hostile.data_sets import DATA_SETS, write_data_set
from tests.hostile.documents import DOCUMENTS
from tests.hostile.images import IMAGES, READ, jpeg
from tests.hostile.stores import STORES
from tests.hostile.test_registries import Client

MEMORY, SECONDS = 1 << 30, 20
MORE_MEMORY, MORE_SECONDS = 4 << 30, 120
"""Beyond what the process begins with, at which it is ended: so that the machine survives what does not hold."""
SOUND = "good"
"""The store and the model that nobody has tampered with."""
FULL_AT = 1500
"""Bytes of a file on a disk that is full, or as good as that: what a command says lies in one too."""
LONGEST = 4000
"""Characters of a message."""
Work = Callable[[], int]


class Case(NamedTuple):
    """One command on one file.

    Attributes:
        sound: The file is odd, but of use: status 0 is right as well.
    """

    command: str
    name: str
    work: Work
    sound: bool


class Outcome(NamedTuple):
    """How a process ended, with the seconds that it computed; the status is negative where a signal ended it."""

    status: int
    seconds: float
    memory: int
    output: str

    def fault(self, case: Case) -> str | None:
        """What did not hold."""
        if self.status not in ((0, 1, 2) if case.sound else (1, 2)):
            return f"status {self.status}: {self.output[-300:]}"
        if "Traceback (most recent" in self.output or "This is a bug in attn" in self.output:
            return self.output[-300:]
        if len(self.output) > LONGEST or (self.status and not self.output.strip()):
            return f"a message of {len(self.output)} characters"
        if self.memory > MEMORY or self.seconds > SECONDS:
            return f"{self.memory >> 20} MiB, {self.seconds:.0f} s"
        return None


@dataclass
class Row:
    """What became of all files with one command."""

    statuses: Counter[int] = field(default_factory=Counter)
    memory: int = 0
    seconds: float = 0.0

    def add(self, outcome: Outcome) -> None:
        self.statuses[outcome.status] += 1
        self.memory, self.seconds = max(self.memory, outcome.memory), max(self.seconds, outcome.seconds)


def main(only: str, seed: int, part: int = 1, parts: int = 1) -> int:
    """Run the corpus, or one part of several, and print the table; gives how many files did not do."""
    torch.set_num_threads(1)  # threads do not survive a fork
    rows: dict[str, Row] = defaultdict(Row)
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        model = tiny_bundle(Path(scratch, "model"))
        train(write(folder(), Path(scratch, "warm")))  # imports once what every child needs
        location = Path(scratch, "case")
        for number, case in enumerate(_cases(location, model, seed)):
            if only not in case.name or number % parts != part - 1:
                continue
            outcome = _in_child(case.work)
            rows[case.command].add(outcome)
            if (fault := outcome.fault(case)) is not None:
                faults.append(f"{case.command}: {case.name}: {fault}")
                print(f"FAULT {faults[-1]}", flush=True)
    print(f"\nseed {seed}\n{'command':<16}{'files':>6}  {'ended with':<34}{'memory':>9}{'seconds':>9}")
    for command, row in rows.items():
        ended = ", ".join(f"{status}: {count}" for status, count in sorted(row.statuses.items()))
        print(f"{command:<16}{row.statuses.total():>6}  {ended:<34}{row.memory >> 20:>5} MiB{row.seconds:>9.1f}")
    print(f"{len(faults)} of {sum(row.statuses.total() for row in rows.values())} did not hold")
    return len(faults)


def _cases(place: Path, model: Path, seed: int) -> Iterator[Case]:
    """Every command on every file; each file is written as its first command is about to run."""

    def fresh(number: int) -> np.random.Generator:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        return np.random.default_rng([seed, number])

    for number, (name, build) in enumerate(IMAGES.items()):
        rng = fresh(number)
        config = write(folder(), place / "data").model_copy(update={"masks": None, "saliency": None})
        image = place / "data/train/dog/b.jpg"
        image.unlink()
        build(image, rng)
        sound = name in READ or "other bytes" in name or not image.is_file()  # what is no file is not listed as one
        yield from _on_data(name, config, sound=sound)
        good = image.with_name("d.jpg")
        command = ["predict", str(image), str(good), "--model", str(model), "--out", str(place / "out")]
        yield Case("predict", name, _command(*command), name in READ or "other bytes" in name)
    for number, (name, entry) in enumerate(DATA_SETS.items()):
        rng = fresh(number)
        yield from _on_data(name, write_data_set(entry, place / "data", rng), sound=entry.verdict == "read")
    for number, (name, (text, _)) in enumerate(DOCUMENTS.items()):
        fresh(number)
        (place / "f.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
        yield Case("validate", name, _command("validate", str(place / "f.yaml")), False)
    for number, (name, build) in enumerate(STORES.items()):
        build(place / "store", fresh(number))
        yield Case("store verify", name, _command("store", "verify", str(place / "store")), name == SOUND)
    image = str(write_photograph(place.parent / "good.jpg"))
    for number, (name, build) in enumerate(BUNDLES.items()):
        build(place / "model", fresh(number))
        command = ["predict", image, "--model", str(place / "model"), "--out", str(place / "out")]
        yield Case("predict (model)", name, _command(*command), name == SOUND)
        yield Case("models get", name, _get(place / "model", model, place / "got"), name == SOUND)

    for name, words in (COMMANDS | fields(seed, 200)).items():
        fresh(0)
        places = prepare(place)
        given = [_placed(word, places) for word in words]
        work = _command(*given)
        yield Case(words[0], name, _with_full_disk(work) if FULL_DISK in name else work, name.startswith("fields"))


def _placed(word: str, places: dict[str, str]) -> str:
    for name, path in places.items():
        word = word.replace(f"{{{name}}}", path)
    return word


def _with_full_disk(work: Work) -> Work:
    """Let no file become longer than a few bytes."""

    def limited() -> int:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (FULL_AT, FULL_AT))
        return work()

    return limited


def _on_data(name: str, config: SourceConfig, *, sound: bool) -> Iterator[Case]:
    given = [f"data.{key}={json.dumps(value)}" for key, value in config.model_dump(mode="json").items()]
    yield Case("data check", name, _command("data", "check", *given), sound)
    yield Case("train", name, lambda: _refusal(train(config)), sound)


def _get(bundle: Path, good: Path, to: Path) -> Work:
    """Fetch a folder from a registry in which it was registered as it is."""

    def work() -> int:
        registry = Client(good)
        registry.bundle = bundle
        for tag, file in (("attn.sha256", WEIGHTS), ("attn.model_json", DESCRIPTION)):
            if (bundle / file).is_file() and (bundle / file).stat().st_size < MEMORY:
                registry.version.tags[tag] = hashlib.sha256((bundle / file).read_bytes()).hexdigest()
        mlflow_registry.connect = lambda uri: registry
        return _command("models", "get", "gain@champion", "tracking.uri=http://127.0.0.1:9", "--to", str(to))()

    return work


def write_photograph(path: Path) -> Path:
    """A sound image, for what is asked of a model."""
    path.write_bytes(jpeg())
    return path


def _refusal(problem: str | None) -> int:
    print(problem or "read")
    return int(problem is not None)


def _command(*words: str) -> Work:
    def work() -> int:
        try:
            app(list(words))
        except SystemExit as end:
            return end.code if isinstance(end.code, int) else 1
        return 0

    return work


def _in_child(work: Work) -> Outcome:
    """Do it in a process with limits."""
    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            os._exit(_limited(work, said))
        _, status, usage = os.wait4(child, 0)
        said.seek(0)
        output = said.read().decode(errors="replace")
    code = os.waitstatus_to_exitcode(status)
    return Outcome(code, usage.ru_utime + usage.ru_stime, usage.ru_maxrss << 10, output)


def _limited(work: Work, said: Any) -> int:
    for stream in (1, 2):
        os.dup2(said.fileno(), stream)
    sys.stdout = sys.stderr = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), write_through=True)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MORE_MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        signal.alarm(MORE_SECONDS)
        return work()
    except BaseException:
        traceback.print_exc()
        return 99
    finally:
        sys.stdout.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="part of the names of the files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", default="1/1", help="every n-th command alone, such as 2/8 for the second of eight")
    given = parser.parse_args()
    sys.exit(min(main(given.only, given.seed, *map(int, given.part.split("/"))), 1))
