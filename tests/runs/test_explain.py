"""`attn explain`: what is said of a field is what pydantic and the docstrings say, and recipes that set it do."""

from __future__ import annotations

import pytest
import yaml

from attn.config.field_docs import attributes_in
from attn.errors import ConfigError
from attn.evaluation.faithfulness import FaithfulnessConfig
from attn.methods.gain import GainConfig
from attn.runs.explain import FieldPage, SectionPage, explain
from attn.runs.field_tree import places
from attn.runs.papers import papers_in
from attn.runs.recipes import list_recipes
from attn.training.config import TrainingConfig

DOCSTRING = """A class.

    Attributes:
        first: One line
            and the next: all of it.
        second, third: Shared,
            by two.

    Raises:
        ValueError: No attribute.
    """


def field(name: str) -> FieldPage:
    (page,) = explain(name)
    assert isinstance(page, FieldPage)
    return page


def test_a_field_of_two_methods_has_two_pages() -> None:
    pages = {page.choices[0]: page for page in explain("method.alpha") if isinstance(page, FieldPage)}
    assert list(pages) == ["method.name=gain", "method.name=icasc"]
    gain = pages["method.name=gain"]
    assert (gain.type, gain.range, gain.default) == ("number", "≥ 0", str(GainConfig.model_fields["alpha"].default))
    assert "weight of attention mining" in gain.meaning
    assert [paper.partition(":")[0] for paper in gain.papers] == ["GAIN"]
    assert gain.names == {"train": ["method.alpha"], "pipeline": ["train.method.alpha", "integral.method.alpha"]}
    set_in = {one.recipe: one.value for one in gain.recipes if one.field == "method.alpha"}
    for recipe in list_recipes():
        values = yaml.safe_load(recipe.text)
        method = values.get("method") or {}
        said = method.get("alpha") if values.get("kind", "train") == "train" and method.get("name") == "gain" else None
        assert set_in.get(recipe.name) == said, recipe.name
    assert "space.method.alpha" in {one.field for one in gain.recipes}
    assert not any(one.field.startswith("space") for one in pages["method.name=icasc"].recipes), "its base is GAIN"


def test_a_bound_and_a_default_are_pydantics() -> None:
    page = field("training.batch_size")
    assert page.range == "≥ 1, ≤ 65,536"
    assert page.default == str(TrainingConfig().batch_size)


def test_sections_families_and_choices() -> None:
    (training,) = explain("training")
    assert isinstance(training, SectionPage)
    assert [page.name for page in training.fields] == [f"training.{name}" for name in TrainingConfig.model_fields]
    of_classifiers, of_networks = (page for page in explain("method") if isinstance(page, SectionPage))
    assert "method.name=gain" in of_classifiers.choices
    assert "method.name=sec" in of_networks.choices
    assert [page.choices for page in explain("method.name") if isinstance(page, SectionPage)] == [
        of_classifiers.choices, of_networks.choices,
    ]  # fmt: skip
    (gain,) = explain("method.name=gain")
    assert isinstance(gain, SectionPage)
    assert "method.mask_scale" in [page.name for page in gain.fields]


def test_a_section_is_explained_by_its_last_name_too() -> None:
    of_evaluation, section = explain("faithfulness")
    assert isinstance(of_evaluation, FieldPage)
    assert isinstance(section, SectionPage)
    names = [page.name for page in section.fields]
    assert names == [f"evaluation.faithfulness.{name}" for name in FaithfulnessConfig.model_fields]
    assert [page for page in explain("evaluation.faithfulness") if isinstance(page, SectionPage)] == [section]


def test_a_last_name_and_a_value_are_enough() -> None:
    assert field("mining_score").name == field("method.mining_score=logit").name == "method.mining_score"


@pytest.mark.parametrize(
    ("query", "hint"),
    [
        ("method.alhpa", "did you mean method.alpha"),
        ("alhpa", "method.alpha"),
        ("optimiser.lr", "did you mean optimizer.lr"),
        ("trainig", "did you mean training"),
        ("method.name=gian", "did you mean method.name=gain"),
        ("no.such.thing.at.all", "lists a section's fields"),
        ("", "lists a section's fields"),
    ],
)
def test_what_is_misspelled_has_near_names(query: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        explain(query)
    (fault,) = caught.value.faults
    assert hint in fault.hint


def test_everything_there_is_can_be_explained() -> None:
    names = set[str]()
    for location in places():
        names.update([f"{location.path}.{location.choice}"] if location.choice else [])
        names.update(
            [location.path] if location.path else [location.field(name) for name in location.config.model_fields][:1]
        )
    for name in names:
        assert explain(name), name


def test_the_kind_of_a_file() -> None:
    assert field("kind").type.split(", ") == ["train", "segment", "pipeline", "sweep"]


def test_the_texts_of_attributes() -> None:
    assert attributes_in(DOCSTRING) == {
        "first": "One line and the next: all of it.",
        "second": "Shared, by two.",
        "third": "Shared, by two.",
    }
    assert attributes_in("No attributes.") == {}


def test_papers_by_their_abbreviations() -> None:
    assert [paper.partition(":")[0] for paper in papers_in("GAIN_ext: GAIN eq. 7 and SEC, unlike OAA+.")] == [
        "GAIN", "SEC", "OAA",
    ]  # fmt: skip
    assert papers_in("AGAIN and SECOND") == []
