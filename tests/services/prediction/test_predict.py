"""The answers of the prediction service are those of `attn predict`, and a wrong request is the client's fault."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from pycocotools import mask as coco_mask

from attn.annotations import FORMATS
from attn.prediction import ImagePredictConfig, open_predictor, predict_file, write_prediction
from attn.prediction.classifier import ClassifierPredictor
from services.access import digests_of
from services.prediction_service.answer import Wanted
from services.prediction_service.app import create_app
from services.prediction_service.config import LabelStudioConfig, RequestLimits
from services.prediction_service.engine import BusyError
from services.prediction_service.served_model import BatchItem
from tests.bundles import CLASSES
from tests.services.prediction.engines import READ, TOKENS, local_engine, served

PNG = {"Content-Type": "image/png"}


def decoded(text: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_an_answer_is_what_attn_predict_writes(client: TestClient, model: Path, picture: bytes, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(picture)
    predicted = predict_file(
        open_predictor(model, ImagePredictConfig(probability=0.1)), str(tmp_path / "image.png"), 1 << 16
    )
    written = write_prediction(predicted, "image.png", str(tmp_path / "out"))
    answered = client.post("/predict?maps=true&mask=png", content=picture, headers=PNG)
    assert answered.status_code == 200, answered.text
    (image,) = answered.json()["images"]
    assert image["probabilities"] == pytest.approx(written["probabilities"])
    assert [label["class"] for label in image["labels"]] == list(predicted.labels) != []
    assert (image["size"], image["height"], image["width"], image["task"]) == ([64, 60], 64, 60, "classification")
    assert image["labels"][0]["share"] == pytest.approx(written["labels"][0]["share"])
    assert (decoded(image["mask"]["png"]) == np.asarray(Image.open(tmp_path / "out" / "mask.png"))).all()
    for name, file in written["files"]["maps"].items():
        assert (decoded(image["maps"][name]) == np.asarray(Image.open(tmp_path / "out" / file))).all()
    assert image["model"] == {"name": str(model), "version": None, "sha256": predicted_hash(model)}


def predicted_hash(model: Path) -> str:
    return str(json.loads((model / "model.json").read_text())["sha256"])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with NumPy 2
def test_a_mask_as_run_lengths(client: TestClient, picture: bytes) -> None:
    png = client.post("/predict", content=picture, headers=PNG).json()["images"][0]
    rle = client.post("/predict?mask=rle", content=picture, headers=PNG).json()["images"][0]
    none = client.post("/predict?mask=none", content=picture, headers=PNG).json()["images"][0]
    mask = decoded(png["mask"]["png"])
    for label in rle["labels"]:
        code = rle["mask"]["rle"][label["class"]]
        drawn = coco_mask.decode({"size": code["size"], "counts": code["counts"].encode()})
        assert (drawn.astype(bool) == (mask == label["value"])).all()
    assert (none["mask"], none["maps"], none["annotations"]) == (None, None, None)


@pytest.mark.parametrize("form", FORMATS)
def test_an_answer_in_the_format_of_a_tool(client: TestClient, picture: bytes, form: str) -> None:
    answered = client.post(f"/predict?format={form}&mask=none", content=picture, headers=PNG)
    assert answered.status_code == 200, answered.text
    files = answered.json()["images"][0]["annotations"]
    assert files
    if form == "coco":
        coco = json.loads(files["annotations/instances_train.json"])
        assert [category["name"] for category in coco["categories"]] == list(CLASSES)
        assert {one["category_id"] - 1 for one in coco["annotations"]} <= set(range(len(CLASSES)))
        assert coco["annotations"]
    if form == "voc":
        assert decoded(files["SegmentationClass/image.png"]).shape == (64, 60)


def test_several_images_are_answered_in_order(client: TestClient, picture: bytes) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (20, 30)).save(stream, "JPEG")
    files = [("a", ("one.png", picture, "image/png")), ("b", ("two.jpg", stream.getvalue(), "image/jpeg"))]
    images = client.post("/predict", files=files).json()["images"]
    assert [image["size"] for image in images] == [[64, 60], [30, 20]]


def big_png() -> bytes:
    stream = io.BytesIO()
    Image.new("L", (1000, 1000)).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "headers", "status", "said"),
    [
        (b"no image", PNG, 422, "the image: is not an image in a known format"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), PNG, 422, "the image: "),
        (b"", PNG, 422, "the request has no image"),
        (big_png(), PNG, 422, "1000x1000 pixels, more than predict.max_pixels=65536"),
        (b"x" * 70_000, PNG, 413, "larger than 65536 bytes"),
        (b"{}", {"Content-Type": "application/json"}, 422, "Content-Type 'application/json' is no image"),
        (b"x", {}, 422, "is no image"),
        (b"x", {"Content-Type": "multipart/form-data"}, 422, "no valid boundary"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=b"}, 422, "is not multipart"),
        (b"--b\r\n\r\nx\r\n--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}, 422, "is not multipart"),
    ],
)  # fmt: skip
def test_a_wrong_request_is_refused(
    client: TestClient, content: bytes, headers: dict[str, str], status: int, said: str
) -> None:
    answered = client.post("/predict", content=content, headers=headers)
    assert (answered.status_code, answered.headers["content-type"]) == (status, "application/problem+json")
    assert said in answered.json()["detail"]


def test_wrong_images_are_named_and_their_number_is_limited(client: TestClient, picture: bytes) -> None:
    files = [("image", ("x", content, "image/png")) for content in (picture, b"none", picture)]
    answered = client.post("/predict", files=files)
    assert (answered.status_code, answered.json()["detail"][:34]) == (422, "image 2: is not an image in a know")
    many = client.post("/predict", files=[("image", ("x", b"y", "image/png"))] * 4)
    assert (many.status_code, "more than limits.images=3 images" in many.json()["detail"]) == (422, True)


@pytest.mark.parametrize("query", ["format=doc", "mask=gif", "maps=perhaps", "format=voc&polygons=true"])
def test_a_wrong_wish_is_refused(client: TestClient, picture: bytes, query: str) -> None:
    assert client.post(f"/predict?{query}", content=picture, headers=PNG).status_code == 422


def test_tokens_are_those_of_the_service(client: TestClient, picture: bytes) -> None:
    basic = base64.b64encode(f"label-studio:{READ}".encode()).decode()
    for given, status in [
        ("", 401), ("Bearer wrong", 401), (f"Basic {READ}", 401), ("Basic %%%", 401), (f"Token {READ}", 401),
        (f"Bearer {READ}", 200), (f"Basic {basic}", 200),
    ]:  # fmt: skip
        answered = client.post("/predict", content=picture, headers=PNG | {"Authorization": given})
        assert answered.status_code == status, given
    assert client.get("/health", headers={"Authorization": ""}).json()["status"] == "ok"
    assert client.get("/model", headers={"Authorization": ""}).status_code == 401
    described = client.get("/model").json()
    assert (described["classes"], described["alias"], described["problem"]) == (list(CLASSES), None, None)
    assert client.post("/predict", content=picture, headers=PNG | {"Host": "attacker.example"}).status_code == 400
    assert client.post("/predict", content=picture, headers=PNG | {"Origin": "http://a.example"}).status_code == 403


class Slow:
    """An engine that never answers, or has no room."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.begun, self.cancelled = error, 0, 0

    async def predict(self, image: bytes, wanted: Wanted) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        self.begun += 1
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        raise AssertionError

    async def describe(self) -> dict[str, Any]:
        raise AssertionError


@pytest.mark.parametrize(("error", "status"), [(None, 503), (BusyError("full"), 429)])
def test_a_client_is_told_to_come_again(picture: bytes, error: Exception | None, status: int) -> None:
    engine = Slow(error)
    app = create_app(engine, RequestLimits(seconds=0.5), LabelStudioConfig(), digests=digests_of(TOKENS))
    with TestClient(app, "http://127.0.0.1", headers={"Authorization": f"Bearer {READ}"}) as client:
        answered = client.post("/predict", files=[("image", ("x", picture, "image/png"))] * 2)
    assert (answered.status_code, int(answered.headers["retry-after"]) > 0) == (status, True)
    assert engine.cancelled == engine.begun, "a request that is given up takes no more time"


def test_one_image_that_the_network_fails_on_leaves_the_others(
    model: Path, picture: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ClassifierPredictor.batch

    def batch(self: ClassifierPredictor, images: Any) -> Any:
        if any(size == (7, 7) for _, size in images):
            raise RuntimeError("a fault of the network")
        return whole(self, images)

    opened = served(model, tmp_path)
    monkeypatch.setattr(ClassifierPredictor, "batch", batch)
    pixels = np.zeros((30, 20, 3), np.uint8)
    items = [BatchItem(opened.current, (pixels, size)) for size in (None, (7, 7), (60, 40))]
    first, second, third = opened.predict(items)
    assert isinstance(second, RuntimeError)
    assert [first.mask.shape, third.mask.shape] == [(30, 20), (60, 40)]
    answered = asyncio.run(local_engine(opened).predict(picture, Wanted()))
    assert answered["image"]["size"] == [64, 60]
