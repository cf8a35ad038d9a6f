"""`attn.open_model`: a trained model of any name as an object of Python, without Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import attn
from attn.errors import AttnError, ConfigError, DataError, WeightsError
from attn.prediction import ImagePredictConfig, open_predictor
from attn.registry import log_model
from attn.tracking import TrackingConfig, create_run
from attn.tracking.model_lookup import ModelLookup
from jobs.runs.run_folder import RunFolder
from tests.bundles import CLASSES, tiny_bundle, tiny_segmenter

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of runs with a classifier `first` and a segmentation network `second`."""
    tiny_bundle(tmp_path / "first" / "model")
    tiny_segmenter(tmp_path / "second" / "model")
    return tmp_path


@pytest.mark.parametrize("name", ["first", "ROOT/first", "ROOT/first/model", "second", "ROOT/second/"])
def test_a_run_or_a_folder(root: Path, name: str) -> None:
    name = name.replace("ROOT", str(root))
    every = ImagePredictConfig(classes=CLASSES)
    model = attn.open_model(name, root=str(root), config=every)
    assert (model.task, model.classes) == ("classification" if "first" in name else "segmentation", CLASSES)
    result, expected = model.predict(IMAGE), open_predictor(name, every, str(root))(IMAGE)
    assert result.labels == expected.labels
    assert result.probabilities == expected.probabilities
    np.testing.assert_array_equal(result.mask, expected.mask)
    for label in result.labels:
        drawn = result.map(label)
        assert (drawn.shape, drawn.dtype) == ((40, 56), np.float32)
        rows = [expected.maps[label][slice(row, row + 1)] for row in range(40)]
        np.testing.assert_allclose(drawn, np.concatenate(rows), rtol=1e-5)
        np.testing.assert_array_equal(result.mask_of(label), expected.mask == 1 + CLASSES.index(label))
    assert result.picture().pixels.ndim == 3


@pytest.mark.parametrize("name", ["pipe", "ROOT/pipe/"])
def test_a_pipeline_that_is_done_stands_for_its_network(root: Path, name: str) -> None:
    folder, stage = RunFolder(str(root), "pipe"), {"run_id": "second", "state": "done"}
    folder.begin(kind="pipeline", state="running", stages={"train": {"run_id": "first", "state": "done"}})
    name = name.replace("ROOT", str(root))
    with pytest.raises(WeightsError, match="no trained model"):
        attn.open_model(name, root=str(root))
    folder.update(state="done", stages={"train": {"run_id": "first", "state": "done"}, "segment": stage})
    assert attn.open_model(name, root=str(root)).task == "segmentation"
    folder.update(stages={"segment": {"run_id": "gone", "state": "done"}, "retrain": stage})
    assert attn.open_model(name, root=str(root)).task == "segmentation"


@pytest.mark.parametrize("name", ["first", "second"])
def test_the_text_of_a_model_and_a_prediction_is_one_short_line(root: Path, name: str) -> None:
    model = attn.open_model(name, root=str(root), config=ImagePredictConfig(classes=CLASSES))
    result = model.predict(IMAGE)
    for text in map(repr, (model, result, result.picture())):
        assert len(text) < 250
        assert "array" not in text
    assert model.task in repr(model)
    assert model.sha256[:12] in repr(model)
    assert all(name in repr(model) for name in CLASSES)
    assert "56x40" in repr(result)
    for label in result.labels:
        assert f"{label} {100 * result.probabilities[label]:.1f} %" in repr(result)


@pytest.mark.parametrize("name", ["first", "second"])
def test_a_class_without_a_map_is_one_clear_error(root: Path, name: str) -> None:
    model = attn.open_model(name, root=str(root), config=ImagePredictConfig(classes=CLASSES[:1]))
    result = model.predict(IMAGE)
    assert result.map(CLASSES[0]).shape == (40, 56)
    with pytest.raises(
        ConfigError,
        match=rf"no map of '{CLASSES[1]}'.*labels \({CLASSES[0]}\).*classes=\['{CLASSES[0]}', '{CLASSES[1]}'",
    ):
        result.map(CLASSES[1])
    assert result.mask_of(CLASSES[1]).dtype == bool
    for of_class in (result.map, result.mask_of):
        with pytest.raises(ConfigError, match="the model has no class 'unicorn'.*its classes are"):
            of_class("unicorn")


def test_a_file_is_read_as_the_command_line_reads_it(root: Path, tmp_path: Path) -> None:
    from PIL import Image

    file = tmp_path / "image.png"
    Image.fromarray(IMAGE).save(file)
    model = attn.open_model("first", root=str(root))
    assert (
        model.predict(file).probabilities
        == model.predict(str(file)).probabilities
        == model.predict(IMAGE).probabilities
    )
    with pytest.raises(DataError, match="nowhere"):
        model.predict(tmp_path / "nowhere.png")
    for wrong in (IMAGE[..., 0], IMAGE.astype(np.float32), IMAGE[:0], np.concatenate([IMAGE, IMAGE[..., :1]], 2)):
        with pytest.raises(ValueError, match=r"uint8 array \(height, width, 3\)"):
            model.predict(wrong)  # pyright: ignore[reportArgumentType]


def test_a_model_in_an_object_store(root: Path, s3_server: str) -> None:
    RunFolder(f"{s3_server}/runs", "first").upload(root / "first" / "model", "model")
    expected = attn.open_model("first", root=str(root)).predict(IMAGE).probabilities
    for name, where in ((f"{s3_server}/runs/first", str(root)), ("first", f"{s3_server}/runs")):
        assert attn.open_model(name, root=where).predict(IMAGE).probabilities == expected


def test_a_registered_model(root: Path) -> None:
    tracking = TrackingConfig(uri=f"sqlite:///{root}/mlflow.db", register_as="named", alias="champion")
    run = create_run(tracking, str(root), "first", ModelLookup(root=str(root)))
    log_model(tracking, str(root), run, root / "first" / "model")
    expected = attn.open_model("first", root=str(root)).predict(IMAGE).probabilities
    for where in ({"tracking_uri": tracking.uri}, {"root": str(root)}):
        for name in ("named@champion", "named/1"):
            assert attn.open_model(name, **where).predict(IMAGE).probabilities == expected
        with pytest.raises(WeightsError, match="other"):
            attn.open_model("named@other", **where)
    with pytest.raises(ConfigError, match="no class 'boatt'") as raised:
        attn.open_model("named/1", root=str(root), config=ImagePredictConfig(classes=("boatt",)))
    assert raised.value.__context__ is None, "the folder that a registered model is first looked for in is no fault"


@pytest.mark.parametrize("name", ["first", "second"])
def test_labels_are_the_predicted_classes_or_exactly_those_asked_for(root: Path, name: str) -> None:
    low = ImagePredictConfig() if name == "second" else ImagePredictConfig(probability=1e-6)
    found = attn.open_model(name, root=str(root), config=low).predict(IMAGE)
    asked = next(one for one in CLASSES if found.labels != (one,))
    only = attn.open_model(name, root=str(root), config=ImagePredictConfig(classes=(asked,))).predict(IMAGE)
    assert (only.labels, set(only.maps)) == ((asked,), {asked})
    other = next(one for one in CLASSES if one != asked)
    with pytest.raises(ConfigError) as raised:
        only.map(other)
    assert f"ask for it: ImagePredictConfig(classes=['{asked}', '{other}'])" in str(raised.value), "keeps the label"


@pytest.mark.parametrize(
    ("name", "choices", "error", "words"),
    [
        ("third", {}, WeightsError, "no trained model 'third'"),
        ("first", {"tracking_uri": "ftp://x"}, ConfigError, "must start with one of"),
        ("first", {"config": ImagePredictConfig(classes=("cow", "boatt"))}, ConfigError, "boatt"),
        ("second", {"config": ImagePredictConfig(probability=0.5)}, ConfigError, "applies to classifiers only"),
        (
            "second",
            {"config": ImagePredictConfig(probability=0.5, threshold=0.5)},
            ConfigError,
            r"(?s)2 faults.*leave thr",
        ),
    ],
)
def test_a_wrong_name_or_choice_is_one_error(
    root: Path, name: str, choices: dict[str, object], error: type[AttnError], words: str
) -> None:
    with pytest.raises(error, match=words):
        attn.open_model(name, **{"root": str(root), **choices})  # pyright: ignore[reportArgumentType]


def test_importing_attn_imports_nothing_large(root: Path) -> None:
    code = f"""
import sys, attn
assert not {{"torch", "numpy", "mlflow", "ray"}} & set(sys.modules), "import attn"
attn.open_model("first", root={str(root)!r})
assert not {{"mlflow", "ray"}} & set(sys.modules), "attn.open_model"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
