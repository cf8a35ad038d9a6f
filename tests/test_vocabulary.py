"""Names in the code that had to be decoded do not come back."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

RENAMED = {
    "Away": "Unreachable",
    "Breaker": "CircuitBreaker",
    "Companion": "SourceStream",
    "Differing": "FieldDifference",
    "EvaluateConfig": "EvaluateModelConfig",
    "EvaluationConfig": "ScoringConfig",
    "FLOORS": "LAYERS",
    "Find": "RecipeResolver",
    "Home": "StateDir",
    "InferenceConfig": "SegmentInferenceConfig",
    "KeptTracker": "BufferedTracker",
    "LOOKS": "is_intact",
    "Locate": "ModelLoader",
    "MOST_PIXELS": "PIXEL_LIMIT",
    "MaskedAnswers": "RedactSecrets",
    "MetricPair": "MetricComparison",
    "ModelPlace": "ModelLookup",
    "Pairs": "ScoreComparison",
    "Parts": "TrainingComponents",
    "PredictConfig": "SegmentPredictConfig",
    "PredictionConfig": "ImagePredictConfig",
    "Recent": "ResponseCache",
    "Subject": "EvaluationTarget",
    "Unfit": "UnsuitableFileError",
    "Unreadable": "ParseError",
    "alongside": "overlap_io",
    "born": "create_time",
    "held_against": "extra_check",
    "hurried": "short_timeouts",
    "in_clear": "sends_password_unencrypted",
    "intact": "is_intact",
    "lies_as_stored": "is_in_stored_frame",
    "masks_in": "find_masks",
    "over_model": "target_configs",
    "override_place": "override_location",
    "pinned_versions": "leased_versions",
    "process_marks": "process_identity",
    "refuse_absent": "require_folder",
    "refuse_missing": "require_images",
    "same_labels": "constant_labels_fault",
    "secrecy": "redaction",
    "served_from": "global_uris",
    "settle_children": "reconcile_children",
    "show_login": "uri_with_login",
    "side_by_side": "compare_scores",
    "spare_loopback": "bypass_proxies_for_loopback",
    "tidy": "cleanup",
    "untold": "default_tracking",
}
"""Former names, and the present ones. Texts may use the words; identifiers may not."""
VAGUE = {"at_all": "the condition", "found": "result", "looked": "what is shown", "made": "outputs", "told": "status"}
"""Names that `attn`, `jobs` and `services` do not use, and what a name says instead."""


def identifiers(name: str, text: str) -> set[str]:
    """Names of a file's modules, definitions, arguments, attributes and variables."""
    results: set[str] = set(Path(name).with_suffix("").parts)
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=one) | ast.Attribute(attr=one) | ast.arg(arg=one) | ast.keyword(arg=str(one)):
                results.add(one)
            case ast.FunctionDef(name=one) | ast.AsyncFunctionDef(name=one) | ast.ClassDef(name=one):
                results.add(one)
            case ast.alias(name=one, asname=asname):
                results |= {*one.split("."), asname or one}
            case _:
                pass
    return results


def test_former_names_do_not_come_back(repository: Path) -> None:
    pattern = re.compile(rf"\b(?:{'|'.join(RENAMED)})\b")
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=repository, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        path = repository / name
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if pattern.search(name) or pattern.search(text):
            old = identifiers(name, text) & RENAMED.keys()
            assert not old, f"{name}: " + ", ".join(f"{word} is now {RENAMED[word]}" for word in sorted(old))
        if not name.startswith(("tests/", "benchmarks/", "docs/")) and re.search(rf"\b(?:{'|'.join(VAGUE)})\b", text):
            vague = identifiers(name, text) & VAGUE.keys()
            assert not vague, f"{name}: " + ", ".join(f"{word}: name {VAGUE[word]}" for word in sorted(vague))


def test_pages_name_no_former_name(repository: Path) -> None:
    pattern = re.compile(rf"`(?:{'|'.join(RENAMED)})`")
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=repository, capture_output=True, text=True, check=True)
    for name in listed.stdout.splitlines():
        former = pattern.findall((repository / name).read_text(encoding="utf-8")) if name != "CHANGELOG.md" else []
        assert not former, f"{name}: {', '.join(former)}"
