"""The pages of maps: the images of a class, best or worst first, and one image large."""

from __future__ import annotations

__all__ = ["map_routes"]

import time
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from attn.errors import AttnError
from services.pages.caching import cached
from services.pages.map_view import Collection, ImageView, MapIndex
from services.pages.ranking import Rankings
from services.pages.run_list import RunCatalog
from services.pages.site import Site
from services.pages.workers import Call

READ = "services.pages.read_maps:"
PAGE = 24
KNOWN_SECONDS = 10.0
PHOTO_SECONDS, MAP_SECONDS = 600, 86_400
"""How long browsers keep an image, and a map, whose store and version never change."""
PARTS = ("truth", "saliency", "cue", "mask")

ClassIndex = Annotated[int, Query(alias="class", ge=0, lt=2**31)]
Place = Annotated[int, Query(ge=0, lt=1000)]
VersionNumber = Annotated[int, Query(ge=0, lt=2**53)]


class _Maps:
    """The stores of runs, which are looked up again after some seconds: a training writes new versions."""

    def __init__(self, site: Site, call: Call) -> None:
        self.site, self.call = site, call
        self._collections: dict[str, tuple[float, list[Collection]]] = {}
        self._indices: dict[Collection, tuple[float, MapIndex]] = {}

    async def collections(self, name: str) -> list[Collection]:
        """The stores of a run, or the one that was given by its location.

        Raises:
            HTTPException: There are none.
        """
        if name in self.site.stores:
            reading = partial(self.call, f"{READ}collection_at", self.site.stores[name])
        else:
            reading = partial(self.call, f"{READ}collections_of", self.site.root, name)
        known = self._collections.get(name)
        if known is None or time.monotonic() - known[0] > KNOWN_SECONDS:
            if name not in self.site.stores:
                await run_in_threadpool(self.site.folder, name)
            known = time.monotonic(), await reading()
            self._collections[name] = known
        if not known[1]:
            raise HTTPException(404, f"run {name!r} has no map store")
        return known[1]

    async def collection(self, name: str, place: int) -> Collection:
        """One of them."""
        collections = await self.collections(name)
        if place >= len(collections):
            raise HTTPException(404, f"{name!r} has {len(collections)} map stores")
        return collections[place]

    async def index(self, collection: Collection) -> MapIndex:
        """What a store holds."""
        known = self._indices.get(collection)
        if known is None or time.monotonic() - known[0] > KNOWN_SECONDS:
            known = time.monotonic(), await self.call(f"{READ}describe", collection)
            self._indices[collection] = known
        return known[1]


def map_routes(site: Site, catalog: RunCatalog, call: Call) -> APIRouter:
    """Create the routes of the pages of maps. `name` is a run, or a store that the site has by this name."""
    router, maps, rankings = APIRouter(include_in_schema=False), _Maps(site, call), Rankings(call)

    @router.get("/view/maps/{name}")
    async def grid(
        request: Request,
        name: str,
        store: Place = 0,
        class_index: Annotated[int | None, Query(alias="class", ge=0, lt=2**31)] = None,
        version: VersionNumber = 0,
        order: str = "worst",
        threshold: Annotated[float, Query(ge=0, le=1)] = 0.3,
        page: Annotated[int, Query(ge=0, lt=2**31)] = 0,
    ) -> HTMLResponse:
        collections = await maps.collections(name)
        collection = await maps.collection(name, store)
        index = await maps.index(collection)
        class_index = class_index if class_index in index.classes else next(iter(index.classes), 0)
        version = _version(index, version)
        ranking = rankings.get(collection, version, class_index, index.images.get(class_index, 0))
        images = ranking.ordered(threshold, worst_first=order != "best")
        progress = {"ranked": len(images), "whole": ranking.whole, "complete": ranking.is_complete}
        return await run_in_threadpool(
            site.render,
            request,
            "maps.html",
            name=name,
            store=store,
            collections=[one.uri for one in collections],
            identity=_short(collection),
            index=index,
            class_index=class_index,
            version=version,
            order=order,
            threshold=threshold,
            page_number=page,
            pages=-(-len(images) // PAGE),
            images=images[page * PAGE : (page + 1) * PAGE],
            ranking=progress | {"by_mask": ranking.by_mask, "error": ranking.error},
        )

    @router.get("/view/maps/{name}/image")
    async def image(
        request: Request,
        name: str,
        id: str,
        store: Place = 0,
        class_index: Annotated[int | None, Query(alias="class", ge=0, lt=2**31)] = None,
        version: VersionNumber = 0,
        order: str = "worst",
        threshold: Annotated[float, Query(ge=0, le=1)] = 0.3,
        other: str = "",
        other_store: Place = 0,
    ) -> HTMLResponse:
        collection = await maps.collection(name, store)
        index = await maps.index(collection)
        view: ImageView = await read_or_404(call(f"{READ}image_view", collection, id))
        if class_index not in view.classes:
            class_index = view.classes[0]
        version = _version(index, version)
        ranking = rankings.get(collection, version, class_index, index.images.get(class_index, 0))
        ids = [image_id for image_id, _ in ranking.ordered(threshold, worst_first=order != "best")]
        at = ids.index(id) if id in ids else None
        second: dict[str, Any] | None = None
        if other:
            there = await maps.collection(other, other_store)
            beside = await maps.index(there)
            second = {"name": other, "store": other_store, "versions": beside.versions, "identity": _short(there)}
        return await run_in_threadpool(
            site.render,
            request,
            "image.html",
            name=name,
            store=store,
            index=index,
            identity=_short(collection),
            view=view,
            class_index=class_index,
            version=version,
            order=order,
            threshold=threshold,
            before=ids[at - 1] if at else None,
            after=ids[at + 1] if at is not None and at + 1 < len(ids) else None,
            second=second,
            others=[row.id for row in catalog.rows() if row.kind in ("train", "maps", "pipeline")],
        )

    @router.get("/view/maps/{name}/map")
    async def one_map(
        request: Request,
        name: str,
        id: str,
        class_index: ClassIndex,
        version: VersionNumber = 0,
        store: Place = 0,
        of: str = "",
    ) -> Response:
        collection = await maps.collection(name, store)
        known = _version(await maps.index(collection), version)
        data = await read_or_404(call(f"{READ}map_png", collection, known, id, class_index))
        fixed = known == version and of == _short(collection)  # else another run or store may come to lie here
        return cached(request, data, "image/png", seconds=MAP_SECONDS if fixed else 0)

    @router.get("/view/maps/{name}/photo")
    async def photo(
        request: Request, name: str, id: str, side: Annotated[int, Query(ge=16, le=1024)] = 1024, store: Place = 0
    ) -> Response:
        data = await read_or_404(call(f"{READ}photo", await maps.collection(name, store), id, side))
        return cached(request, data, "image/jpeg", seconds=PHOTO_SECONDS)

    @router.get("/view/maps/{name}/part/{part}")
    async def part(request: Request, name: str, part: str, id: str, store: Place = 0) -> Response:
        if part not in PARTS:
            raise HTTPException(404, f"{part!r} is not one of {', '.join(PARTS)}")
        data = await read_or_404(call(f"{READ}part_png", await maps.collection(name, store), part, id))
        return cached(request, data, "image/png", seconds=PHOTO_SECONDS)

    return router


def _short(collection: Collection) -> str:
    """What tells stores apart in addresses: browsers keep a map under its address."""
    return collection.identity[:12]


def _version(index: MapIndex, version: int) -> int:
    """A version that there is; 0 stands for the newest."""
    known = [one.version for one in index.versions]
    return version if version in known else known[-1] if known else 0


async def read_or_404(reading: Any) -> Any:
    """What is read.

    Raises:
        HTTPException: It is not there: 404.
    """
    try:
        return await reading
    except AttnError as error:
        if error.code == "data":
            raise HTTPException(404, str(error)) from None
        raise
