"""Choosing the fruit on which newcomers are shown a feature of the standard."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Path, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy.orm import Session

from mezoroi.app import feature_choice, teaching
from mezoroi.app.access import Expert
from mezoroi.app.glossary import outline_of
from mezoroi.app.ids import FormId, Id
from mezoroi.app.pages import language_of
from mezoroi.app.problems import Refusal
from mezoroi.app.services import Here
from mezoroi.app.store import audit, features, runs, specimens
from mezoroi.app.tables_learning import Specimen
from mezoroi.standard import GradingStandard
from mezoroi.standard_features import Feature

router = APIRouter(include_in_schema=False)
Key = Annotated[str, Path(max_length=48)]
_NUMBER = r"(0(\.\d{1,6})?|1(\.0{1,6})?)"
Place = Annotated[str, Form(pattern=rf"^({_NUMBER} {_NUMBER}( {_NUMBER})?)?$", max_length=32)]


@router.get("/standard/features/{key}")
def choice_page(request: Request, key: Key, user: Expert, here: Here) -> Response:
    """Fruits that may show a feature, and the one that does."""
    with here.database.read() as session:
        standard, grade, feature = _named(session, key)
        choices = feature_choice.choices(session, user, standard, key)
        is_chosen = key in features.chosen_pictures(session)
    return here.pages.render(
        request,
        "references/feature.html",
        feature=feature,
        word=feature.word_in(language_of(request)),
        grade=grade,
        grades=standard.grades,
        choices=choices,
        is_chosen=is_chosen,
    )


@router.get("/standard/features/{key}/fruits/{specimen_id}")
def place_page(request: Request, key: Key, specimen_id: Id, user: Expert, here: Here) -> Response:
    """One fruit: where on it the feature is."""
    with here.database.read() as session:
        standard, grade, feature = _named(session, key)
        specimen = _specimen(session, specimen_id)
        may_be_shown = feature_choice.may_choose(session, user, standard, grade, specimen)
        painted, outline = None, None
        if may_be_shown and feature.shown_by is None:
            painted = feature_choice.painted_place(session, here.blobs, specimen, grade)
        elif may_be_shown and feature.shown_by is not None:
            turns = teaching.pictures_turn(session)
            outline = outline_of(specimen, feature.shown_by.measure, turns)
    surface = specimen.result["pictures"]["surface"] if may_be_shown else None
    return here.pages.render(
        request,
        "references/feature_place.html",
        feature=feature,
        word=feature.word_in(language_of(request)),
        grade=grade,
        grades=standard.grades,
        specimen=specimen,
        may_be_shown=may_be_shown,
        surface=surface,
        cells=feature_choice.cells_of(surface) if surface and feature.shown_by is None else [],
        painted=painted,
        outline=outline,
    )


@router.post("/standard/features/{key}")
def choose(
    key: Key,
    user: Expert,
    here: Here,
    specimen_id: FormId,
    place: Place = "",
) -> Response:
    """Show the feature on this fruit.

    Parameters
    ----------
    place : on the surface, ``x y`` or ``x y side`` as in `FeaturePicture`
    """
    with here.database.write() as session:
        standard, grade, feature = _named(session, key)
        specimen = _specimen(session, specimen_id)
        if not feature_choice.may_choose(session, user, standard, grade, specimen):
            raise Refusal("not to be shown")
        if feature.shown_by is None and not place:
            raise HTTPException(422)
        if feature.shown_by is not None:
            place = ""
            if outline_of(specimen, feature.shown_by.measure, turns=False) is None:
                raise Refusal("not to be shown")
        where = dict(zip(("x", "y", "side"), map(float, place.split()), strict=False))
        features.choose_picture(session, key, specimen.id, user.id, where)
        audit.record(session, user, "feature shown", key)
    return RedirectResponse(f"/practice/gallery#feature-{key}", 303)


@router.post("/standard/features/{key}/remove")
def remove(key: Key, user: Expert, here: Here) -> Response:
    """Show the feature as before anybody chose a fruit."""
    with here.database.write() as session:
        _named(session, key)
        features.take_back(session, key)
        audit.record(session, user, "feature shown", key)
    return RedirectResponse(f"/standard/features/{key}", 303)


def _named(session: Session, key: str) -> tuple[GradingStandard, str, Feature]:
    """The standard in use, and the grade and feature of a key."""
    run = runs.active_run(session)
    if run is None:
        raise HTTPException(404)
    standard = GradingStandard.from_dict(run.standard.content)
    named = feature_choice.find_feature(standard, key)
    if named is None:
        raise HTTPException(404)
    return standard, *named


def _specimen(session: Session, specimen_id: int) -> Specimen:
    found = specimens.get_specimen(session, specimen_id)
    if found is None or not found.result:
        raise HTTPException(404)
    return found
