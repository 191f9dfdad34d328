"""What the routes share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from mezoroi.app.background import Background
from mezoroi.app.blobs import Blobs
from mezoroi.app.database import Database
from mezoroi.app.metrics import Metrics
from mezoroi.app.pages import Pages
from mezoroi.app.settings import Settings
from mezoroi.app.supervisor import Supervisor
from mezoroi.app.told_once import ToldOnce
from mezoroi.app.training_data import TrainingData


@dataclass(frozen=True)
class Services:
    """One app's parts."""

    settings: Settings
    database: Database
    blobs: Blobs
    pages: Pages
    supervisor: Supervisor
    background: Background
    metrics: Metrics
    training: TrainingData | None
    told_once: ToldOnce = field(default_factory=ToldOnce)


def services_of(request: Request) -> Services:
    """The services of the app that answers."""
    found: Services = request.app.state.services
    return found


async def _here(request: Request) -> Services:
    """As `services_of`; FastAPI would run that in a thread, which takes longer than its answer."""
    return services_of(request)


Here = Annotated[Services, Depends(_here)]
