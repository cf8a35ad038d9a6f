"""A run's folder in an object store."""

from __future__ import annotations

from pathlib import Path

import pytest
from boto3.exceptions import S3UploadFailedError

from attn.data import files, transfer
from attn.errors import RunError
from jobs.run_folder import RunFolder


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
    assert files.read_bytes(f"{s3_server}/runs/one/model/state_dict.pt") == b"state_dict.pt"


def test_an_upload_that_boto3_gives_up_is_told_in_words(
    s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def upload_file(self, *_: str) -> None:
            raise S3UploadFailedError("with an address")

    monkeypatch.setattr(transfer, "SINGLE_PUT_LIMIT", -1)
    monkeypatch.setattr(transfer, "client", Failing)
    (tmp_path / "state_dict.pt").write_text("x")
    with pytest.raises(RunError, match="S3UploadFailedError"):
        RunFolder(f"{s3_server}/runs", "one").upload(tmp_path, "model")
