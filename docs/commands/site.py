"""Hooks of MkDocs: the pages that stand beside `docs/` join the site, and links between both places hold there.

The same files are read on a code host, where links are relative to the repository. A link to a file that is no page,
such as a module, becomes its path in code style: the site does not know where the repository lies.
"""

from __future__ import annotations

__all__ = ["on_config", "on_files", "on_page_markdown", "on_post_page"]

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parent.parent.parent
BESIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages of the repository's root, and their names in the site."""
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source|link rel="(?:stylesheet|preload|preconnect|icon)")\b[^>]*https?:[^>]*>"""
)
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s#]+)(#[^()\s]*)?\)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the pages of a folder where the navigation names the folder (`decisions/`)."""
    config.nav = _expanded(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the repository's root."""
    for source, name in BESIDE.items():
        files.append(File.generated(config, name, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite a page's links from places in the repository to places in the site."""
    named = {name: source for source, name in BESIDE.items()}
    here = page.file.src_uri
    source = named.get(here, f"docs/{here}")

    def link(matched: re.Match[str]) -> str:
        image, text, target, anchor = matched.groups()
        if "://" in target or target.startswith("mailto:"):
            return matched.group()
        location = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        name = BESIDE.get(location, location.removeprefix("docs/") if location.startswith("docs/") else None)
        if name is None or not files.get_file_from_path(name):
            return matched.group() if image or not (ROOT / location).exists() else _in_code(text, location)
        return f"{image}[{text}]({posixpath.relpath(name, posixpath.dirname(here) or '.')}{anchor or ''})"

    return LINK.sub(link, markdown)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that would fetch something from elsewhere."""
    if match := FETCHED.search(output):
        raise PluginError(f"{page.file.src_uri} fetches from elsewhere: {match.group()}")
    return output


def _in_code(text: str, place: str) -> str:
    """What stands for a link to a file that is no page."""
    return f"`{place}`" if text.strip("`") == place else f"{text} (`{place}`)"


def _expanded(entry: Any) -> Any:
    if isinstance(entry, list):
        return [one for part in entry for one in (_pages(part) if _is_folder(part) else [_expanded(part)])]
    if isinstance(entry, dict):
        return {title: _pages(part) if _is_folder(part) else _expanded(part) for title, part in entry.items()}
    return entry


def _is_folder(entry: Any) -> bool:
    return isinstance(entry, str) and entry.endswith("/")


def _pages(folder: str) -> list[str]:
    return sorted(page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs" / folder).rglob("*.md"))
