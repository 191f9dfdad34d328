"""The settings: the example, and settings that are older than this version."""

from __future__ import annotations

import re

import yaml

from mezoroi.config import Config, example_yaml, settings_by_name
from mezoroi.presets import make_config


def test_the_example_holds_every_default_with_a_comment() -> None:
    text = example_yaml()
    assert Config.model_validate(yaml.safe_load(text)) == Config() == make_config()
    lines = [
        line for line in text.splitlines() if re.match(r" *\w+: ", line) and ":  #" not in line
    ]
    settings = sum(
        len(values) if isinstance(values, dict) else 1 for values in Config().model_dump().values()
    )
    assert len(lines) == settings == len(settings_by_name())
    assert all(len(line.split("  # ")[1]) > 5 for line in lines)


def test_settings_written_before_a_setting_existed_are_read() -> None:
    old = Config().model_dump()
    del old["augment"], old["parts"], old["loss"]["pairwise"]
    assert Config.model_validate(old) == Config()
