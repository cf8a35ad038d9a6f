"""Numbers as people read them."""

from __future__ import annotations

import time

import pytest

from attn.display import duration, figure, figures, is_share, local_time, percent, size
from attn.evaluation.score import OF_CLASSIFIER, OF_MAPS
from attn.runs.pipeline import FIGURES


@pytest.mark.parametrize(
    ("value", "shown"), [(0.8764, "87.6"), (0, "0.0"), (1.0, "100.0"), (None, "-"), (float("nan"), "-")]
)
def test_a_fraction_in_percent(value: float | None, shown: str) -> None:
    assert percent(value) == shown


def test_a_difference_has_a_sign() -> None:
    assert (percent(0.012, sign="+"), percent(-0.012, sign="+")) == ("+1.2", "-1.2")


def test_every_score_is_a_share_under_every_prefix() -> None:
    for name in (*OF_CLASSIFIER, *OF_MAPS, *FIGURES, "miou_all"):
        assert all(map(is_share, (name, f"val/{name}", f"best/{name}"))), name


@pytest.mark.parametrize("name", ["train/loss", "val/loss", "train/precision", "store/accepted", "step/lr", "loss"])
def test_losses_and_counts_are_no_shares(name: str) -> None:
    assert not is_share(name)


def test_figures_in_a_line() -> None:
    assert figures({"train/loss": 0.69314, "val/mean_ap": 0.8764}) == "train/loss 0.6931  val/mean_ap 87.6 %"
    assert {figure(name, value) for name in ("val/mean_ap", "train/loss") for value in (None, float("nan"))} == {"-"}
    assert (figure("train/loss", float("inf")), figure("miou", 0.0)) == ("inf", "0.0 %")


def test_rows_of_a_store_are_whole_numbers() -> None:
    assert figures({"store/accepted": 26.0, "store/dropped": 0.0}) == "store/accepted 26  store/dropped 0"
    assert (figure("store/accepted", 26), figure("miou", 1)) == ("26", "100.0 %")
    assert (figure("store/accepted", 2.5), figure("store/accepted", None)) == ("2.5000", "-")


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1.0 kB"), (51_200, "51.2 kB"), (999_960, "1.0 MB"),
     (3_200_000, "3.2 MB"), (2_000_000_000, "2.0 GB")],
)  # fmt: skip
def test_sizes_have_a_unit_in_which_they_can_be_read(count: int, shown: str) -> None:
    assert size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (8.46, "8.5 s"), (59.6, "1 min 0 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (273600, "3 d 4 h"),
     (None, ""), (float("inf"), "")],
)  # fmt: skip
def test_durations(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


def test_times_are_local(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Etc/GMT-2")  # two hours east of Greenwich
    time.tzset()
    try:
        assert local_time(0) == "1970-01-01 02:00"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert local_time(None) == ""
    assert "not a valid time" in local_time(1e20)
