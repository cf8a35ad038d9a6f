"""The recipes that come with the project: where their files stand, how one is found, and what its header tells."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from attn.errors import ConfigError
from attn.notices import print_once
from attn.runs import recipes
from attn.runs.recipes import (
    FORMER_NAMES,
    GROUPS,
    Recipe,
    find_recipe,
    list_recipes,
    load_any_config,
    load_run,
    recipe_paths,
)
from attn.runs.sweep.load import _base_document
from services.admission import admit
from services.permissions import Permissions
from services.submission import Submission
from tests.jobs.counts import counted

LABELS = ("Paper", "Measured", "Time", "Command")
"""Of every header; `Reports` is between the first two where the settings are a paper's."""
MEASURED = re.compile(
    r"(not here: \S.+|(?P<scores>\D.*\d.*) on (?P<images>\d+) (scenes|photographs) of (?P<split>\w+); "
    r"seeds? (?P<seeds>\d(, \d)*)(;.*)?)"
)
FIGURE = re.compile(r"\d+\.\d+(?: ± \d+\.\d+)?")


@pytest.fixture(scope="module")
def folder(repository: Path) -> Path:
    return repository / "jobs/recipes"


def test_every_recipe_file_is_in_a_group_and_has_a_name_of_its_own(folder: Path) -> None:
    names = [path.stem for path in folder.rglob("*.y*ml")]
    twice = {name for name in names if names.count(name) > 1}
    assert not twice, f"these names are taken twice: {', '.join(sorted(twice))}"
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        f"{recipe.group}/{recipe.name}.yaml" for recipe in list_recipes()
    }


def test_recipes_are_listed_by_group(folder: Path) -> None:
    groups = [recipe.group for recipe in list_recipes()]
    assert tuple(dict.fromkeys(groups)) == GROUPS
    assert groups == sorted(groups, key=GROUPS.index)
    assert {path.name for path in folder.iterdir()} == set(GROUPS)


def test_one_recipe_is_found_without_reading_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    whole = Path.read_text

    def counted(path: Path, *args: str | None, **kwargs: str | None) -> str:
        if path.suffix == ".yaml":
            read.append(path.stem)
        return whole(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", counted)
    assert find_recipe("gain").group == "photographs"
    assert read == ["gain"]
    recipe_paths()
    assert read == ["gain"]


@pytest.mark.parametrize(
    ("name", "near"),
    [("scenes_gian", "scenes_gain"), ("gain_ext_sec", "gain_ext_sec_voc"), ("attnbn_dsrg", "attnbn_dsrg_voc")],
)
def test_an_unknown_recipe_has_the_nearest_few_named(name: str, near: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_recipe(name)
    (fault,) = caught.value.faults
    assert near in fault.hint
    assert sum(one in fault.hint.replace("?", "").split() for one in recipe_paths()) <= 3
    assert fault.hint.endswith(f"`attn recipes` lists all {len(recipe_paths())}")


@pytest.mark.parametrize("name", ["photographs/gain", "gain.yaml", "../recipes/photographs/gain", "", "Gain"])
def test_only_the_bare_name_is_a_recipe(name: str) -> None:
    with pytest.raises(ConfigError, match="is neither a recipe nor a file"):
        find_recipe(name)


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="`jobs` with the recipes is not installed"):
        find_recipe("gain")


def header_fields(recipe: Recipe) -> dict[str, str]:
    """The labelled lines of a header, continued ones joined."""
    results: dict[str, str] = {}
    for line in recipe.header.split("\n\n")[1].splitlines():
        label, colon, text = line[:10].partition(":")
        assert (colon == ":" and text.strip() == "") or not line[:10].strip(), f"{recipe.name}: {line}"
        name = label if colon else list(results)[-1]
        results[name] = f"{results.get(name, '')} {line[10:].strip()}".strip()
    return results


@pytest.mark.parametrize("recipe", list_recipes(), ids=lambda recipe: recipe.name)
def test_a_header_tells_what_was_measured(recipe: Recipe, repository: Path) -> None:
    fields = header_fields(recipe)
    assert tuple(label for label in fields if label != "Reports") == LABELS
    assert ("Reports" in fields) == (recipe.group == "paper")
    assert all(fields.values())
    assert recipe.time == fields["Time"]
    assert re.search(rf"\battn (train|segment|pipeline|sweep) {recipe.name}\b", fields["Command"])
    measured = MEASURED.fullmatch(fields["Measured"])
    assert measured, (
        f"{recipe.name}: {fields['Measured']!r}; write `not here: WHY`, or SCORES on N IMAGES of SPLIT; seeds S"
    )
    assert "docs/" not in recipe.header
    figures = FIGURE.findall(fields["Measured"])
    if recipe.group == "paper":
        assert not figures
    assert bool(figures) == bool(measured["scores"])
    pages = "\n".join(page.read_text(encoding="utf-8") for page in (repository / "docs/results").glob("*.md"))
    for figure in figures:
        assert re.search(rf"(?<![\d.]){re.escape(figure)}(?![\d.]*\d)", pages), f"docs/results has no {figure}"


@pytest.mark.parametrize(
    ("said", "fits"),
    [
        ("mIoU 32.4 on 173 photographs of val; seed 0", True),
        ("mIoU 32.4, mAP 7.5 ± 0.1 on 400 scenes of test; seeds 0, 1, 2; more", True),
        ("not here: needs VOC 2012", True),
        ("not here", False),
        ("docs/results.md", False),
        ("mIoU 32.4", False),
        ("mIoU 32.4 on 173 photographs of val", False),
        ("good maps on 173 photographs of val; seed 0", False),
    ],
)
def test_what_the_form_of_a_measurement_takes(said: str, fits: bool) -> None:
    assert bool(MEASURED.fullmatch(said)) == fits


@pytest.mark.parametrize("by", ["command", "any kind", "service"])
@pytest.mark.parametrize(
    ("kind", "recipe", "named"),
    [
        ("train", "scenes_oaa", []),
        ("pipeline", "grad_cam_segment_scenes", ["recipe scenes_grad_cam", "recipe segment_scenes"]),
        ("sweep", "sweep_scenes_gain", ["recipe scenes_gain", "base"]),
    ],
)
def test_each_file_is_parsed_once(by: str, kind: str, recipe: str, named: list[str], tmp_path: Path) -> None:
    """The recipe and those that it names; a sweep's resolved base once for all its trials."""
    overrides = [] if kind == "sweep" else ["seed=1"]
    body = {"id": "a", "kind": kind, "target": recipe, "overrides": overrides}
    _base_document.cache_clear()
    with counted() as counts:
        if by == "command":
            load_run(recipe, kind, overrides)
        elif by == "any kind":
            load_any_config(recipe, overrides)
        else:
            admit(Submission.model_validate(body), Permissions(str(tmp_path), ("/data",)))
    read = {name.removeprefix("read "): count for name, count in counts.items() if name.startswith("read ")}
    assert read == dict.fromkeys([f"recipe {recipe}", *named], 1)


def test_a_recipe_by_its_former_name(capsys: pytest.CaptureFixture[str]) -> None:
    print_once.cache_clear()
    assert find_recipe("segment") == find_recipe("cross_entropy")
    assert capsys.readouterr().err.startswith("note: `segment` is now `cross_entropy`;")
    assert not FORMER_NAMES.keys() & recipe_paths().keys()


@pytest.mark.parametrize(
    ("name", "overrides", "blamed"),
    [
        ("scenes_oaa", ["training.epochs=1"], "training.epochs=1"),
        ("scenes_oaa", ["seed=2", "store.start_epoch=99"], "store.start_epoch=99"),
        ("oaa_plus_segment_scenes", ["train.training.epochs=1"], "train.training.epochs=1"),
    ],
)
def test_a_rule_over_several_fields_names_the_override_that_broke_it(
    name: str, overrides: list[str], blamed: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"override '{blamed}': ") + ".*leaves none of"):
        recipes.load_any_config(name, overrides)
