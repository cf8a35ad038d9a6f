"""What a map store holds, for the command line and the pages."""

from __future__ import annotations

__all__ = ["describe_store"]

from typing import Any

from attn.store import MapStore


def describe_store(store: MapStore) -> dict[str, Any]:
    """What a store holds, and its versions, as JSON values.

    Raises:
        DamagedError: A record of it is missing or damaged.
    """
    definition = store.definition
    heads = {run: store.head(run) for run in store.runs}
    newest = {run: store.newest(run).version for run in heads}
    tags = store.tags
    versions: list[dict[str, Any]] = []
    for manifest, live in store.history():
        versions.append(
            {
                "version": manifest.version,
                "run": manifest.run,
                "parent": manifest.parent,
                "epoch": manifest.epoch,
                "session": manifest.fence,
                "created": manifest.created,
                "accepted": manifest.accepted,
                "fallback": manifest.fallback,
                "coverage": manifest.accepted / definition.rows,
                "pending": sum(ref.rows for ref in manifest.pending),
                "merged": manifest.merged,
                "bytes": manifest.size,
                "live": live,
                "tentative": live and manifest.tentative and manifest.version > newest.get(manifest.run, 0),
                "heads": [_head(run, manifest.run) for run, head in heads.items() if head == manifest.version],
                "tags": [name for name, version in tags.items() if version == manifest.version],
                "about": manifest.with_mark(manifest.metadata, tentative=False),
            }
        )
    return {
        "uri": store.uri,
        "rows": definition.rows,
        "images": definition.images,
        "grid": list(definition.grid),
        "fusion": definition.fusion,
        "format": definition.format,
        "writable": definition.is_writable,
        "classes": list(definition.classes),
        "fingerprint": definition.fingerprint,
        "rows_per_shard": definition.rows_per_shard,
        "versions": versions,
    }


def _head(run: str, of_run: str) -> str:
    return "head" if run == of_run else f"head of {run}"
