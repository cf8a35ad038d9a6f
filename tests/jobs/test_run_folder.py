"""A run's folder, on a disk and in an object store."""

from __future__ import annotations

from pathlib import Path

import pytest
from boto3.exceptions import S3UploadFailedError

from attn.errors import RunError
from attn.files import locations, patience, transfer
from jobs.runs.run_folder import RunFolder
from jobs.stages.outputs import TrainOutputs
from jobs.training.epoch_lines import read_epochs, write_epochs


def test_a_model_is_uploaded_whole_and_its_description_last(
    s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("model.json", "config.yaml", "state_dict.pt"):
        (tmp_path / name).write_text(name)
    order: list[str] = []
    upload = transfer.upload_file

    def noted(path: Path, location: str) -> None:
        order.append(path.name)
        upload(path, location)

    monkeypatch.setattr(transfer, "upload_file", noted)
    RunFolder(f"{s3_server}/runs", "one").upload(tmp_path, "model")
    assert order == ["config.yaml", "state_dict.pt", "model.json"]
    assert locations.read_bytes(f"{s3_server}/runs/one/model/state_dict.pt") == b"state_dict.pt"


def test_an_upload_that_boto3_gives_up_is_told_in_words(
    s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def upload_file(self, *_: str, **options: object) -> None:
            raise S3UploadFailedError("with an address")

    monkeypatch.setattr(transfer, "SINGLE_PUT_LIMIT", -1)
    monkeypatch.setattr(patience, "client", lambda **_: Failing())
    (tmp_path / "state_dict.pt").write_text("x")
    with pytest.raises(RunError, match="S3UploadFailedError"):
        RunFolder(f"{s3_server}/runs", "one").upload(tmp_path, "model")


@pytest.mark.parametrize(
    ("root", "command"),
    [
        ("runs", "attn resume a"),
        ("/data/runs", "attn resume a --root /data/runs"),
        ("/my data/runs", "attn resume a --root '/my data/runs'"),
        ("s3://b/x", "attn resume a --root s3://b/x"),
    ],
)
def test_a_cancelled_run_gives_the_command_that_continues_it(root: str, command: str) -> None:
    assert str(RunFolder(root, "a").cancelled()) == f"run 'a' is cancelled; `{command}` continues it"


def test_figures_of_epochs_are_read_as_they_were_written(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), "a")
    assert read_epochs(folder) == []
    lines: list[dict[str, int | float]] = [{"epoch": 1, "step": 4, "loss": 0.5}, {"epoch": 2, "step": 8, "loss": 1e-9}]
    write_epochs(folder, lines)
    assert read_epochs(folder) == lines


@pytest.mark.parametrize(
    "line",
    [
        b"{", b"", b"[1]", b"5", b"null", b'{"loss": 1}', b'{"epoch": "1"}', b'{"epoch": true}', b'{"epoch": 0}',
        b'{"epoch": 1.5}', b'{"epoch": 1, "loss": "low"}', b'{"epoch": 1, "loss": null}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_line_of_an_epoch_is_one_error(tmp_path: Path, line: bytes) -> None:
    folder = RunFolder(str(tmp_path), "a")
    folder.write("metrics.jsonl", b'{"epoch": 1}\n' + line + b"\n")
    with pytest.raises(RunError, match=r"a/metrics\.jsonl is damaged: line 2 is no .*; remove that line"):
        read_epochs(folder)


def test_scores_of_an_earlier_version_have_todays_names(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path), "r")
    folder.write("run.json", '{"id": "r", "metrics": {"train/loss": 1.0, "val/mAP": 0.5, "val/auc": 0.25}}')
    assert folder.state().metrics == {"train/loss": 1.0, "val/mean_ap": 0.5, "val/mean_auc": 0.25}
    folder.update(epoch=1)
    assert list(folder.read_json("run.json")["metrics"]) == ["train/loss", "val/mean_ap", "val/mean_auc"]
    folder.write("run.json", '{"id": "s", "metrics": {"best/val/mAP": 0.5, "best/seed_miou": 0.25}}')
    assert folder.state().metrics == {"best/val/mean_ap": 0.5, "best/seed_miou": 0.25}
    folder.write("metrics.jsonl", '{"epoch": 1, "val/mAP": 0.5}\n{"epoch": 2, "val/mean_ap": 0.75}\n')
    assert [line["val/mean_ap"] for line in read_epochs(folder)] == [0.5, 0.75]
    trained = {"model": "m", "metrics": {"val/mAP": 0.5}, "weights": "1"}
    assert TrainOutputs.model_validate(trained).summary() == "mAP 50.0 %"


def test_run_json_takes_only_fields_that_are_described(tmp_path: Path) -> None:
    """And keeps those that another version wrote."""
    folder = RunFolder(str(tmp_path), "r")
    folder.write("run.json", '{"id": "r", "born": 5.5, "of another version": [1], "epoch": 2}')
    folder.update(epoch=3)
    assert folder.read_json("run.json") == {"id": "r", "born": 5.5, "of another version": [1], "epoch": 3}
    assert (folder.state().epoch, folder.state().create_time, folder.state().metrics) == (3, 5.5, None)
    with pytest.raises(TypeError, match="run.json has no field epochs"):
        folder.update(epochs=4)
    for wrong in ({"metrics": {"val/mean_ap": "high"}}, {"epoch": -1}, {"stages": {"train": {"state": "done"}}}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            folder.update(**wrong)
