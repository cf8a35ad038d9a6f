"""Data of one label an image: by its source, because the user says so, or not said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from attn.data.check import check_config
from attn.data.label_check import one_label_notice
from attn.data.sample import Record
from attn.data.source import FileSource, SourceConfig
from attn.data.sources import FolderConfig, LookAlikesConfig, ManifestConfig, ScenesConfig
from attn.errors import DataError
from attn.losses.classification import classification_loss


@pytest.fixture
def table(tmp_path: Path, make: Any) -> ManifestConfig:
    """Twelve images of one label each, also as a folder for each class."""
    names = [f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(6)]
    rows = "".join(f"{name},{name[:3]}\n" for name in names)
    make.write(tmp_path, {name: make.jpeg(number) for number, name in enumerate(names)})
    (tmp_path / "t.csv").write_text("image,labels\n" + rows)
    return ManifestConfig(manifest=str(tmp_path / "t.csv"), split="all")


def test_what_the_user_says_counts(table: ManifestConfig, tmp_path: Path) -> None:
    one, objects = {"objects": (1, 1)}, {"count": 12, "size": 48}
    configs: list[tuple[SourceConfig, bool]] = [
        (table, False),
        (FolderConfig(root=str(tmp_path), split="."), True),
        (ScenesConfig(**objects, **one, context_bias=0.0), False),
        (LookAlikesConfig(**objects), True),
    ]
    for config, by_source in configs:
        for said, expected in ((None, by_source), (True, True), (False, False)):
            source = config.model_copy(update={"exclusive": said}).build()
            assert source.exclusive is expected, config.variant
            assert source.fingerprint() == config.build().fingerprint()
            assert (one_label_notice(source) is None) is expected, config.variant


def test_several_labels_are_refused_where_one_is_said(tmp_path: Path) -> None:
    config = ScenesConfig(count=12, size=48, objects=(2, 2), exclusive=True)
    plain = config.model_copy(update={"exclusive": None}).build()
    several = [record.image_id for record in plain.records if len(record.labels) != 1]
    said = rf"data\.exclusive=true, but {len(several)} of 12 images do not .*single_label=true.*: {several[0]} has 2 l"
    with pytest.raises(DataError, match=said):
        config.build()
    report = check_config(config)
    named = [finding.message.rpartition("): ")[2].split()[0] for finding in report.errors]
    assert (report.images, named) == (12, several), "each is named, and the images are checked all the same"
    source = config.model_copy(update={"objects": (1, 3), "single_label": True, "count": 40}).build()
    assert source.exclusive
    assert {len(record.labels) for record in source.records} == {1}


def test_images_without_labels_may_be_predicted(table: ManifestConfig) -> None:
    Path(table.manifest).write_text("image\ncat/0.jpg\n")
    config = table.model_copy(update={"classes": ("cat", "dog"), "exclusive": True})
    assert config.build(labels=False).exclusive
    with pytest.raises(DataError):
        config.build()


def test_a_check_of_the_data_says_how_to_say_it(table: ManifestConfig) -> None:
    (finding,) = check_config(table).findings
    assert (finding.severity, finding.kind) == ("warning", "labels")
    assert finding.message.startswith("each of the 12 images has one label, but data.source does not say")
    assert "data.exclusive=true" in finding.message
    assert not check_config(table.model_copy(update={"exclusive": True})).findings


def test_few_images_or_one_with_two_labels_say_nothing() -> None:
    for counts in ([1] * 9, [1] * 11 + [2], [1] * 11 + [0]):
        labels = [tuple(range(count)) for count in counts]
        records = [Record(f"i{number}", (number % 2,) if len(one) == 1 else one) for number, one in enumerate(labels)]
        assert one_label_notice(FileSource(("a", "b"), records)) is None


def test_cross_entropy_is_what_follows(table: ManifestConfig) -> None:
    exclusive = table.model_copy(update={"exclusive": True}).build().exclusive
    logits_BC, labels_BC = torch.tensor([[0.5, 2.0]]), torch.tensor([[0.0, 1.0]])
    expected = torch.nn.functional.cross_entropy(logits_BC, torch.tensor([1]))
    torch.testing.assert_close(classification_loss(logits_BC, labels_BC, exclusive=exclusive), expected)
