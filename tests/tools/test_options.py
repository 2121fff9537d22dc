"""What the demo and the stories may be told on: a name that is wrong starts nothing."""

from __future__ import annotations

import sys

import pytest

from tools.demo import Demo, read_options
from tools.story import __main__ as story


def test_the_demo_is_on_its_own_target_unless_told_otherwise():
    assert read_options([], {}).target == "demo"
    assert read_options([], {"TARGET": "tryton"}).target == "tryton"
    assert read_options(["--target", "tryton"], {"TARGET": "demo"}).target == "tryton"


def test_a_target_that_nobody_has_starts_nothing(capsys, tmp_path):
    with pytest.raises(SystemExit):
        read_options([], {"TARGET": "sap"})

    assert "demo or tryton" in capsys.readouterr().err
    with pytest.raises(ValueError, match="sap"):
        Demo(target="sap", var=tmp_path)


@pytest.mark.parametrize("name", sorted({*story.STORIES, story.ALL} - {*story.ON_ERP}))
def test_a_story_of_the_demos_own_target_is_not_told_on_the_erp(name, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["story", name, "--target", "tryton"])

    with pytest.raises(SystemExit):
        story.main()

    assert "payment" in capsys.readouterr().err
