"""Every snippet of the documents is run, or its commands are checked, or it says why not.

Python is executed, page by page in an empty folder. A command that only looks is executed too; any other is parsed by
the real command line, and its overrides are held against the typed config that the command has.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

from attn.config.resolve import resolve
from attn.runs.data import DataConfig
from attn.runs.evaluate import EvaluateModelConfig
from attn.runs.growth import GrowthConfig
from attn.runs.layers import with_data
from attn.runs.maps import MapsConfig, of_maps
from attn.runs.recipes import load_any_config, recipe_text
from attn.runs.starter import starter
from attn.runs.table import KINDS
from attn.runs.texts import LOCAL_TEXTS
from attn.segmentation.config import SegmentPredictConfig
from attn.tracking.model_lookup import ModelLookup
from services.cli.main import app
from tests.bundles import tiny_bundle
from tests.docs.command_line import PROGRAM, parsed
from tests.docs.snippets import OUTPUT, Snippet, commands, snippets

ROOT = Path(__file__).resolve().parent.parent.parent
GENERATED = ROOT / "docs" / "reference" / "configuration"
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
    if GENERATED not in path.parents
)
EXECUTED = ("recipes", "recipes show", "validate", "store show", "store verify", "store gc", "store export")
"""Commands that only look, or write into the page's folder."""
OF_MODELS = {
    "evaluate": EvaluateModelConfig,
    "maps": MapsConfig,
    "compare": EvaluateModelConfig,
    "segment predict": SegmentPredictConfig,
    "store growth": GrowthConfig,
    "data check": DataConfig,
}
"""Commands whose overrides go over a trained model's config or a data set's."""
MODEL = "data: {source: voc, root: VOC2012, split: train}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a page, with the files that pages suppose."""
    (tmp_path / "my.yaml").write_text(recipe_text("scenes_grad_cam")[0])
    (tmp_path / "photos.yaml").write_text("source: folder\nroot: photos\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("attn.notices.print_once", pytest.fail)  # no page uses an old spelling
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_shows_works(page: str, folder: Path) -> None:
    names: dict[str, Any] = {"__name__": "snippet"}
    if "attn.open_model(" in (ROOT / page).read_text(encoding="utf-8"):
        tiny_bundle(folder / "runs" / "gain" / "model")
        Image.new("RGB", (64, 48)).save(folder / "photo.jpg")
    for snippet in snippets(ROOT / page, page):
        if snippet.reason is not None or snippet.language in OUTPUT:
            continue
        try:
            match snippet.language:
                case "python":
                    run_python(snippet, names)
                case "bash":
                    for words in commands(snippet.text):
                        check_command(words)
                case "console":
                    compare_output(snippet.text)
                case "yaml":
                    check_config(snippet.text, folder)
                case language:
                    pytest.fail(f"nothing is known of {language!r}: begin it with <!-- not run: reason -->")
        except (Exception, SystemExit) as error:
            pytest.fail(f"{snippet}: {type(error).__name__}: {error}")


def run_python(snippet: Snippet, names: dict[str, Any]) -> None:
    """Execute a snippet, with what those before it on the page have defined."""
    torch.manual_seed(0)
    code = compile("\n" * snippet.line + snippet.text, snippet.page, "exec")
    with contextlib.redirect_stdout(io.StringIO()):
        exec(code, names)


def check_command(words: list[str]) -> None:
    match words:
        case ["attn", *arguments]:
            check_attn(arguments)
        case ["make", target, *_]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"make has no {target}"
        case [("python" | ".venv/bin/python"), "-m", module, *_]:
            assert importlib.util.find_spec(module), f"there is no module {module}"
        case ["bash", script, *_]:
            assert (ROOT / script).is_file(), f"there is no {script}"
        case _:
            pytest.fail(f"nothing is known of `{words[0]}`: begin the block with <!-- not run: reason -->")


def check_attn(arguments: list[str]) -> None:
    """Parse a command, and execute it or check its config."""
    name, parameters = parsed(arguments)
    if name in EXECUTED:
        execute(arguments)
        return
    listed = (parameters.get(argument) or [] for argument in ("overrides", "lookup"))
    overrides = [word for words in listed for word in words]
    target = parameters.get("recipe") or parameters.get("target") or ""
    kind = parameters.get("kind", name.partition(" ")[0])
    if kind == "compare":
        overrides = [word for word in parameters["targets"] if "=" in word]
    if kind == "init":
        Path(parameters["file"]).write_text(starter(target, parameters["file"], overrides).text)
    elif kind == "data" and "=" not in target and target:
        load_any_config(target, overrides)
    elif kind in ("evaluate", "maps", "compare", "data") or name in OF_MODELS:
        given = [target] if kind == "data" and target else []
        given = with_data([*given, *overrides], LOCAL_TEXTS)
        given = of_maps(given) if kind == "maps" else given
        where = parameters.get("uri") or "runs/RUN"  # a store elsewhere lies in no run's folder, which names the data
        text = MODEL if where.startswith("runs/") else ""
        resolve(OF_MODELS[kind if kind in OF_MODELS else name], text, "a trained model", given)
    elif target and (kind in KINDS or kind == "plan"):
        load_any_config(target, overrides)
    elif "lookup" in parameters:
        given = [word for word in [parameters.get("name") or ""] if "=" in word]  # `attn models ls` may lack a name
        resolve(ModelLookup, "", "overrides", [*given, *overrides])


def execute(arguments: list[str]) -> str:
    """What a command prints that is to end well or, of one that shows a fault, with it."""
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def compare_output(text: str) -> None:
    """Execute each `$ attn ...` of a snippet and compare what it prints, but for where lines are broken."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, _, shown = part.partition("\n")
        (words,) = commands(line)
        assert words[0] == "attn", words
        result = CliRunner().invoke(app, words[1:], catch_exceptions=False)
        assert result.output.split() == shown.split(), f"it prints\n{textwrap.indent(result.output, '  ')}"


def check_config(text: str, folder: Path) -> None:
    (folder / "shown.yaml").write_text(text)
    assert "kind" in yaml.safe_load(text), "a part of a file: begin it with <!-- not run: reason -->"
    load_any_config("shown.yaml", [])


def test_reasons_are_given_before_blocks_alone() -> None:
    """A comment that no block follows would hide nothing, and mislead."""
    for page in PAGES:
        marked = sum(snippet.reason is not None for snippet in snippets(ROOT / page, page))
        lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
        assert marked == sum(line.lstrip().startswith("<!-- not run:") for line in lines), page


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("attn train scenes_gain training.epoch=3", "training.epoch"),
        ("attn train no_such_recipe", "no_such_recipe"),
        ("attn trane scenes_gain", "trane"),
        ("attn train scenes_gain --run_id a", "run_id"),
        ("attn evaluate gain data.splitt=val", "splitt"),
        ("attn compare a b panel=3", "panel"),
        ("attn segment predict masks inference.scale=2", "inference.scale"),
        ("attn submit train scenes_gain seed=-1", "seed"),
        ("attn models ls roott=x", "roott"),
        ("attn data check data.source=vocc", "vocc"),
        ("attn store growth maps images=8", "data is missing"),
        ("attn segment segment", "`segment` is now `cross_entropy`"),
        ("make tets", "tets"),
        ("python -m benchmarks.nothing", "nothing"),
        ("rsync a b", "rsync"),
    ],
)
def test_a_wrong_command_is_found(text: str, wrong: str, folder: Path) -> None:
    (words,) = commands(text)
    with pytest.raises((Exception, pytest.fail.Exception), match=re.escape(wrong)):
        check_command(words)


def inline_commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        if page == "CHANGELOG.md":  # it tells of commands that were
            continue
        for code in re.findall(r"`(attn [a-z][^`\n]*)`", (ROOT / page).read_text(encoding="utf-8")):
            yield page, code


def test_commands_in_sentences_are_there() -> None:
    """`attn models ls`, `attn store show|verify URI`: their words as far as they are names of commands."""
    for page, code in inline_commands():
        for words in alternatives(code.split()[1:]):
            command = PROGRAM
            for word in words:
                if not hasattr(command, "commands") or not re.fullmatch(r"[a-z]+", word):
                    break
                if word not in command.commands and hasattr(command, "default"):
                    break  # the name of a recipe, before which `train` or `run` is left out
                assert word in command.commands, f"{page}: `{code}`: there is no {word}"
                command = command.commands[word]


def alternatives(words: list[str]) -> Iterator[list[str]]:
    """`store show|verify` as two lists of words; a bar in a table has a backslash before it."""
    if not words:
        yield []
        return
    for first in words[0].replace("\\", "").split("|"):
        for rest in alternatives(words[1:]):
            yield [first, *rest]


def test_the_table_of_commands_has_every_command() -> None:
    table = (ROOT / "docs/start.md").read_text(encoding="utf-8").replace("\\", "")
    for name, command in PROGRAM.commands.items():
        assert re.search(rf"`attn (?:[a-z|]+\|)?{name}\b", table), name
        for part in getattr(command, "commands", {}):
            if part != getattr(command, "default", None):
                assert re.search(rf"`attn {name} (?:[a-z|]+\|)?{part}\b", table), f"{name} {part}"
