"""The page of a sweep: its trials, the best first, and the best one's config."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from tests.services.pages.conftest import Browser, write_run

HOSTILE = "<script>alert(1)</script>"


def test_trials_come_best_first_and_the_best_config_is_a_file(browse: Callable[..., Browser], root: Path) -> None:
    about = {"what": "gain: optimizer.lr", "data": "scenes", "trials": 3}
    folder = write_run(root, "search", kind="sweep", about=about)
    for name in ("config.yaml", "sweep.yaml"):
        (folder / name).write_text("kind: sweep\nobjective:\n  metric: val/loss\n  mode: min\n")
    (folder / "best.yaml").write_text("kind: train\n# best\n")
    for number, (rate, loss) in enumerate([(0.1, 0.9), (0.2, None), (0.3, 0.4)]):
        ended = {"metrics": {"val/loss": loss}} if loss else {"state": "failed", "error": HOSTILE}
        write_run(folder, f"search-{number:04}", number=number, values={"optimizer.lr": rate}, epoch=2, **ended)
    stopped = {"state": "stopped", "metrics": {"val/loss": 0.1}}
    write_run(folder, "search-0003", number=3, values={"optimizer.lr": 0.4}, epoch=1, **stopped)
    browser = browse("read")
    text = browser.get("/view/runs/search").text
    shown = re.findall(r'href="/view/runs/search-(\d{4})"', text)
    assert shown == ["0002", "0000", "0003", "0001"], "only what is done can be the best"
    assert "val/loss" in text
    assert HOSTILE not in text
    answer = browser.get("/view/runs/search/best.yaml")
    assert (answer.text, answer.headers["content-disposition"]) == (
        "kind: train\n# best\n",
        'attachment; filename="search-best.yaml"',
    )
    assert browser.get("/view/runs/first/best.yaml").status_code == 404
