"""`create_app`: the parts put together."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from anyio.to_thread import current_default_thread_limiter
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

import mezoroi
from mezoroi.app.access import Access, anyone
from mezoroi.app.answers import add_error_answers
from mezoroi.app.assets import ADDRESS, Assets, versioned_address
from mezoroi.app.background import Background
from mezoroi.app.blobs import Blobs
from mezoroi.app.database import Database, migrate
from mezoroi.app.metrics import Metrics
from mezoroi.app.middleware import Envelope, Guard
from mezoroi.app.pages import Pages
from mezoroi.app.routes import NAVIGATION, ROUTERS
from mezoroi.app.services import Services
from mezoroi.app.settings import Settings, check_run
from mezoroi.app.store import audit, house, runs, specimens
from mezoroi.app.supervisor import Supervisor
from mezoroi.app.training_data import look
from mezoroi.app.watching import Watcher

THREADS = max(4, 2 * (os.cpu_count() or 1))
"""Requests that are worked on at a time; more would only take turns, and all be as late as one."""


def create_app(settings: Settings) -> FastAPI:
    """The application; its worker starts with it.

    The tables are migrated and the run is registered; it is active if none was before, or if that
    one was in the same folder, which `app.state.is_grader_changed` then says.

    Raises
    ------
    MezoroiError
        If the run, the data folder, the database or the training data cannot be used.
    """
    check_run(settings.run)
    settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.url)
    migrate(database)
    with database.write() as session:
        is_grader_changed = runs.serve_run(session, settings.run)
        active = runs.active_run(session)
        if is_grader_changed and active is not None:
            audit.record(session, None, "grader switched", str(active.id))
        language = house.get_setting(session, house.LANGUAGE).get("default")
    training = None
    if settings.training is not None and active is not None:
        training = look(
            settings.training, active.standard.content, panoramas=active.input_kind == "surface"
        )
    metrics = Metrics()
    services = Services(
        settings=settings,
        database=database,
        blobs=Blobs(settings.data / "blobs"),
        pages=Pages(NAVIGATION),
        supervisor=Supervisor(settings, database, metrics.worker_starts.inc),
        background=Background(settings, database),
        metrics=metrics,
        training=training,
    )
    app = FastAPI(
        title="Mezoroi",
        version=mezoroi.__version__,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.services = services
    app.state.is_grader_changed = is_grader_changed
    app.state.watcher = None
    if settings.watch is not None:
        app.state.watcher = Watcher(
            settings.watch,
            settings.watch_user,
            settings,
            database,
            services.blobs,
            services.supervisor.wake,
        )
    app.state.house_language = language
    for router in ROUTERS:  # taken over one by one: FastAPI hides those of an included router
        app.router.routes.extend(router.routes)
    app.mount(versioned_address(), Assets(is_versioned=True))
    app.mount(ADDRESS, Assets(is_versioned=False))
    add_error_answers(app)
    app.add_middleware(Guard, upload_bytes=settings.limits.upload_bytes)
    app.add_middleware(Envelope, metrics=metrics)
    _check_access(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    current_default_thread_limiter().total_tokens = THREADS
    services: Services = app.state.services
    with services.database.write() as session:
        specimens.order_preparation(session)
    services.supervisor.start()
    services.background.start()
    watcher: Watcher | None = app.state.watcher
    if watcher is not None:
        watcher.start()
    yield
    if watcher is not None:
        watcher.stop()
    services.background.stop()
    services.supervisor.stop()
    services.database.close()


def _check_access(app: FastAPI) -> None:
    """No route may forget to say who may use it."""
    for route in app.routes:
        if isinstance(route, APIRoute) and not any(_accesses(route.dependant)):
            raise RuntimeError(f"{route.path} does not say who may use it: see mezoroi.app.access")


def _accesses(dependant: Dependant) -> Iterator[bool]:
    yield isinstance(dependant.call, Access) or dependant.call is anyone
    for inner in dependant.dependencies:
        yield from _accesses(inner)
