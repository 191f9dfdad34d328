"""The settings: the example, and settings that are older than this version."""

from __future__ import annotations

import re

import pytest
import yaml
from pydantic import BaseModel

from mezoroi.config import Config, example_yaml, settings_by_name
from mezoroi.errors import MezoroiError
from mezoroi.presets import make_config


def test_the_example_holds_every_default_with_a_comment() -> None:
    text = re.sub(r"^( *)# (\w+: )", r"\1\2", example_yaml(), flags=re.MULTILINE)
    assert Config.model_validate(yaml.safe_load(text)) == Config() == make_config()
    lines = [
        line for line in text.splitlines() if re.match(r" *\w+: ", line) and ":  #" not in line
    ]
    settings = sum(
        len(type(value).model_fields) if isinstance(value, BaseModel) else 1
        for _, value in Config()
    )
    assert len(lines) == settings == len(settings_by_name())
    assert all(len(line.split("  # ")[1]) > 5 for line in lines)


def test_settings_written_before_a_setting_existed_are_read() -> None:
    old = Config().model_dump()
    del old["augment"], old["parts"], old["loss"]["pairwise"]
    assert Config.model_validate(old) == Config()


def test_a_margin_that_embeddings_of_length_1_cannot_keep_is_refused() -> None:
    pairwise = ["augment=part-cutmix", "loss.pairwise=conventional"]
    wide = [*pairwise, "loss.pairwise_margin=5"]
    with pytest.raises(MezoroiError, match="at most 2 apart"):
        make_config(overrides=wide)
    raw = make_config(overrides=[*wide, "loss.pairwise_distance=raw"])
    assert raw.loss.pairwise_margin == 5
    # Left out where it is the default, so that it changes no key of an earlier ledger.
    assert "pairwise_distance" not in make_config(overrides=pairwise).model_dump()["loss"]
    assert Config.model_validate(raw.model_dump()) == raw
