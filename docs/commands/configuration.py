"""The reference of all configuration fields, from the typed configs: `python -m docs.commands.configuration`.

A field's description is that of its class's docstring (`Attributes:`); of a section, what its class is.
"""

from __future__ import annotations

__all__ = ["FOLDER", "pages"]

from pathlib import Path

from pydantic.fields import FieldInfo

from attn.config.base import Config
from attn.config.field_docs import descriptions, summary
from attn.config.field_words import default_words, range_words, type_words
from attn.models import architecture, architectures
from docs.commands.config_tree import PAGES, Section, sections

FOLDER = Path(__file__).resolve().parent.parent / "reference" / "configuration"


def main() -> None:
    """Write the pages."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """The text of every page by its file's name."""
    known = sections()
    texts = {page: f"# {title}\n\n{_intro()}\n" for page, (title, _) in PAGES.items()}
    for section in known.values():
        texts[section.page] += f"\n## {section.heading}\n\n{_text(section, known)}"
    texts["training.md"] += f"\n## Backbones\n\n{_backbones()}"
    return texts


def _intro() -> str:
    return (
        "<!-- Written by `python -m docs.commands.configuration`; do not edit. -->\n\n"
        "Every field with its type, its default and its range. A heading is the section's place in a config, so that\n"
        "`training` with `epochs` is `training.epochs=3` on the command line; `method, name=gain` is what `method`\n"
        "holds where `method.name` is `gain`. [Configuration](../../configuration.md) says how recipes and overrides\n"
        "combine."
    )


def _backbones() -> str:
    """What `model.name` may be, from the registry of architectures."""
    rows = [
        "| `model.name` | `model.stride`, the default first | `model.head` | torchvision's weights |",
        "|---|---|---|---|",
    ]
    for name in architectures():
        result = architecture(name)
        strides, heads = ", ".join(map(str, result.strides)), ", ".join(f"`{head}`" for head in result.heads)
        rows.append(
            f"| `{name}` | {strides} | {heads} | {'none' if result.weights is None else f'`{result.weights}`'} |"
        )
    rows += [
        "",
        "Heads are those of classifiers; segmentation networks have their own. [Networks](../../networks.md) has",
    ]
    return "\n".join([*rows, "timm's, which are named `timm/NAME`, and your own.", ""])


def _text(section: Section, known: dict[type[Config], Section]) -> str:
    config = section.config
    rows = [
        f"| `{name}` | {_row(config.model_fields[name], section.page, known)} | {_cell(text)} |"
        for name, text in descriptions(config).items()
    ]
    head = ["| field | type | default | range | |", "|---|---|---|---|---|"] if rows else ["No fields."]
    return "\n".join([f"{summary(config)} `{config.__module__.replace('.', '/')}.py`", "", *head, *rows, ""])


def _row(info: FieldInfo, page: str, known: dict[type[Config], Section]) -> str:
    """The cells between a field's name and its description."""
    words = type_words(info.annotation, info.metadata, lambda config: _link(config, page, known))
    cells = (words, default_words(info), range_words(info.annotation, info.metadata))
    return " | ".join(map(_cell, cells))


def _link(config: type[Config], page: str, known: dict[type[Config], Section]) -> str:
    section = known[config]
    kept = "".join(sign for sign in section.heading.lower() if sign.isalnum() or sign in " -_")
    text = section.choice.partition("=")[2] or section.path.rpartition(".")[2] or f"as of `attn {section.command}`"
    return f"[{text}]({'' if section.page == page else section.page}#{kept.replace(' ', '-')})"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    main()
