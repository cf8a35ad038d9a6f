"""The routes of a backend for Label Studio, with the requests that Label Studio documents and sends."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from services.prediction_service.config import LabelStudioConfig
from services.prediction_service.engine import RefusedError
from services.prediction_service.task_images import TaskImages
from tests.annotations.drawing import brush_pixels, inside
from tests.bundles import CLASSES

SIZE = (64, 60)
UID = "7.1718742346"
LABELS = "".join(f'<Label value="{name}" background="#00f"/>' for name in (*CLASSES, "Airplane"))
CHOICES = "".join(f'<Choice value="{name}"/>' for name in CLASSES)


def interface(tag: str, content: str = LABELS) -> str:
    return (
        f'<View><Image name="img" value="$photo" zoom="true"/><{tag} name="tag" toName="img">{content}</{tag}></View>'
    )


def asked(config: str, *photos: str) -> dict[str, Any]:
    """What Label Studio sends for predictions."""
    tasks = [
        {
            "id": number, "data": {"photo": photo, "text": "Hello"}, "meta": {}, "project": 7, "is_labeled": False,
            "overlap": 1, "created_at": "2024-06-18T23:45:46.048490Z", "annotations": [], "predictions": [],
        }
        for number, photo in enumerate(photos, 1)
    ]  # fmt: skip
    params = {"login": None, "password": None, "context": None}
    return {"tasks": tasks, "model_version": "x", "project": UID, "label_config": config, "params": params}


@pytest.fixture(scope="module")
def uri(picture: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


@pytest.fixture(scope="module")
def mask(client: TestClient, picture: bytes) -> np.ndarray:
    answered = client.post("/predict?mask=rle", content=picture, headers={"Content-Type": "image/png"})
    from pycocotools import mask

    result = np.zeros(SIZE, np.uint8)
    (image,) = answered.json()["images"]
    for label in image["labels"]:
        code = image["mask"]["rle"][label["class"]]
        result[mask.decode({"size": code["size"], "counts": code["counts"].encode()}) > 0] = label["value"]
    return result


pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # pycocotools with NumPy 2


def test_health_and_setup(client: TestClient, model: Path) -> None:
    health = client.get("/label-studio/health", headers={"Authorization": ""})
    assert health.json()["status"] == "UP"
    sent = {
        "project": UID,
        "schema": interface("BrushLabels"),
        "hostname": "http://localhost:8080",
        "access_token": "k",
        "extra_params": None,
    }
    assert client.post("/label-studio/setup", json=sent).json() == {"model_version": str(model)}
    refused = client.post("/label-studio/setup", json=sent | {"schema": "<View><Text name='t' value='$t'/></View>"})
    assert (refused.status_code, "BrushLabels" in refused.json()["detail"]) == (422, True)


@pytest.mark.parametrize("tag", ["BrushLabels", "PolygonLabels", "RectangleLabels"])
def test_regions(client: TestClient, uri: str, mask: np.ndarray, tag: str) -> None:
    answered = client.post("/label-studio/predict", json=asked(interface(tag), uri, uri))
    assert answered.status_code == 200, answered.text
    first, second = answered.json()["results"]
    assert first == second
    assert 0 < first["score"] <= 1
    assert first["result"]
    drawn = np.zeros((len(CLASSES), *SIZE), bool)
    for result in first["result"]:
        assert (result["type"], result["from_name"], result["to_name"]) == (tag.lower(), "tag", "img")
        assert (result["original_height"], result["original_width"]) == SIZE
        value = result["value"]
        (name,) = value[tag.lower()]
        pixels = drawn[CLASSES.index(name)]
        if tag == "BrushLabels":
            pixels |= brush_pixels(value["rle"], SIZE)
        elif tag == "PolygonLabels":
            pixels |= inside(np.array(value["points"]) / 100 * SIZE[::-1], SIZE)
        else:
            left, width = (round(value[name] * SIZE[1] / 100) for name in ("x", "width"))
            top, height = (round(value[name] * SIZE[0] / 100) for name in ("y", "height"))
            pixels[top : top + height, left : left + width] = True
    for index in range(len(CLASSES)):
        of_class = mask == index + 1
        if tag == "BrushLabels":
            np.testing.assert_array_equal(drawn[index], of_class)
        elif tag == "PolygonLabels":
            assert (drawn[index] != of_class).mean() < 0.1
        else:
            assert not (of_class & ~drawn[index]).any()


def test_choices_and_labels_that_the_project_lacks(client: TestClient, uri: str) -> None:
    everything = client.post("/label-studio/predict", json=asked(interface("Choices", CHOICES), uri)).json()
    ((result,),) = (one["result"] for one in everything["results"])
    names = result["value"]["choices"]
    assert (result["type"], len(names) > 1, set(names) <= set(CLASSES)) == ("choices", True, True)
    one = f'<Choice value="{names[0]}"/>'
    fewer = client.post("/label-studio/predict", json=asked(interface("Choices", one), uri)).json()["results"][0]
    assert fewer["result"][0]["value"]["choices"] == names[:1]
    lacking = client.post("/label-studio/predict", json=asked(interface("BrushLabels", "<Label value='x'/>"), uri))
    assert lacking.json()["results"][0] | {"model_version": ""} == {"result": [], "score": 0.0, "model_version": ""}


def test_local_files_below_the_roots(client: TestClient, roots: Path, picture: bytes, uri: str) -> None:
    (roots / "in").mkdir(exist_ok=True)
    (roots / "in" / "a b.png").write_bytes(picture)
    paths = ["/data/local-files/?d=in/a%20b.png", uri]
    answered = client.post("/label-studio/predict", json=asked(interface("BrushLabels"), *paths))
    first, second = answered.json()["results"]
    assert first == second


@pytest.mark.parametrize(
    ("photo", "said"),
    [
        ("/data/local-files/?d=../model/model.json", "below none of label_studio.roots"),
        ("/data/local-files/?d=/etc/passwd", "below none of label_studio.roots"),
        ("/data/local-files/?d=a%00b", "below none of label_studio.roots"),
        ("/data/local-files/?d=absent.png", "no such file"),
        ("s3://bucket/image.png", "below none of label_studio.roots"),
        ("http://169.254.169.254/latest/meta-data", "label_studio.url names no Label Studio"),
        ("http://[", "task 1: "),
        ("file:///etc/passwd", "label_studio.url names no Label Studio"),
        ("data:image/png,x", "must be base64"),
        ("data:image/png;base64,%%", "is damaged"),
        ("data:image/png;base64,AAAA", "task 1: is not an image"),
        (7, "has no image in the field 'photo'"),
    ],
)
def test_an_image_that_may_not_be_read_is_refused(client: TestClient, photo: Any, said: str) -> None:
    answered = client.post("/label-studio/predict", json=asked(interface("BrushLabels"), photo))
    assert (answered.status_code, said in answered.json()["detail"]) == (422, True), answered.json()


@pytest.mark.parametrize(
    "config",
    ["", "<View", "<View/>", "<!DOCTYPE a [<!ENTITY b 'c'>]><View/>", interface("Rating"),
     '<View><Image name="img" value="photo"/><Choices name="c" toName="img"/></View>'],
)  # fmt: skip
def test_a_wrong_interface_is_refused(client: TestClient, uri: str, config: str) -> None:
    assert client.post("/label-studio/predict", json=asked(config, uri)).status_code == 422


class LabelStudio(BaseHTTPRequestHandler):
    """A server that knows who asks for which path."""

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        redirected = self.path.startswith("/studio/data/moved")
        self.send_response(302 if redirected else 200)
        if redirected:
            self.send_header("Location", "http://127.0.0.1:1/")
        self.end_headers()
        if not redirected:
            self.wfile.write(b"x" * 100)

    def log_message(self, format: str, *arguments: Any) -> None:
        pass


@pytest.fixture
def label_studio() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), LabelStudio)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_images_that_label_studio_keeps(label_studio: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "the key")
    url = f"http://127.0.0.1:{label_studio.server_address[1]}"
    images = TaskImages(LabelStudioConfig(url=f"{url}/studio"), 100)
    assert images.read("/studio/data/upload/7/a.png") == images.read(f"{url}/studio/data/upload/7/a.png") == b"x" * 100
    assert label_studio.asked == [("/studio/data/upload/7/a.png", "Token the key")] * 2
    for location in (
        "/studio/api/users", "/studio/data/../api/users", "/studio/data/%2e%2e/api", "/data/upload/a.png",
        "http://127.0.0.1:1/studio/data/a.png", "http://attacker.example/data/a.png", "ftp://127.0.0.1/data/a",
    ):  # fmt: skip
        with pytest.raises(RefusedError):
            images.read(location)
    assert len(label_studio.asked) == 2, "other paths and servers are not asked"
    with pytest.raises(RefusedError, match="status 302"):
        images.read("/studio/data/moved")
    with pytest.raises(RefusedError, match="has more than 99 bytes"):
        TaskImages(LabelStudioConfig(url=f"{url}/studio"), 99).read("/studio/data/upload/7/a.png")
