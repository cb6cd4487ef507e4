"""The stoep command finds its subcommands and imports no more than it needs."""

import subprocess
import sys

import pytest
from stoep_tools import cli


def test_help_names_every_subcommand(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    names = (
        "collections",
        "gateway",
        "demo",
        "device",
        "evaluate",
        "flash",
        "makes",
        "plan",
        "report",
    )
    assert all(name in shown for name in names)


def test_no_arguments_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "usage: stoep COMMAND" in capsys.readouterr().out


def test_unknown_command_names_those_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["gatway"]) == 2
    said = capsys.readouterr().err
    assert "no command 'gatway'; there are: collections, demo, device, evaluate" in said


@pytest.mark.parametrize("name", ["demo", "flash"])
def test_what_a_package_leaves_out_is_said_to_be_elsewhere(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "entry_points", lambda group: ())
    assert cli.main([name]) == 2
    said = capsys.readouterr().err
    assert said == (
        f"stoep: {name!r} is not part of this package; pipx install 'stoep[{name}]' brings it\n"
    )


@pytest.mark.parametrize(
    "name",
    ["collections", "gateway", "demo", "device", "evaluate", "flash", "makes", "plan", "report"],
)
def test_every_subcommand_explains_itself(name: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "stoep_tools.cli", name, "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert f"stoep {name}" in run.stdout


def test_the_gateway_starts_without_the_solver_or_the_simulator() -> None:
    """Start-up stays fast: the planner's solver loads when a plan is made."""
    program = (
        "import sys, stoep_tools.cli as cli\n"
        "try: cli.main(['gateway', '--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'pyvrp', 'stoep_hardware', 'rich'} & set(sys.modules)), file=sys.stderr)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert run.stderr.strip().endswith("[]"), run.stderr
