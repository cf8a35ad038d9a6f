"""What a client names is read in the service's folders alone, within limits, and not quoted where it is no data."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from attn.config.resolve import resolve
from attn.errors import AttnError, ConfigError, WeightsError
from attn.files import locations, transfer
from attn.files.roots import ROOTS_VARIABLE, is_inside, limit_reading
from attn.models.weights import read_weights
from attn.runs.data import DataConfig
from services.planning import Limits, Planner, RefusedError
from services.submission import Submission

HIDDEN = "wherewithal"
CREDENTIALS = f"[default]\n{HIDDEN} = some/thing\nregion={HIDDEN}\n"
PASSWD = "root:x:0:0:secret_access:/root:/bin/bash\ndaemon:x:1:1:secret_access:/usr/sbin:/usr/sbin/nologin\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A data root with a class folder, and files beside it that nobody is to see."""
    for name in ("data/VOC2012/JPEGImages", "data/VOC2012/ImageSets/Main", "data/cat", "runs/.service"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "credentials").write_text(CREDENTIALS)
    (tmp_path / "passwd").write_text(PASSWD)
    (tmp_path / "runs" / ".service" / "tokens.json").write_text("{}")
    (tmp_path / "data" / "link.csv").symlink_to(tmp_path / "credentials")
    return tmp_path


@pytest.fixture
def limited(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(ROOTS_VARIABLE, "[]")  # so that what is set here ends with the test
    limit_reading((str(place / "runs"), str(place / "data")))
    return place


@pytest.mark.parametrize(
    "source",
    [
        "{source: manifest, manifest: HERE/credentials}",
        "{source: manifest, manifest: HERE/passwd}",
        "{source: voc, root: HERE/data, split: HERE/passwd}",
        "{source: voc, root: HERE/data, split: HERE/credentials}",
        "{source: coco, root: HERE/data, annotations: HERE/credentials, split: train2017}",
    ],
)
def test_what_is_no_data_is_not_quoted(place: Path, source: str) -> None:
    """Not in the command line either: an error's text is passed on to people who may not read the file."""
    (place / "data" / "VOC2012" / "JPEGImages" / "a.jpg").write_bytes(b"")
    data = resolve(DataConfig, f"data: {source}".replace("HERE", str(place)), "config", []).data
    with pytest.raises(AttnError) as raised:
        data.build()
    text = str(raised.value).replace(str(place), "HERE")
    assert not any(word in text for word in (HIDDEN, "some/thing", "secret_access", "root:", "daemon", "default]"))
    assert "HERE/" in text


@pytest.mark.parametrize(
    "rows",
    [
        "image,labels,boxes\n0.jpg,a,{hidden}\n",
        "image,labels\n../{hidden},a\n",
        "image,labels\nftp://{hidden},a\n",
        'image,labels\n0.jpg,"[{hidden}]"\n',
        "image,labels,{hidden},{hidden}\n0.jpg,a,b,c\n",
        "{hidden},other\n0.jpg,a\n",
    ],
)
def test_a_cell_that_is_wrong_is_named_by_its_place(place: Path, rows: str) -> None:
    table = place / "data" / "table.csv"
    table.write_text(rows.format(hidden=HIDDEN))
    with pytest.raises(AttnError) as raised:
        resolve(DataConfig, f"data: {{source: manifest, manifest: {table}}}", "config", []).data.build()
    assert HIDDEN not in str(raised.value)


def test_a_limited_process_reads_below_its_folders_alone(limited: Path) -> None:
    (limited / "data" / "own.txt").write_text("a")
    assert locations.read_bytes(str(limited / "data" / "own.txt")) == b"a"
    for name in ("credentials", "data/link.csv", "data/../passwd", "runs/.service/tokens.json", "data2"):
        with pytest.raises(locations.FileFault, match="--data-root"):
            locations.read_bytes(str(limited / name))
        assert not transfer.exists(str(limited / name))
    with pytest.raises(locations.FileFault, match="--data-root"):
        locations.list_files(str(limited))
    with pytest.raises(locations.FileFault, match="--data-root"):
        locations.read_bytes("s3://bucket/data")


def test_a_table_leads_no_further_than_its_reader(limited: Path) -> None:
    table = limited / "data" / "table.csv"
    table.write_text(f"image,labels\n{limited}/passwd,a\n")
    config = resolve(DataConfig, f"data: {{source: manifest, manifest: {table}}}", "config", []).data
    with pytest.raises(AttnError, match="--data-root"):
        config.build()


@pytest.mark.parametrize(
    ("location", "root", "inside"),
    [
        ("/srv/data/a", "/srv/data", True),
        ("/srv/data", "/srv/data/", True),
        ("/srv/data2", "/srv/data", False),
        ("/srv/data/../b", "/srv/data", False),
        ("/a", "/", True),
        ("/srv/data/.service/x", "/srv/data", False),
        ("/srv/data/a\0", "/srv/data", False),
        ("s3://bucket/sets/a", "s3://bucket/sets", True),
        ("s3://bucket/sets2/a", "s3://bucket/sets", False),
        ("s3://bucket/sets/../a", "s3://bucket/sets", False),
        ("s3://bucket2/a", "s3://bucket", False),
        ("s3://bucket/.service/a", "s3://bucket", False),
        ("/bucket/a", "s3://bucket", False),
        ("s3://srv/data", "/", False),
    ],
)
def test_what_lies_in_a_data_root(location: str, root: str, inside: bool) -> None:
    assert is_inside(location, root) is inside


@pytest.mark.parametrize("kind", ["pipe", "socket", "device", "folder"])
def test_weights_are_a_file(tmp_path: Path, kind: str) -> None:
    location = Path("/dev/zero") if kind == "device" else tmp_path / "weights.pt"
    if kind == "pipe":
        os.mkfifo(location)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(location))
    elif kind == "folder":
        location.mkdir()
    with pytest.raises(WeightsError, match="not a file; correct model.weights"):
        read_weights(str(location), None)


def test_weights_are_read_where_data_is(limited: Path) -> None:
    with pytest.raises(WeightsError, match="--data-root"):
        read_weights(str(limited / "credentials"), None)
    (limited / "data" / "weights.pt").symlink_to(limited / "credentials")
    with pytest.raises(WeightsError, match="--data-root"):
        read_weights(str(limited / "data" / "weights.pt"), None)


GRID = (
    "kind: sweep\nrecipe: scenes_gain\nset: {data.count: 400000}\nspace: {optimizer.lr: [0.1, 0.2]}\n"
    "search: {name: grid}\n"
)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(cpu_seconds=1), "more than 1 s of CPU time"),
        (Limits(memory=8 << 20), "8 MiB of memory"),
        (Limits(seconds=0.5), "more than 0.5 seconds"),
    ],
)
def test_a_submission_takes_no_more_than_it_may(tmp_path: Path, limits: Limits, said: str) -> None:
    planner = Planner(str(tmp_path), limits=limits)
    with pytest.raises(RefusedError, match=said):
        planner.plan(Submission(id="x", kind="sweep", config=GRID))


def test_a_submission_is_looked_at_elsewhere(tmp_path: Path) -> None:
    planner = Planner(str(tmp_path))
    assert planner.plan(Submission(id="x", kind="train", target="scenes_gain"))["title"] == "gain"
    planner.check(Submission(id="x", kind="evaluate", target="absent"))
    with pytest.raises(ConfigError, match=r"data\.manifest = /etc/passwd is outside"):
        planner.check(
            Submission(
                id="x", kind="train", target="scenes_gain", overrides=["data={source: manifest, manifest: /etc/passwd}"]
            )
        )
