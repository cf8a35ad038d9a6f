"""The recipes that come with the project: where their files stand, and how one of them is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from attn.errors import ConfigError
from attn.runs import recipes
from attn.runs.recipes import GROUPS, find_recipe, list_recipes, recipe_paths


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


@pytest.mark.parametrize("name", ["photographs/gain", "gain.yaml", "../recipes/photographs/gain", "", "Gain"])
def test_only_the_bare_name_is_a_recipe(name: str) -> None:
    with pytest.raises(ConfigError, match="is neither a recipe nor a file"):
        find_recipe(name)


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="`jobs` with the recipes is not installed"):
        find_recipe("gain")
