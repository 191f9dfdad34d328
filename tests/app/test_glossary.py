"""The glossary of features: what shows each, who chooses it, and what is never shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy.orm import Session

from mezoroi.app import gallery
from mezoroi.app.glossary import FeatureEntry, outline_of, square
from mezoroi.app.roles import Role
from mezoroi.app.store import calibration, features, practice
from mezoroi.app.tables import Fruit, Run, User, now
from mezoroi.app.tables_learning import FeaturePicture, Specimen
from mezoroi.capture.outline import outline_features
from mezoroi.standard import GradingStandard
from tests.app.conftest import App
from tests.app.learning import prepare, send_fruits

ENGLISH = {"accept-language": "en"}


def glossary(app: App, language: str = "en") -> dict[str, FeatureEntry]:
    with app.services.database.read() as session:
        view = gallery.gallery(session, language, app.services.blobs)
    return {entry.key: entry for entry in view.features}


def specimen_of(app: App, grade: str, place: int = 0) -> int:
    with app.services.database.read() as session:
        found = session.query(Specimen).filter_by(grade=grade).order_by(Specimen.id).all()
    return found[place].id


def change_outlines(session: Session, change: Callable[[Specimen], dict[str, float]]) -> None:
    for item in session.query(Specimen):
        item.result = {**item.result, "outline": {**item.result["outline"], **change(item)}}


def dispute(session: Session, specimen_id: int, grade: str) -> None:
    """An expert gives a fruit another grade in a session that is over."""
    opened = calibration.open_session(session, "", "hand", 1, 1, [specimen_id], [])
    expert = session.query(User).filter_by(name=Role.EXPERT.value).one()
    (fruit,) = calibration.fruits_of(session, opened.id)
    calibration.give_grade(session, opened, fruit, expert.id, grade, 0, "")
    opened.revealed_at = now()


def choose(client: TestClient, key: str, specimen_id: int, place: str = "") -> int:
    form = {"specimen_id": str(specimen_id), "place": place}
    return client.post(f"/standard/features/{key}", data=form).status_code


def test_outlines_are_shown_by_their_measurements(ready: App) -> None:
    flat, tall, bumped = (specimen_of(ready, "C", place) for place in range(3))
    ratios, bumps = {flat: 0.8, tall: 1.25}, {bumped: 0.01}

    def change(item: Specimen) -> dict[str, float]:
        ratio = ratios.get(item.id, 1.0 + item.id % 7 / 1000)
        roundness = 0.9 if item.grade == "C" else 0.99 - item.id / 10_000
        return {
            "height_width": ratio,
            "roundness": roundness,
            "bumpiness": bumps.get(item.id, 0.001),
        }

    with ready.services.database.write() as session:
        change_outlines(session, change)
        true = min(item.id for item in session.query(Specimen).filter_by(grade="A"))
        results = {item.id: item.result for item in session.query(Specimen)}
    found = glossary(ready)
    expected = {"flattened": flat, "elongated": tall, "bumped": bumped, "shape-true": true}
    for key, number in expected.items():
        outline = found[key].outline
        assert outline is not None and found[key].crop is None
        assert outline.fruit.surface == results[number]["pictures"]["surface"], key
    assert {key for key, entry in found.items() if entry.on_outline} == set(expected)
    assert [entry.grade for entry in found.values()] == list("AABCCCDDDD")
    with ready.services.database.write() as session:
        ratios[tall] = 1.003
        change_outlines(session, change)
    assert glossary(ready)["elongated"].outline is None, "no fruit is"


def test_the_page_says_words_alone_until_a_fruit_is_chosen(ready: App) -> None:
    for role, language in ((Role.NEWCOMER, "ja"), (Role.EXPERT, "en")):
        page = ready.client(role).get("/practice/gallery", headers={"accept-language": language})
        listed = page.text.split('class="features"')[1].split("</dl>")[0]
        assert "<image" not in listed, "no place of a map stands for a feature"
        for _, feature in GradingStandard.melon().features:
            part = listed.split(f'id="feature-{feature.key}"')[1].split("</div>")[0]
            assert feature.word[language] in part and feature.line[language] in part
            assert ("/standard/features/" in part) == (role is Role.EXPERT)
        assert ("What Mezoroi looks at for grade D" in page.text) == (language == "en")


def test_an_expert_shows_a_feature_on_a_place_of_a_fruit(ready: App) -> None:
    expert, number = ready.client(Role.EXPERT), specimen_of(ready, "D")
    page = expert.get("/standard/features/scar", headers=ENGLISH).text
    assert "Picture of: Scar" in page and f"/standard/features/scar/fruits/{number}" in page
    page = expert.get(f"/standard/features/scar/fruits/{number}", headers=ENGLISH).text
    places = re.findall(r'name="place" value="([^"]+)"', page)
    assert len(places) == 32, "a panorama is 8 x 4 places"
    reply = expert.post(
        "/standard/features/scar", data={"specimen_id": str(number), "place": places[9]}
    )
    assert reply.headers["location"] == "/practice/gallery#feature-scar"
    with ready.services.database.read() as session:
        surface = session.get_one(Specimen, number).result["pictures"]["surface"]
    entry = glossary(ready)["scar"]
    assert entry.surface == surface and entry.crop is not None
    left, top, side, _ = entry.crop
    middle = ((left + side / 2) / surface["width"], (top + side / 2) / surface["height"])
    assert middle == pytest.approx((1.5 / 8, 1.5 / 4), abs=0.05)
    page = ready.client(Role.NEWCOMER).get("/practice/gallery").text
    listed = page.split('class="features"')[1].split("</dl>")[0]
    assert listed.count("<image") == 1 and f'viewBox="{left} {top} {side} {side}"' in listed
    assert choose(expert, "scar", specimen_of(ready, "D", 1), places[0]) == 303, "another"
    assert glossary(ready)["scar"].surface != surface
    assert expert.post("/standard/features/scar/remove").status_code == 303
    assert glossary(ready)["scar"].crop is None


def test_an_experts_outline_comes_before_the_measured_one(ready: App) -> None:
    expert = ready.client(Role.EXPERT)
    with ready.services.database.write() as session:
        change_outlines(session, lambda item: {"height_width": 1 + item.id / 1000})
        ids = [item.id for item in session.query(Specimen).filter_by(grade="C")]
        surfaces = {item.id: item.result["pictures"]["surface"] for item in session.query(Specimen)}
    page = expert.get("/standard/features/elongated", headers=ENGLISH).text
    listed = re.findall(r"/standard/features/elongated/fruits/(\d+)", page)
    assert [int(number) for number in listed] == sorted(ids, reverse=True), "the longest first"
    page = expert.get(f"/standard/features/elongated/fruits/{min(ids)}", headers=ENGLISH).text
    assert "Take this fruit" in page and 'name="place"' not in page
    assert choose(expert, "elongated", min(ids)) == 303
    outline = glossary(ready)["elongated"].outline
    assert outline is not None and outline.fruit.surface == surfaces[min(ids)]


def test_only_experts_choose(ready: App) -> None:
    number = specimen_of(ready, "D")
    for role in (None, Role.NEWCOMER):
        assert choose(ready.client(role), "scar", number, "0.5 0.5") in (303, 403)
        with ready.services.database.read() as session:
            assert session.query(FeaturePicture).all() == []
    expert = ready.client(Role.EXPERT)
    assert choose(expert, "no-such", number, "0.5 0.5") == 404
    assert choose(expert, "scar", 10**6, "0.5 0.5") == 404
    for place in ("", "2 0.5", "0.5", "a b", "0.5 0.5 0.5 0.5", "1.5 0.5"):
        assert choose(expert, "scar", number, place) == 422, place


def test_no_fruit_that_is_asked_for_or_disputed_is_shown(ready: App) -> None:
    expert = ready.client(Role.EXPERT)
    tested, waiting, disputed = (specimen_of(ready, "D", place) for place in range(3))
    keys = {"scar": tested, "stain": waiting, "black-mould": disputed}
    for key, number in keys.items():
        assert choose(expert, key, number, "0.5 0.5") == 303
    flat = specimen_of(ready, "C")
    assert choose(expert, "flattened", flat) == 303
    assert all(glossary(ready)[key].crop is not None for key in keys)
    with ready.services.database.write() as session:
        practice.keep_tests(session, {"pre-test": [(tested, "D"), (flat, "C")]})
        calibration.open_session(session, "", "hand", 1, 1, [waiting], [])
        dispute(session, disputed, "B")
        names = {
            session.get_one(Specimen, number).result["pictures"]["surface"]["name"]
            for number in (*keys.values(), flat)
        }
    found = glossary(ready)
    for key in keys:
        assert found[key].crop is None and found[key].surface is None and found[key].is_withheld
    assert found["flattened"].is_withheld
    page = ready.client(Role.NEWCOMER).get("/practice/gallery", headers=ENGLISH).text
    assert not [name for name in names if name in page]
    assert "may not be shown now" not in page
    assert "may not be shown now" in expert.get("/practice/gallery", headers=ENGLISH).text
    offered = expert.get("/standard/features/scar").text
    for number in keys.values():
        assert f"/fruits/{number}" not in offered
        place = expert.get(f"/standard/features/scar/fruits/{number}", headers=ENGLISH).text
        assert "may not be shown here" in place and 'name="place"' not in place
        assert choose(expert, "scar", number, "0.5 0.5") == 422


def test_a_fruit_whose_grade_speaks_against_a_feature_does_not_show_it(ready: App) -> None:
    expert, number = ready.client(Role.EXPERT), specimen_of(ready, "D")
    assert choose(expert, "scar", number, "0.5 0.5") == 303
    assert choose(expert, "net-disordered", number, "0.5 0.5") == 303, "a D may have any"
    with ready.services.database.write() as session:
        session.get_one(Specimen, number).consensus = "B"
    assert glossary(ready)["scar"].is_withheld, "a scar makes a D"
    assert glossary(ready)["net-disordered"].crop is not None
    assert choose(expert, "scar", number, "0.5 0.5") == 422


def test_no_measured_outline_is_that_of_a_test_fruit(ready: App) -> None:
    flat = specimen_of(ready, "C")
    with ready.services.database.write() as session:
        change_outlines(session, lambda item: {"height_width": 0.5 if item.id == flat else 1.0})
        surface = session.get_one(Specimen, flat).result["pictures"]["surface"]
    outline = glossary(ready)["flattened"].outline
    assert outline is not None and outline.fruit.surface == surface
    with ready.services.database.write() as session:
        practice.keep_tests(session, {"pre-test": [(flat, "C")]})
    assert glossary(ready)["flattened"].outline is None


def test_a_fruit_that_is_gone_leaves_the_words(ready: App) -> None:
    expert, number = ready.client(Role.EXPERT), specimen_of(ready, "D")
    assert choose(expert, "scar", number, "0.5 0.5") == 303
    with ready.services.database.write() as session:
        session.get_one(Specimen, number).retired = True  # its reference was removed
    assert glossary(ready)["scar"].crop is None
    for role in (Role.NEWCOMER, Role.EXPERT):
        assert ready.client(role).get("/practice/gallery").status_code == 200
    assert choose(expert, "scar", specimen_of(ready, "D", 1), "0.5 0.5") == 303
    assert glossary(ready)["scar"].crop is not None


def test_a_fruit_that_was_sent_is_chosen_on_its_page_where_it_was_painted(
    ready: App, melons: Path
) -> None:
    expert = ready.client(Role.EXPERT)
    with ready.services.database.write() as session:
        for user in session.query(User):
            user.blind = False
    (fruit_id,) = send_fruits(ready, expert, sorted(melons.glob("captures/*/surface.png"))[:1])
    prepare(ready)
    form = {"grading_id": "1", "answer": "wrong", "own_grade": "D"}
    assert expert.post(f"/fruits/{fruit_id}/verdict", data=form).status_code == 303
    page = expert.get(f"/fruits/{fruit_id}", headers=ENGLISH).text
    address = next(iter(re.findall(r'"(/standard/features/scar/fruits/\d+)"', page)))
    assert address not in ready.client(Role.NEWCOMER).get(f"/fruits/{fruit_id}").text
    assert "painted place" not in expert.get(address, headers=ENGLISH).text
    wide = 128
    runs = [pixel for row in range(10, 30) for pixel in (row * wide + 90, 20)]
    painted = {"grading_id": 1, "masks": {"D": [5, 2, *runs]}}
    assert expert.post(f"/fruits/{fruit_id}/mask", json=painted).status_code == 200
    page = expert.get(address, headers=ENGLISH).text
    place = re.findall(r'name="place" value="([^"]+)">Take the painted place', page)
    assert len(place) == 1
    x, y, side = map(float, place[0].split())
    assert (x, y) == pytest.approx((100 / 128, 20 / 64), abs=0.01) and side == 0.45
    assert choose(expert, "scar", int(address.rsplit("/", 1)[1]), place[0]) == 303
    assert glossary(ready)["scar"].crop is not None


def test_who_grades_blind_is_told_no_grade_by_the_choice(ready: App, melons: Path) -> None:
    expert, admin = ready.client(Role.EXPERT), ready.client(Role.ADMIN)
    with ready.services.database.write() as session:
        for user in session.query(User):
            user.blind = user.name == Role.EXPERT.value
    send_fruits(ready, admin, sorted(melons.glob("captures/*/surface.png"))[:1])
    prepare(ready)
    admin.post("/fruits/1/verdict", data={"grading_id": "1", "answer": "wrong", "own_grade": "D"})
    with ready.services.database.read() as session:
        number = session.query(Specimen).filter_by(fruit_id=1).one().id
    address = f"/standard/features/scar/fruits/{number}"
    assert address in admin.get("/standard/features/scar").text
    assert address not in expert.get("/standard/features/scar").text
    assert choose(expert, "scar", number, "0.5 0.5") == 422


def test_a_standard_without_features_has_no_glossary(ready: App) -> None:
    with ready.services.database.write() as session:
        standard = session.query(Run).one().standard
        bare = GradingStandard.from_dict(standard.content).without_features()
        standard.content = bare.to_dict()
    page = ready.client(Role.EXPERT).get("/practice/gallery", headers=ENGLISH)
    assert page.status_code == 200 and 'class="features"' not in page.text
    assert "What Mezoroi looks at" in page.text and bare.descriptions["D"].description["en"] in (
        page.text
    )
    assert ready.client(Role.EXPERT).get("/standard/features/scar").status_code == 404


def test_a_feature_that_an_outline_showed_no_more_has_words_alone(ready: App) -> None:
    """A picture chosen for its outline has no place on the surface."""
    number = specimen_of(ready, "D")
    with ready.services.database.write() as session:
        features.choose_picture(session, "scar", number, 1, {})
    entry = glossary(ready)["scar"]
    assert entry.crop is None and entry.is_withheld
    for role in (Role.NEWCOMER, Role.EXPERT):
        assert ready.client(role).get("/practice/gallery").status_code == 200


def test_two_first_choices_at_once_are_no_error(
    either: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    with either.services.database.write() as session:
        for name in ("one", "two"):
            session.add(Specimen(name=name, reference=name, grade="D"))
        session.flush()
        ids = [item.id for item in session.query(Specimen).order_by(Specimen.id)]
        features.choose_picture(session, "scar", ids[0], 1, {"x": 0.5, "y": 0.5})
    # The other request had not ended when this one looked.
    with either.services.database.write() as session, monkeypatch.context() as patch:
        get, looks = type(session).get, iter([True])
        patch.setattr(
            type(session), "get", lambda *a, **k: None if next(looks, False) else get(*a, **k)
        )
        features.choose_picture(session, "scar", ids[1], 1, {"x": 0.25, "y": 0.5})
    with either.services.database.read() as session:
        (found,) = features.chosen_pictures(session).values()
        assert (found.specimen_id, found.place["x"]) == (ids[1], 0.25)


def test_a_fruit_that_could_not_be_prepared_has_no_picture_to_choose(either: App) -> None:
    with either.services.database.write() as session:
        run = session.query(Run).filter_by(active=True).one()
        fruit = Fruit(content="c" * 64, media="image/png", name="a.png", size=1, uploader_id=1)
        session.add(fruit)
        session.flush()
        made = {"name": f"fruit-{fruit.id}", "fruit_id": fruit.id, "run_id": run.id}
        session.add(Specimen(**made, trouble="no picture"))
        session.flush()
        assert features.specimen_of(session, fruit.id) is None


def test_other_words_for_the_grades_keep_features_and_pictures(ready: App) -> None:
    assert choose(ready.client(Role.EXPERT), "scar", specimen_of(ready, "D"), "0.5 0.5") == 303
    admin = ready.client(Role.ADMIN)
    assert admin.post("/admin/standard", data={"title-0-en": "Finest"}).status_code == 303
    assert len(glossary(ready)) == 10 and glossary(ready)["scar"].crop is not None
    assert "black mould" in admin.get("/standard", headers=ENGLISH).text.lower()


def test_measurements_are_found_in_either_database(either: App) -> None:
    around = {"mean": [1.0], "low": [1.0], "high": [1.0]}
    results: list[dict[str, object]] = [
        {"outline": {"solidity": 0.5}, "silhouette": None},
        {"outline": {"solidity": 0.75}, "silhouette": around},
        {"outline": {"bumpiness": 0.1}, "silhouette": around},
        {"outline": None, "silhouette": None},
        {},
    ]
    with either.services.database.write() as session:
        for number, result in enumerate(results, start=1):
            session.add(Specimen(name=f"m{number}", result=result))
        session.flush()
        ids = {item.name: item.id for item in session.query(Specimen)}
        assert features.measured(session, "solidity", filmed=False) == {
            ids["m1"]: 0.5,
            ids["m2"]: 0.75,
        }
        assert features.measured(session, "solidity", filmed=True) == {ids["m2"]: 0.75}
        assert features.measured(session, "height", filmed=True) == {}


def test_a_square_stays_inside_the_picture() -> None:
    surface = {"width": 200, "height": 100}
    assert square(surface, {"x": 0.5, "y": 0.5}) == (78, 28, 45, 45)
    assert square(surface, {"x": 0.0, "y": 1.0}) == (0, 55, 45, 45)
    assert square(surface, {"x": 1.0, "y": 0.0, "side": 1.0}) == (100, 0, 100, 100)


def test_a_bump_is_drawn_about_as_large_as_it_was_measured(ready: App) -> None:
    with ready.services.database.read() as session:
        specimen = session.get_one(Specimen, specimen_of(ready, "C"))
        outline = {**specimen.result["outline"], "bumpiness": 0.006}
        outline["bumpiness_variation"] = 0.002  # in the views that show it most 0.01
        specimen.result = {**specimen.result, "outline": outline, "silhouette": None}
        drawn = outline_of(specimen, "bumpiness", turns=True)
        assert drawn is not None and drawn.fruit.is_bumped
        assert outline_of(specimen, "solidity", turns=True) is None, "an ellipse says nothing of it"
        around = [1.0] * 90
        filmed = {"mean": around, "low": around, "high": [1.2, *around[1:]]}
        specimen.result = {**specimen.result, "silhouette": filmed}
        widest = outline_of(specimen, "bumpiness", turns=True)
        assert widest is not None and widest.is_widest and not widest.fruit.is_bumped
        session.rollback()
    points = re.findall(r"(-?[\d.]+) (-?[\d.]+)", (drawn.fruit.silhouette or {})["mean"])
    polygon = np.array(points, dtype=float) * (1, -1)
    assert outline_features([polygon])["bumpiness"] == pytest.approx(0.01, rel=0.3)
    assert "1.200" in (widest.fruit.silhouette or {})["mean"]
