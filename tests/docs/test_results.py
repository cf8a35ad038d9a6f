"""The pages of docs/results: their tables are those of the JSON files, and the claims are those of the pages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from attn.data.sources.voc import VocConfig
from benchmarks.results import main, pages, read_entries, rewritten, table_of, tables_in

FIGURE = re.compile(r"-?\d+\.\d+(?: ± \d+\.\d+)?")
LONGEST = 250


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    return repository / "docs/results"


def test_every_table_is_that_of_its_json(folder: Path) -> None:
    assert pages(folder)
    for page in pages(folder):
        assert rewritten(page) == page.read_text(encoding="utf-8"), f"{page}: run `python -m benchmarks.results`"


def test_every_figure_that_is_kept_is_shown(folder: Path) -> None:
    shown = [(page.parent / file, name) for page in pages(folder) for file, name in tables_in(page.read_text())]
    assert len(shown) == len(set(shown))
    of_entries = {file for file, _ in shown}
    entries = {(file, name): entry for file in of_entries for name, entry in read_entries(file).items()}
    assert set(shown) == set(entries)
    studies = {file.parent / entry.scores for (file, _), entry in entries.items() if entry.scores}
    assert set(folder.rglob("*.json")) == of_entries | studies


def test_no_table_is_written_by_hand(folder: Path) -> None:
    """But for those that name no study: aims beside what was measured."""
    for page in folder.rglob("*.md"):
        outside = re.sub(r"<!-- table: .*?<!-- end of table -->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        headings = re.findall(r"^(\|.*)\n\|---", outside, re.MULTILINE)
        assert set(headings) <= {"| aim | measured |"}, page


def test_no_page_is_long(folder: Path) -> None:
    for page in (folder.parent / "results.md", *folder.rglob("*.md")):
        assert len(page.read_text(encoding="utf-8").splitlines()) <= LONGEST, page


def test_every_claim_quotes_the_page_that_it_names(folder: Path) -> None:
    text = (folder.parent / "results.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("|") and "](results/" in line]
    assert len(rows) > 30
    for row in rows:
        *_, verdict, link = cells = [cell.strip() for cell in row.strip("|").split("|")]
        ours = cells[1] if len(cells) == 4 else cells[2]
        assert re.match(r"(not )?met\b" if len(cells) == 4 else r"(shown|not shown|opposite)\b", verdict), row
        match = re.search(r"\]\((results/[\w/]+\.md)", link)
        assert match, row
        page = (folder.parent / match[1]).read_text(encoding="utf-8")
        quoted = [figure.removeprefix("-") for figure in FIGURE.findall(ours)] or re.findall(r"\d+", ours)
        assert quoted, row
        for figure in quoted:
            assert re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.]*\d)", page), f"{match[1]} has no {figure}: {row}"


STUDY = {
    "a": {"title": "new", "split": "val", "seed": 0, "scores": {"m": 0.5, "n": 0.1}},
    "b": {"title": "new", "split": "val", "seed": 1, "scores": {"m": 0.6, "n": 0.2}},
    "c": {"title": "old", "split": "val", "seed": 1, "scores": {"m": 0.3}},
    "d": {"title": "old", "split": "val", "seed": 0, "scores": {"m": 0.5004}},
    "e": {"title": "old", "split": "test", "seed": 0, "scores": {"m": 0.9}},
}
SAID = {"command": "make demo", "recorded": "2026-11-21", "machine": "a core"}
ENTRIES = """{
 "means": {"command": "make demo", "recorded": "2026-11-21", "machine": "a core", "scores": "study.json",
  "titles": {"old": "old", "new": "mine"}, "columns": {"val m": "M", "val n": "N"}},
 "changes": {"command": "make demo", "recorded": "2026-11-21", "machine": "a core", "scores": "study.json",
  "changes": {"from old": ["new", "old"]}, "columns": {"val m": "M"}},
 "kept": {"command": "make demo", "recorded": "2026-11-21", "machine": "a core", "note": "Two runs.",
  "columns": ["a", "b", "c"], "rows": [["x", 4.20, [1.0, 0.50]], [null, -3, [1, 2, 3]]]}
}"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    (tmp_path / "study.json").write_text(json.dumps(STUDY))
    (tmp_path / "page.json").write_text(ENTRIES)
    page = tmp_path / "page.md"
    blocks = (
        f"<!-- table: page.json {name} -->\nold\n<!-- end of table -->\n" for name in ("means", "changes", "kept")
    )
    page.write_text("# A page\n\n" + "\nbetween\n\n".join(blocks))
    return page


def test_tables_are_made_of_figures(page: Path) -> None:
    entries = read_entries(page.parent / "page.json")
    assert table_of(entries["means"], page.parent) == [
        "| method | M | N |",
        "|---|---|---|",
        "| old | 40.0 ± 10.0 | - |",
        "| mine | 55.0 ± 5.0 | 15.0 ± 5.0 |",
    ]
    assert table_of(entries["changes"], page.parent)[2:] == ["| from old | 0.0, 30.0 |"]
    assert table_of(entries["kept"], page.parent)[2:] == ["| x | 4.20 | 1.0 ± 0.50 |", "|  | -3 | 1, 2, 3 |"]


def test_a_page_is_rewritten_where_it_differs(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="1"):
        main(check=True, folder=page.parent)
    assert "page.md: differs from its JSON" in capsys.readouterr().out
    main(check=False, folder=page.parent)
    text = page.read_text()
    assert text.count("\nbetween\n") == 2
    assert text.count("make demo") == 1  # the command of the table before is not said again
    assert "old\n" not in text
    assert text.count("Recorded 2026-11-21, measured on a core; figures: [page.json](page.json)") == 3
    assert "Two runs.\n" in text
    main(check=True, folder=page.parent)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"titles": {"none": "x"}}, "no run whose title is none"),
        ({"titles": {"old": "x"}, "columns": {"val k": "K"}}, "has no score val k"),
        ({"titles": {"old": "x"}, "column": {}}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_entry_is_an_error(page: Path, change: dict[str, object], said: str) -> None:
    entry = SAID | {"scores": "study.json", "columns": {"val m": "M"}} | change
    (page.parent / "page.json").write_text(json.dumps({"means": entry}))
    with pytest.raises((KeyError, ValueError), match=said):
        rewritten(page)


def test_the_photographs_are_listed(folder: Path, shared: Path) -> None:
    """The lists name the images that the recipes read, in their order."""
    listed = {path.stem: path.read_text().split() for path in (folder / "photographs").glob("*.txt")}
    assert {name: len(ids) for name, ids in listed.items()} == {"train": 330, "val": 173, "animals": 1657}
    sources = {"train": ("voc", "train"), "val": ("voc", "val"), "animals": ("voc_animals320", "train_aug")}
    labels = str(shared / "data/labels/cls_labels.npz")
    for name, (data, split) in sources.items():
        root = str(shared / "data" / data / "VOCdevkit/VOC2012")
        source = VocConfig(root=root, split=split, masks=None, labels=labels).build()
        assert [record.image_id for record in source.records] == listed[name]
