"""The study kit: assignment, anonymised export, and the effect with its interval."""

from __future__ import annotations

import csv
import json
from collections import Counter
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.formula.api import ols

from mezoroi.cli import main
from mezoroi.errors import MezoroiError
from mezoroi.practice import study
from mezoroi.practice.study_files import effect_line, read_rows

KEY = b"0123456789abcdef"
START = datetime(2026, 7, 1, 9, 30, tzinfo=timezone.utc)


@given(st.lists(st.sampled_from(["new", "old"]), min_size=1, max_size=40), st.integers(0, 99))
def test_arms_stay_balanced_within_each_stratum(strata: list[str], seed: int) -> None:
    people = [f"P{n}" for n in range(len(strata))]
    arms = study.assign(people, ["adaptive", "random"], seed, strata)
    assert list(arms) == people
    for stratum in set(strata):
        own = [arms[p] for p, s in zip(people, strata, strict=True) if s == stratum]
        counts = Counter(own)
        assert abs(counts["adaptive"] - counts["random"]) <= 2
        assert all(own[n : n + 4].count("adaptive") == 2 for n in range(0, len(own) - 3, 4))


@given(
    st.lists(st.sampled_from("abcdef"), max_size=40),
    st.integers(0, 50),
    st.sampled_from([["adaptive", "random"], ["x", "y", "z"]]),
)
def test_arms_are_balanced_in_the_end_however_short_the_strata(
    strata: list[str], seed: int, names: list[str]
) -> None:
    people = [f"P{n}" for n in range(len(strata))]
    arms = study.assign(people, names, seed, strata)
    assert arms == study.assign(people, names, seed, strata)

    def spread(among: list[str]) -> int:
        counts = Counter(arms[person] for person in among)
        return max(counts[name] for name in names) - min(counts[name] for name in names)

    assert spread(people) <= 1
    for stratum in set(strata):
        assert spread([p for p, s in zip(people, strata, strict=True) if s == stratum]) <= 1


def test_two_of_each_stratum_are_two_of_each_arm_either_way() -> None:
    people, strata = ["P1", "P2", "P3", "P4"], ["new", "old", "old", "new"]
    drawn = [tuple(study.assign(people, "ar", seed, strata).values()) for seed in range(60)]
    assert all(Counter(arms) == {"a": 2, "r": 2} for arms in drawn)
    assert len(set(drawn)) == 4


def test_assignment_is_random_but_repeatable() -> None:
    people = [f"P{n}" for n in range(200)]
    first = study.assign(people, ["a", "b"], 1)
    assert first == study.assign(people, ["a", "b"], 1)
    same = sum(first[p] == arm for p, arm in study.assign(people, ["a", "b"], 2).items())
    assert 70 < same < 130


def test_bad_assignments_are_refused() -> None:
    with pytest.raises(MezoroiError, match="named twice"):
        study.assign(["Sato", "Sato"], ["a", "b"], 0)
    with pytest.raises(MezoroiError, match="two different arms"):
        study.assign(["Sato"], ["a", "a"], 0)


def answer(person: str, arm: str, phase: str, right: bool, minute: int, day: int = 0) -> dict:
    at = START + timedelta(days=day, minutes=minute)
    return {
        "participant": person, "arm": arm, "phase": phase, "at": at.isoformat(),
        "specimen": f"M{minute}", "truth": "A", "given": "A" if right else "B",
        "certainty": "sure", "seconds": "4.0", "remark": "told by Sato Taro",
    }  # fmt: skip


def test_an_export_names_nobody_and_no_date() -> None:
    rows = [answer("Sato Taro", "a", "pre-test", True, 5), answer("Ito", "b", "pre-test", False, 1)]
    rows.append(answer("Sato Taro", "a", "1 week", False, 0, day=7))
    trial = study.anonymise(rows, KEY)
    text = json.dumps(trial)
    assert not any(word in text for word in ("Sato", "Ito", "2026", "09:", "remark"))
    assert set(trial[0]) == set(study.TRIAL_COLUMNS)
    own = [row for row in trial if row["arm"] == "a"]
    assert len({row["participant"] for row in own}) == 1
    assert [(r["day"], r["number"], r["right"]) for r in own] == [(0, 1, 1), (7, 2, 0)]
    other = study.anonymise(rows, KEY[::-1])
    assert {r["participant"] for r in other}.isdisjoint(r["participant"] for r in trial)


def test_bad_answers_are_refused() -> None:
    row = answer("Sato", "a", "pre-test", True, 0)
    with pytest.raises(MezoroiError, match="fewer than 16 bytes"):
        study.anonymise([row], b"short")
    for time in ("yesterday", "2026-07-01T09:00:00"):
        with pytest.raises(MezoroiError, match=f"row 1: `{time}` is no time with its zone"):
            study.anonymise([row | {"at": time}], KEY)
    with pytest.raises(MezoroiError, match="no column `seconds`"):
        study.anonymise([{k: v for k, v in row.items() if k != "seconds"}], KEY)


def trial_of(scores: dict[str, tuple[str, float, float]], fruits: int = 20) -> list[dict]:
    """Rows of a trial in which each participant has a share right before and after."""
    return [
        {"participant": person, "arm": arm, "phase": phase, "right": int(n < round(share * fruits))}
        for person, (arm, before, after) in scores.items()
        for phase, share in (("pre-test", before), ("1 week", after))
        for n in range(fruits)
    ]


def test_the_effect_is_an_analysis_of_covariance() -> None:
    rng = np.random.default_rng(2)
    scores = {}
    for number in range(24):
        arm = ("random", "adaptive")[number % 2]
        before = round(rng.uniform(0.2, 0.6) * 20) / 20
        after = round((before + 0.2 + 0.1 * (arm == "adaptive") + 0.1 * rng.normal()) * 20) / 20
        scores[f"P{number}"] = (arm, before, float(np.clip(after, 0, 1)))
    (effect,) = study.analyse(trial_of(scores), "random")
    data = {
        "after": [s[2] for s in scores.values()],
        "before": [s[1] for s in scores.values()],
        "treated": [float(s[0] == "adaptive") for s in scores.values()],
    }
    fit = (
        ols("after ~ treated + before", pd.DataFrame(data))
        .fit()
        .get_robustcov_results("HC3", use_t=True)
    )
    at = fit.model.exog_names.index("treated")
    assert effect.adjusted == pytest.approx((fit.params[at], *fit.conf_int()[at]))
    assert effect.counted == {"adaptive": 12, "random": 12}
    assert "1 week: adaptive - random: +" in effect_line(effect)


def test_intervals_cover_the_true_effect() -> None:
    covered = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        treated = np.arange(20) % 2 == 0
        before = rng.normal(0.4, 0.1, 20)
        after = 0.3 + 0.8 * before + 0.1 * treated + rng.normal(0, 0.1, 20)
        (_, low, high), _ = study._covariance(after, before, treated.astype(float))
        covered.append(low <= 0.1 <= high)
    assert 0.9 < np.mean(covered) < 0.99


def test_who_missed_a_test_is_counted_not_dropped_in_silence() -> None:
    scores = {f"P{n}": (("random", "adaptive")[n % 2], 0.4, 0.6 + 0.01 * n) for n in range(12)}
    trial = [
        row
        for row in trial_of(scores)
        if not (row["participant"] == "P1" and row["phase"] == "1 week")
    ]
    (effect,) = study.analyse(trial, "random")
    assert effect.missing == {"adaptive": 1, "random": 0}
    (effect,) = study.analyse(trial, "random", assigned={"adaptive": 8, "random": 7})
    assert effect.missing == {"adaptive": 3, "random": 1}, "some never answered"
    with pytest.raises(MezoroiError, match="6 answered in the arm `random`, 5 were assigned"):
        study.analyse(trial, "random", assigned={"adaptive": 8, "random": 5})
    (_, third) = study.analyse(trial, "random", assigned={"adaptive": 6, "random": 6, "third": 5})
    assert (third.arm, third.counted["third"], third.missing["third"]) == ("third", 0, 5)
    assert third.to_dict()["difference"]["value"] is None
    assert "not enough data; third n = 0 (5 missing" in effect_line(third)
    alone = [row for row in trial if row["arm"] == "adaptive"]
    (effect,) = study.analyse(alone, "random", assigned={"adaptive": 6, "random": 6})
    assert effect.missing == {"adaptive": 1, "random": 6}
    few = [row for row in trial if row["participant"] in ("P0", "P1", "P2", "P3")]
    (effect,) = study.analyse(few, "random")
    assert effect.to_dict()["difference"]["value"] is None
    assert "not enough data" in effect_line(effect)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([0.5, 0.4, 0.6, 0.5, 0.4, 0.6], [1.0] * 6),  # all know everything: no spread to go by
        ([0.5, 0.4, 0.6, 0.5, 0.4, 0.6], [0.8] * 3 + [0.9] * 3),
        ([0.4] * 3 + [0.6] * 3, [0.5, 0.6, 0.7, 0.6, 0.7, 0.9]),  # the pre-test is the arm
        ([0.5] * 5 + [0.6], [0.5, 0.6, 0.7, 0.6, 0.7, 0.9]),  # one alone has another pre-test
    ],
)
@pytest.mark.filterwarnings("error")
def test_no_interval_is_made_up_where_people_show_no_spread(
    before: list[float], after: list[float]
) -> None:
    arms = ["random"] * 3 + ["adaptive"] * 3
    people = zip(arms, before, after, strict=True)
    scores = {f"P{number}": one for number, one in enumerate(people)}
    (effect,) = study.analyse(trial_of(scores), "random")
    assert np.isnan([*effect.adjusted, effect.p_value]).all()
    assert effect.counted == {"adaptive": 3, "random": 3}
    assert "not enough data" in effect_line(effect)


def test_who_left_a_test_unfinished_has_not_taken_it() -> None:
    # The fruits answered may be the easy ones, and those who give up are no chance sample.
    scores = {f"P{n}": (("random", "adaptive")[n % 2], 0.4, 0.4 + 0.05 * n) for n in range(8)}
    whole = trial_of(scores)
    late = [row for row in whole if row["participant"] == "P7" and row["phase"] == "1 week"]
    trial = [row for row in whole if row not in late] + late[:19]
    (effect,) = study.analyse(trial, "random")
    assert effect.counted == {"adaptive": 3, "random": 4}
    assert effect.missing == {"adaptive": 1, "random": 0}
    rest = [row for row in whole if row["participant"] != "P7"]
    assert study.analyse(rest, "random")[0].adjusted == effect.adjusted


def test_an_answer_that_is_there_twice_is_told_of() -> None:
    """Two exports in one: a test would seem twice as long, and nobody else to have taken it."""
    rows = [
        answer(f"P{n}", ("random", "adaptive")[n % 2], phase, (n + day + fruit) % 3 > 0, fruit, day)
        for n in range(8)
        for phase, day in (("pre-test", 0), ("post-test", 1))
        for fruit in range(6)
    ]
    (effect,) = study.analyse(study.anonymise(rows, KEY), "random")
    assert effect.counted == {"random": 4, "adaptive": 4}
    with pytest.raises(MezoroiError, match="rows 4 and 97 are the same answer"):
        study.anonymise([*rows, rows[3]], KEY)
    trial = study.anonymise(rows, KEY)
    with pytest.raises(MezoroiError, match=r"row 97 of the trial: .* twice in the pre-test"):
        study.analyse([*trial, trial[0]], "random")
    again = [row | {"phase": "practice"} for row in rows[:6]]  # in practice a fruit may come again
    assert study.analyse(study.anonymise([*rows, *again], KEY), "random")[0].counted
    trial = study.anonymise([*rows, *again], KEY)
    assert study.analyse([*trial, *(row for row in trial if row["phase"] == "practice")], "random")


def test_it_is_told_how_late_tests_were_taken_and_how_much_was_practised() -> None:
    rows = []
    for number, (arm, late, fruits) in enumerate(
        [("random", 1, 20), ("random", 3, 40), ("random", 9, 60), ("adaptive", 1, 10)]
    ):
        person = f"P{number}"
        rows.append(answer(person, arm, "pre-test", False, 0))
        rows += [answer(person, arm, "practice", True, n) for n in range(1, fruits + 1)]
        rows.append(answer(person, arm, "post-test", True, 0, day=2))
        rows += [answer(person, arm, "practice", True, n, day=2) for n in range(1, 6)]
        rows.append(answer(person, arm, "1 day", True, 0, day=2 + late))
    post, delayed = study.analyse(study.anonymise(rows, KEY), "random")
    assert (post.delay, delayed.delay) == (
        {"random": 2, "adaptive": 2},
        {"random": 3, "adaptive": 1},
    )
    assert post.practised == {"random": 40, "adaptive": 10}
    assert delayed.practised == {"random": 45, "adaptive": 15}
    line = effect_line(delayed)
    assert "random n = 3 (0 missing; median 3 days later, 45 fruits practised)" in line
    gone = answer("P9", "random", "pre-test", False, 0)  # began the long test late and left it
    left = [gone, gone | answer("P9", "random", "1 day", True, 0, day=99)]
    longer = [row | {"specimen": "other"} for row in rows if row["phase"] == "1 day"]
    again = study.analyse(study.anonymise([*rows, *longer, *left], KEY), "random")[-1]
    assert again.missing["random"] == 1 and again.delay == delayed.delay
    assert again.practised == delayed.practised
    with pytest.raises(MezoroiError, match="the trial is damaged"):
        study.analyse([{**row, "day": "x"} for row in study.anonymise(rows, KEY)], "random")


def test_bad_trials_are_refused() -> None:
    trial = trial_of({"P1": ("random", 0.4, 0.6)})
    with pytest.raises(MezoroiError, match="and another are needed"):
        study.analyse(trial, "random")
    with pytest.raises(MezoroiError, match="in two arms"):
        study.analyse([*trial, trial[0] | {"arm": "adaptive"}], "random")
    with pytest.raises(MezoroiError, match="right is 5: use 0 or 1"):
        study.analyse([trial[0] | {"right": "5"}], "random")
    with pytest.raises(MezoroiError, match="row 1 of the trial is damaged"):
        study.analyse([{"participant": "P1"}], "random")


def write_csv(path: Path, rows: list[dict]) -> Path:
    with path.open("w", newline="", encoding="utf-8-sig") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return path


def test_the_kit_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = write_csv(
        tmp_path / "people.csv", [{"participant": f"佐藤{n}", "years": n % 2} for n in range(16)]
    )
    arms = tmp_path / "arms.csv"

    def run(*words: object) -> str:
        with pytest.raises(SystemExit) as stop:
            main(["study", *map(str, words)])
        assert stop.value.code == 0
        return capsys.readouterr().out

    assert "adaptive 8, random 8" in run("assign", people, "-o", arms, "--stratum", "years")
    arm_of = {row["participant"]: row["arm"] for row in read_rows(arms, ("participant", "arm"))}
    rng = np.random.default_rng(0)
    answers = [
        answer(person, arm, phase, rng.random() < 0.5 + 0.3 * (phase != "pre-test"), n, day)
        for person, arm in arm_of.items()
        for phase, day in (("pre-test", 0), ("post-test", 1), ("1 week", 8))
        for n in range(12)
    ]
    exported, key = tmp_path / "trial.csv", tmp_path / "secret.key"
    source = write_csv(tmp_path / "answers.csv", answers)
    run("export", source, "-o", exported, "--key-file", key)
    assert key.stat().st_mode & 0o077 == 0
    first = exported.read_bytes()
    assert "佐藤".encode() not in first
    run("export", source, "-o", exported, "--key-file", key)
    assert exported.read_bytes() == first
    effects = json.loads(run("analyse", exported, "--json"))
    assert [effect["test"] for effect in effects] == ["post-test", "1 week"]
    assert effects[0]["counted"] == {"adaptive": 8, "random": 8}
    stayed = [row | {"certainty": ""} for row in answers if row["participant"] != "佐藤0"]
    run("export", write_csv(source, stayed), "-o", exported, "--key-file", key)
    effects = json.loads(run("analyse", exported, "--assigned", arms, "--json"))
    assert sum(effects[0]["missing"].values()) == 1


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "does not exist"),
        (b"name\nSato\n", "has no column `participant`"),
        (b"participant\n", "has no rows"),
        (b"participant,x\n ,1\n", "line 2 has no `participant`"),
        (b"participant\nSato,Ito\n", "line 2 has more cells than columns"),
        (b"participant\n\xff\n", "no UTF-8 CSV table"),
    ],
)
def test_bad_tables_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, reason: str
) -> None:
    path = tmp_path / "people.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        main(["study", "assign", str(path), "-o", str(tmp_path / "arms.csv")])
    error = capsys.readouterr().err
    assert stop.value.code == 2 and reason in error and error.count("\n") == 1


def test_an_assignment_is_drawn_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people = write_csv(tmp_path / "people.csv", [{"participant": "Sato"}])
    with pytest.raises(SystemExit):
        main(["study", "assign", str(people), "-o", str(people)])
    assert "an assignment is drawn once" in capsys.readouterr().err


def test_an_export_overwrites_neither_the_answers_nor_the_key(tmp_path: Path) -> None:
    from mezoroi.practice.study_files import export_file

    source = write_csv(tmp_path / "a.csv", [answer("Sato", "a", "pre-test", True, 0)])
    before = source.read_bytes()
    for out in (source, tmp_path / "x" / ".." / "a.csv", tmp_path / "key"):
        with pytest.raises(MezoroiError, match="would be overwritten"):
            export_file(source, out, tmp_path / "key")
    assert source.read_bytes() == before and not (tmp_path / "key").exists()


def test_a_difference_is_never_said_to_be_impossible_by_chance() -> None:
    scores = {f"P{n}": (("random", "adaptive")[n % 2], 0.4, 0.3 + 0.5 * (n % 2) + 0.05 * (n % 3))
              for n in range(24)}  # fmt: skip
    (effect,) = study.analyse(trial_of(scores), "random")
    assert 0 < effect.p_value < 0.0005
    assert "p < 0.001;" in effect_line(effect)


def test_a_spoilt_key_is_refused(tmp_path: Path) -> None:
    from mezoroi.practice.study_files import export_file

    source = write_csv(tmp_path / "a.csv", [answer("Sato", "a", "pre-test", True, 0)])
    (tmp_path / "key").write_text("not hexadecimal")
    with pytest.raises(MezoroiError, match="is no key of ours"):
        export_file(source, tmp_path / "out.csv", tmp_path / "key")
