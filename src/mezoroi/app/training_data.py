"""The dataset that the grader in use learned from, where `mezoroi serve --training` names it.

Reading it takes libraries that the web process does without, so that it is looked at in a process
of its own: ``python -m mezoroi.app.training_data``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezoroi.errors import MezoroiError
from mezoroi.standard import GradingStandard

if TYPE_CHECKING:
    from mezoroi.datasets import Dataset

_REMEDY = "give --training the dataset that it was trained with"


@dataclass(frozen=True)
class TrainingData:
    """What pages say about the dataset.

    Attributes
    ----------
    path : as `mezoroi.load_dataset` takes it
    counts : fruits by grade
    masks : observations with a mask
    """

    path: str
    counts: Mapping[str, int]
    masks: int

    @property
    def is_there(self) -> bool:
        """Whether it has not vanished since the start."""
        return Path(self.path).exists()


def load(path: Path, standard: GradingStandard, *, panoramas: bool) -> Dataset:
    """The dataset, where a grader of this standard can learn from it.

    Parameters
    ----------
    standard : of the grader in use
    panoramas : whether this grader learned from unrolled surfaces

    Raises
    ------
    MezoroiError
        If it cannot be loaded, has other grades, or holds photos where surfaces are needed.
    """
    from mezoroi.datasets import load_dataset

    dataset = load_dataset(path)
    if set(dataset.standard.grades) != set(standard.grades):
        raise MezoroiError(
            f"{path} has the grades {', '.join(dataset.standard.grades)} and the grader in use "
            f"{', '.join(standard.grades)}: {_REMEDY}"
        )
    if panoramas and not dataset.is_panorama:
        raise MezoroiError(
            f"{path} holds photos and the grader in use learned from unrolled surfaces: {_REMEDY}"
        )
    return dataset


def look(path: Path, standard: Mapping[str, Any], *, panoramas: bool) -> TrainingData:
    """What a dataset holds, read in another process; parameters and errors as of `load`.

    Parameters
    ----------
    standard : as `GradingStandard.to_dict` gives it
    """
    asked = {"path": str(path), "standard": dict(standard), "panoramas": panoramas}
    done = subprocess.run(
        [sys.executable, "-m", "mezoroi.app.training_data"],
        input=json.dumps(asked),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    try:
        said = json.loads(done.stdout)
    except ValueError as error:
        raise MezoroiError(f"{path} could not be read: see the lines above") from error
    if "error" in said:
        raise MezoroiError(said["error"])
    return TrainingData(**said)


def main() -> int:
    """Answer the question on standard input on standard output."""
    asked = json.load(sys.stdin)
    path, standard = Path(asked["path"]), GradingStandard.from_dict(asked["standard"])
    try:
        dataset = load(path, standard, panoramas=asked["panoramas"])
    except MezoroiError as error:
        print(json.dumps({"error": str(error)}))
        return 0
    fruits = {(item.grade, item.specimen) for item in dataset}
    counts = {name: sum(grade == name for grade, _ in fruits) for name in standard.grades}
    masks = sum(item.mask is not None for item in dataset)
    print(json.dumps(asdict(TrainingData(str(path), counts, masks))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
