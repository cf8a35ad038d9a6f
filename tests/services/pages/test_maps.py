"""The pages of maps over a store of generated scenes."""

from __future__ import annotations

import html
import io
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from attn import store
from attn.data.sources import ScenesConfig
from services.api import create_app
from services.pages.map_view import THRESHOLDS, Collection
from services.pages.read_maps import describe, ious, rank
from tests.services.pages.conftest import Browser, write_run

SIZE = 32
COUNT = 6
SCENES = f"source: scenes\n  split: train\n  count: {COUNT}\n  size: {SIZE}"


@pytest.fixture(scope="module")
def source() -> Any:
    return ScenesConfig(count=COUNT, size=SIZE).build()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, source: Any) -> Path:
    """A run with a store of two versions: first maps of nothing, then the masks themselves but of the first image."""
    folder = write_run(tmp_path_factory.mktemp("maps") / "runs", "first")
    (folder / "config.yaml").write_text(f"kind: train\ndata:\n  {SCENES}\n")
    rows = [(record.image_id, label) for record in source.records for label in record.labels]
    maps = store.create(str(folder / "store"), rows=rows, grid=(SIZE, SIZE), classes=source.classes)
    session = maps.begin("first", from_version=None)
    for epoch in (0, 1):
        writer = session.writer(rank=0)
        for index, record in enumerate(source.records):
            for label in record.labels:
                map_hw = (source.load(index).mask == label + 1) if epoch and index else np.zeros((SIZE, SIZE), bool)
                map_hw[0, 0] = True
                writer.add(record.image_id, label, map_hw.astype(np.float32))
        session.publish(session.commit(epoch=epoch, deltas=[writer.seal()], expected=rows))
    (folder / "cues").mkdir()
    Image.fromarray(source.load(1).mask).save(folder / "cues" / f"{source.records[1].image_id}.png")
    return folder


@pytest.fixture
def browser(run: Path) -> Iterator[Browser]:
    with Browser(create_app(str(run.parent), stores={"store": str(run / "store")})) as one:
        yield one


def picture(answer: Any) -> NDArray[np.uint8]:
    assert answer.status_code == 200, answer.text
    return np.asarray(Image.open(io.BytesIO(answer.content)))


def label_of(source: Any, index: int) -> int:
    return source.records[index].labels[0]


def test_a_map_is_sent_as_it_is_stored(browser: Browser, run: Path, source: Any) -> None:
    record, label = source.records[1], label_of(source, 1)
    query = {"id": record.image_id, "class": label}
    page = html.unescape(browser.get("/view/maps/first/image", params=query).text)
    of = {"of": re.findall(r"/view/maps/first/map[^\"]*&of=(\w{12})\"", page)[0]}
    for version in (1, 2):
        answer = browser.get("/view/maps/first/map", params={**query, **of, "version": version})
        expected = store.open(str(run / "store")).at(version)[record.image_id][label]
        assert np.array_equal(picture(answer), expected)
        assert "max-age=86400" in answer.headers["cache-control"], "a version of a store never changes"
        other = browser.get("/view/maps/first/map", params={**query, "of": "0" * 12, "version": version})
        assert "no-cache" in other.headers["cache-control"], "another store lay at this address before"
    newest = browser.get("/view/maps/first/map", params=query)
    assert newest.content == answer.content
    assert "no-cache" in newest.headers["cache-control"]
    again = browser.get("/view/maps/first/map", params=query, headers={"If-None-Match": newest.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_image_truth_and_cue_are_those_of_the_data(browser: Browser, source: Any) -> None:
    example, query = source.load(1), {"id": source.records[1].image_id}
    photo = picture(browser.get("/view/maps/first/photo", params=query))
    assert photo.shape == (SIZE, SIZE, 3)
    assert np.abs(photo.astype(int) - example.image).mean() < 10, "a JPEG of it"
    assert picture(browser.get("/view/maps/first/photo", params={**query, "side": 16})).shape == (16, 16, 3)
    for part in ("truth", "cue"):
        assert np.array_equal(picture(browser.get(f"/view/maps/first/part/{part}", params=query)), example.mask)
    assert browser.get("/view/maps/first/part/mask", params=query).status_code == 404
    page = browser.get("/view/maps/first/image", params=query).text
    assert re.findall(r"/part/(\w+)\?", page) == ["truth", "saliency", "cue"]


def ranked(browser: Browser, query: str) -> str:
    """The page of the images of a class once all of them are ranked."""
    until = time.monotonic() + 120
    while "data-ranking" in (text := browser.get(f"/view/maps/first?{query}").text):
        assert time.monotonic() < until, text
        time.sleep(0.05)
    return text


def test_images_are_ranked_by_how_well_their_maps_fit(browser: Browser, source: Any) -> None:
    label = label_of(source, 0)
    having = [record.image_id for record in source.records if label in record.labels]
    text = ranked(browser, f"class={label}&threshold=0.5")
    assert f"{len(having)} of {len(having)} images ranked, by IoU with the mask" in text
    shown = re.findall(r'caption"><span>([^<]+)</span><b>([\d.]+)</b>', text)
    assert shown[0][0] == source.records[0].image_id, "the only map that is not the mask"
    assert sorted(name for name, _ in shown) == sorted(having)
    scores = [float(score) for _, score in shown]
    assert scores == sorted(scores)
    best = ranked(browser, f"class={label}&threshold=0.5&order=best")
    assert re.findall(r'caption"><span>([^<]+)</span>', best)[-1] == source.records[0].image_id


def test_the_score_is_the_iou_at_each_threshold() -> None:
    generator = np.random.default_rng(0)
    map_N, object_N = generator.random(200).astype(np.float32), generator.random(200) < 0.4
    claims = [map_N > np.float32(bound) for bound in THRESHOLDS]
    expected = [(claimed & object_N).sum() / (claimed | object_N).sum() for claimed in claims]
    assert ious(map_N, object_N) == pytest.approx(expected)
    nothing = np.zeros(5, np.float32)
    assert set(ious(nothing, nothing > 1)) == {0.0}


def test_two_runs_stand_side_by_side(browser: Browser, source: Any) -> None:
    query = {"id": source.records[1].image_id, "other": "first"}
    text = browser.get("/view/maps/first/image", params=query).text
    assert len(re.findall(r"<canvas id=\"(first|second)\"", text)) == 2
    assert text.count("data-versions='[1, 2]'") == 2
    assert browser.get("/view/maps/first/image", params={**query, "other": "none"}).status_code == 404


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/view/maps/none", ""),
        ("/view/maps/first", "store=1"),
        ("/view/maps/first/image", "id=none"),
        ("/view/maps/first/photo", "id=none"),
        ("/view/maps/first/photo", "id=../../secret"),
        ("/view/maps/first/map", "id=none&class=0"),
        ("/view/maps/first/map", "id={id}&class=250"),
        ("/view/maps/first/part/other", "id={id}"),
        ("/view/maps/first/part/cue", "id=../config"),
    ],
)
def test_what_is_not_there_is_not_found(browser: Browser, source: Any, path: str, query: str) -> None:
    answer = browser.get(f"{path}?{query.format(id=source.records[0].image_id)}")
    assert answer.status_code == 404, answer.text


@pytest.mark.parametrize(
    "query", ["class=-1", "class=x", "version=-1", "threshold=2", "page=-1", "store=9999", "class=" + "9" * 40]
)
def test_a_wrong_number_is_refused(browser: Browser, query: str) -> None:
    assert browser.get(f"/view/maps/first?{query}").status_code == 422


def test_a_run_without_a_store_has_no_maps(browser: Browser, run: Path) -> None:
    write_run(run.parent, "without")
    assert "no map store" in browser.get("/view/maps/without").text


def test_a_store_of_unknown_data_shows_its_maps_alone(tmp_path: Path) -> None:
    hostile = "<svg onload=alert(1)>"
    maps = store.create(str(tmp_path / "maps"), rows=[(hostile, 0)], grid=(4, 4), classes=[hostile])
    session = maps.begin("r", from_version=None)
    writer = session.writer(rank=0)
    writer.add(hostile, 0, np.eye(4, dtype=np.float32))
    session.publish(session.commit(epoch=0, deltas=[writer.seal()]))
    with Browser(create_app(str(tmp_path / "runs"), stores={"store": str(tmp_path / "maps")})) as browser:
        text = browser.get("/view/maps/store").text
        assert "it is not known which data these maps are of" in text
        text += browser.get("/view/maps/store/image", params={"id": hostile}).text
        assert hostile not in text
        assert "&lt;svg onload=alert(1)&gt;" in text
        answer = browser.get("/view/maps/store/map", params={"id": hostile, "class": 0})
        assert np.array_equal(picture(answer), np.eye(4, dtype=np.uint8) * 255)


def test_images_without_masks_are_ranked_by_what_is_salient(tmp_path: Path) -> None:
    data = tmp_path / "data" / "cat"
    data.mkdir(parents=True)
    pixels = np.full((40, 40, 3), 30, np.uint8)
    pixels[12:28, 12:28] = (230, 60, 40)
    for name in ("good", "bad"):
        Image.fromarray(pixels).save(data / f"{name}.png")
    folder = write_run(tmp_path / "runs", "plain")
    (folder / "config.yaml").write_text(
        f"kind: train\ndata:\n  source: folder\n  root: {tmp_path / 'data'}\n  split: '.'\n"
    )
    good, bad = np.zeros((2, 10, 10), np.float32)
    good[3:7, 3:7], bad[:, 0] = 1, 1
    maps = store.create(str(folder / "store"), rows=[("cat/good", 0), ("cat/bad", 0)], grid=(10, 10), classes=["cat"])
    session = maps.begin("plain", from_version=None)
    writer = session.writer(rank=0)
    for name, map_hw in (("cat/good", good), ("cat/bad", bad)):
        writer.add(name, 0, map_hw)
    session.publish(session.commit(epoch=0, deltas=[writer.seal()]))
    collection = Collection(str(folder / "store"))
    assert describe(collection).fault == ""
    results = {one.image_id: one for one in rank(collection, None, 0, 0, 10)}
    assert not any(one.by_mask for one in results.values())
    halves = {name: one.scores[9] for name, one in results.items() if one.scores is not None}
    assert halves["cat/good"] > 0.7 > 0.1 > halves["cat/bad"]
