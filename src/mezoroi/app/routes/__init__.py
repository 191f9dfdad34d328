"""The routes, a module per group of pages; a new module is listed here."""

from __future__ import annotations

from mezoroi.app.pages import NavItem
from mezoroi.app.problems import N_
from mezoroi.app.roles import Role
from mezoroi.app.routes import (
    account,
    admin,
    api,
    api_house,
    calibration,
    details,
    features,
    fruits,
    grade,
    graders,
    health,
    jobs,
    lots,
    masks,
    pictures,
    practice,
    practice_house,
    references,
    reveal,
    standard,
    tokens,
    validity,
    verdicts,
)

ROUTERS = (
    health.router,
    account.router,
    grade.router,
    verdicts.router,
    fruits.router,
    details.router,
    lots.router,
    validity.router,
    practice_house.router,
    practice.router,
    calibration.router,
    reveal.router,
    pictures.router,
    masks.router,
    references.router,
    standard.router,
    features.router,
    graders.router,
    jobs.router,
    admin.router,
    tokens.router,
    api.v1,
    api_house.router,
    api.router,
)
NAVIGATION = (
    NavItem(N_("Grade"), "/"),
    NavItem(N_("Fruits"), "/fruits", also=("/lots", "/summary")),
    NavItem(N_("Practice"), "/practice"),
    NavItem(N_("Calibration"), "/calibration", Role.EXPERT),
    NavItem(N_("References"), "/references", Role.EXPERT, also=("/standard",)),
    NavItem(N_("Validity"), "/validity", Role.EXPERT),
    NavItem(N_("Admin"), "/admin", Role.ADMIN, also=("/graders",)),
)
