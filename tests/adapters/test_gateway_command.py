"""``stoep gateway``: what it offers, and where it finds the configuration."""

import os
from pathlib import Path

import pytest
from stoep_gateway import config_path, control_client
from stoep_gateway.cli import main

ACTIONS = ("run", "check", "doctor", "reload", "backup", "restore", "export")
CONFIG = 'site = "here"\n'


@pytest.fixture(autouse=True)
def nowhere(tmp_path, monkeypatch):
    """A machine without a configuration, and a folder without one."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.delenv("STOEP_CONFIG", raising=False)
    places = (tmp_path / "etc" / "stoep.toml", Path("stoep.toml"))
    monkeypatch.setattr(config_path, "_PLACES", places)
    monkeypatch.setattr(control_client, "DEFAULT_PATH", tmp_path / "run" / "control.sock")


def write(path, text=CONFIG):
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_help_tells_of_every_action(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert all(f"\n    {action} " in said for action in ACTIONS)


@pytest.mark.parametrize("action", ACTIONS)
def test_every_action_has_help_and_looks_for_the_configuration(capsys, action):
    with pytest.raises(SystemExit) as ended:
        main([action, "--help"])
    assert ended.value.code == 0
    assert "--config FILE" in capsys.readouterr().out


def test_without_a_configuration_it_says_where_it_looked(tmp_path, capsys):
    assert main(["check"]) == 2
    said = capsys.readouterr().err
    assert all(it in said for it in ("--config", "$STOEP_CONFIG", str(tmp_path / "etc"), "cwd"))


def test_the_environment_comes_before_the_service_s_and_that_before_the_folder_s(
    tmp_path, monkeypatch, capsys
):
    write(tmp_path / "cwd" / "stoep.toml")
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith("stoep.toml: right")
    service = write(tmp_path / "etc" / "stoep.toml")
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith(f"{service}: right")
    named = write(tmp_path / "mine.toml")
    monkeypatch.setenv("STOEP_CONFIG", str(named))
    assert main(["check"]) == 0
    assert capsys.readouterr().out.startswith(f"{named}: right")
    given = write(tmp_path / "given.toml")
    assert main(["check", "--config", str(given)]) == 0
    assert capsys.readouterr().out.startswith(f"{given}: right")


def test_one_that_is_named_and_not_there_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STOEP_CONFIG", str(tmp_path / "gone.toml"))
    write(tmp_path / "cwd" / "stoep.toml")
    assert main(["check"]) == 2
    assert "gone.toml" in capsys.readouterr().err


def test_commands_ask_the_gateway_of_the_configuration_that_is_found(tmp_path, capsys):
    write(tmp_path / "cwd" / "stoep.toml")
    assert main(["reload"]) == 3
    assert f"{Path('stoep.db.sock')}: no gateway is running there" in capsys.readouterr().err


def test_a_service_that_runs_is_asked_whatever_lies_in_the_folder(tmp_path, monkeypatch, capsys):
    write(tmp_path / "cwd" / "stoep.toml")
    (tmp_path / "run").mkdir()
    assert main(["reload"]) == 3
    assert str(tmp_path / "run" / "control.sock") in capsys.readouterr().err
    monkeypatch.setenv("STOEP_CONFIG", "stoep.toml")
    assert main(["reload"]) == 3
    assert str(tmp_path / "run") not in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_mishap(tmp_path, capfd, monkeypatch):
    write(tmp_path / "cwd" / "stoep.toml")
    monkeypatch.setattr("stoep_gateway.cli.load", broken)
    duplicate = os.dup(1)  # what is done to standard output is undone
    try:
        assert main(["check"]) == 0
    finally:
        os.dup2(duplicate, 1)
        os.close(duplicate)
    assert capfd.readouterr().err == ""


def broken(path):
    raise BrokenPipeError
