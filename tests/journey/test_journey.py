"""The whole trip, with the documents alone: from photographs in four layouts to maps, masks, models and a service.

A person types commands in a folder of photographs. Each must end as it says, its last lines must say what came out, and
no command, option or field may be typed that stands in no page (`tests/journey/documented.py`). `-s` prints the trip.
Trainings are made in this process; Ray's workers train in the pipeline until Ctrl-C, and in the sweep.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import pytest
from mlflow import MlflowClient

from attn.tracking.sqlite import sqlite_uri
from jobs import train
from jobs.ray_cluster.session import ray_session
from tests.jobs.here import fit_here
from tests.journey import photographs
from tests.journey.traveller import Traveller
from tests.tracking.migrated import new_record

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # of NumPy 2, in pycocotools
    pytest.mark.filterwarnings("ignore::Warning:torch"),  # of torch.export
]

SMALL = "input.size=64 training.epochs=1 training.batch_size=6 cluster.workers=1"
"""Fields of a file for a few photographs on a machine without a GPU."""
VOC = "data.root=VOCdevkit data.classes=[car,cat,dog]"
DATA = "source: manifest\nmanifest: photos.csv\n"
PIPELINE = "kind: pipeline\ndata: photos.yaml\ntrain: {recipe: my.yaml}\nsegment: {recipe: masks.yaml}\n"
SWEEP = """kind: sweep
recipe: my.yaml
space:
  method.alpha: [0.1, 0.5]
search: {name: grid}
objective: {metric: seed_miou}
tracking: {register_as: gain, alias: champion}
"""


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traveller]:
    """Somebody in a folder with photographs in all layouts, of which one is a table."""
    folder = tmp_path_factory.mktemp("journey")
    for layout in photographs.LAYOUTS:
        photographs.write(layout, folder)
    new_record(folder / "runs")
    with pytest.MonkeyPatch.context() as patch, ray_session():
        patch.chdir(folder)
        patch.setattr(train, "_fit", fit_here)
        yield Traveller(folder)


@pytest.fixture(scope="module")
def trained(person: Traveller) -> Traveller:
    """The same person, who has trained two classifiers on the table and registered them."""
    person.attn("doctor", shows="all checks passed")
    person.attn("data check data.source=manifest data.manifest=photos.csv", shows="0 errors, 0 warnings")
    own = "data.source=manifest", "data.manifest=photos.csv"
    person.init("scenes_gain", "my.yaml", *own, then=f"{SMALL} method.warmup_epochs=0")
    person.attn("data check my.yaml", shows="0 errors, 0 warnings")
    person.attn("validate my.yaml", shows="fallback: last")
    person.attn("plan my.yaml", shows=r"epochs +1\b")
    person.attn("train my.yaml --run-id baseline method.name=grad_cam tracking.register_as=gain", shows="baseline")
    person.attn("train my.yaml --run-id gain tracking.register_as=gain tracking.alias=champion", shows="gain")
    return person


def test_scores_and_pictures_of_a_model(trained: Traveller) -> None:
    trained.attn("evaluate gain", shows=r"mean +\d")
    trained.attn("compare baseline gain", shows="compare-")
    trained.attn("maps gain output.kind=png", shows="maps-")
    trained.attn("explain method.alpha", shows="alpha")
    assert len(list(trained.folder.glob("runs/evaluate-*/panels/*.png"))) > 0


def test_runs_are_told_apart(trained: Traveller) -> None:
    listed = trained.attn("ls")
    assert re.search(r"gain .*gain .*manifest", listed), listed
    assert re.search(r"baseline .*grad_cam .*manifest", listed), listed
    trained.attn("show gain", shows="attn evaluate")
    differing = trained.attn("diff baseline gain")
    assert "method.name" in differing
    assert differing.count("only one of the two") <= 1, differing


def test_the_registry_gives_a_model_back(trained: Traveller) -> None:
    assert re.search(r"gain/2 +@champion", trained.attn("models ls"))
    assert "manifest" in trained.attn("models show gain@champion")
    trained.attn("models promote gain/1 champion", shows="champion")
    trained.attn("models promote gain/2 champion", shows="champion")
    trained.attn("models get gain@champion --to best", shows="best")
    image = "images/val_00.png"
    trained.attn(f"predict {image} --model best --out predictions", shows="predictions")
    trained.attn(f"predict {image} --model gain@champion", shows="predict")
    trained.attn("models export best --format onnx --to gain.onnx", shows="gain.onnx")
    assert (trained.folder / "gain.onnx").stat().st_size > 0
    assert list(trained.folder.glob("predictions/**/prediction.json"))


def test_the_record_has_scores_pictures_and_the_model(trained: Traveller) -> None:
    client = MlflowClient(sqlite_uri(trained.folder / "runs/mlflow.db"))
    record = client.get_run(trained.run("gain")["tracking_run"])
    assert "val/mean_ap" in record.data.metrics
    assert [item for item in client.list_artifacts(record.info.run_id, "images") if item.path.endswith(".png")]
    (version,) = client.search_model_versions(f"run_id = '{record.info.run_id}'")
    assert (version.name, version.version) == ("gain", "2") or (version.name, version.version) == ("gain", 2)


def test_masks(trained: Traveller) -> None:
    """A segmentation network; then a pipeline of both files, interrupted in its first training, and continued."""
    trained.write("photos.yaml", DATA, section="data")
    own = "data=photos.yaml", "labels.maps.model=gain"
    trained.init("segment_scenes", "masks.yaml", *own, then=SMALL)
    trained.attn("segment cues masks.yaml --sweep", shows="cues-")
    trained.attn("segment masks.yaml --run-id masks", shows="masks")
    trained.attn("segment predict masks", shows=r"mean +\d")
    trained.attn("predict images/val_00.png --model masks", shows="predict")
    trained.write("pipeline.yaml", PIPELINE)
    with trained.beside("pipeline pipeline.yaml") as process:
        trained.until(process, "runs/pipeline-train-*/progress.json")
        trained.interrupt("pipeline pipeline.yaml", process, status=3, shows="attn resume pipeline")
    trained.attn("resume pipeline", shows="miou")


def test_a_sweep_and_its_best_model(trained: Traveller) -> None:
    trained.write("sweep.yaml", SWEEP)
    trained.attn("plan sweep.yaml", shows=r"method.alpha=0.5")
    trained.attn("sweep sweep.yaml --run-id sweep", shows="best")
    assert re.search(r"gain/3 +@champion", trained.attn("models ls"))
    trained.attn("models get gain@champion --to from_sweep", shows="from_sweep")


def test_the_service_does_the_same(trained: Traveller) -> None:
    with trained.beside("serve --root runs --data-root . --port 0") as server:
        trained.until(server, "runs/.service/service.json")
        trained.attn("submit evaluate gain --run-id again -y", shows="again")
        trained.attn("logs -f again", shows="attn show again")
        trained.attn("status again", shows="seed_miou")
        trained.interrupt("serve --root runs --data-root . --port 0", server, status=0, shows="")
    assert trained.run("again")["state"] == "done"
    assert (trained.folder / "runs/again/scores.json").is_file()


@pytest.mark.parametrize(
    ("layout", "recipe", "own", "more"),
    [
        ("folder", "icasc", "data.root=photos data.masks=masks", "model.weights=null"),
        ("coco", "gain_ext", "data.root=coco", "model.weights=null method.warmup_epochs=0"),
        ("voc", "oaa", VOC, "model.weights=null training.epochs=2"),
        ("voc", "attnbn", f"{VOC} method.source.root=source", "model.weights=null"),
    ],
)
def test_the_other_layouts(person: Traveller, layout: str, recipe: str, own: str, more: str) -> None:
    person.init(recipe, f"{recipe}.yaml", f"data.source={layout}", *shlex.split(own), then=f"{SMALL} {more}")
    person.attn(f"data check {recipe}.yaml", shows="0 errors")
    person.attn(f"validate {recipe}.yaml", shows="fallback: last")
    person.attn(f"train {recipe}.yaml --run-id {recipe}", shows=recipe)
    person.attn(f"evaluate {recipe}", shows=r"mean +\d")
    if recipe == "oaa":
        person.attn(f"store show runs/{recipe}/store", shows="rows")
        person.attn(f"store verify runs/{recipe}/store", shows="all is well")
        person.attn(f"evaluate runs/{recipe}/store", shows=r"mean +\d")
