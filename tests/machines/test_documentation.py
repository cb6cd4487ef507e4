"""The documentation: its links lead somewhere, its first configuration is right."""

import re
import shlex
from pathlib import Path

import pytest
from stoep_gateway import config
from stoep_tools.flash import options

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *ROOT.glob("*/README.md"),
        *ROOT.glob("examples/*/*.md"),
    ]
)


def _headings(page: Path) -> set[str]:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", line.lower()).strip().replace(" ", "-") for line in lines}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), target
        assert not anchor or anchor in _headings(file), target


def test_every_page_is_found_from_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert f"(docs/{page.name})" in readme, page.name


def test_the_operator_s_first_configuration_is_right(tmp_path):
    text = (ROOT / "docs" / "operator.md").read_text(encoding="utf-8")
    file = tmp_path / "gateway.toml"
    file.write_text(re.findall(r"^```toml\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)[0])
    assert [gateway.id for gateway in config.load(file).gateways] == ["roof"]


def _flash_commands(page: Path) -> list[str]:
    """Return the commands of the bench in a page's blocks of shell."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(
        r"^ *```(?:sh|console|powershell)\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE
    )
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    starts = r"^[ $]*(?:stoep flash|\S*python3? \S*tools/flash.py)(?= |$)"
    return [re.sub(starts, "", line) for line in lines if re.match(starts, line)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_the_bench_has_the_options_that_are_shown(page):
    for command in _flash_commands(page):
        words = shlex.split(command, comments=True)
        options.parser().parse_args(options.words_of(words))


def test_the_technician_is_told_of_every_command_of_the_bench():
    told = {
        words.split()[0]
        for words in _flash_commands(ROOT / "docs" / "technician.md")
        if words.split()
    }
    assert told >= set(options.COMMANDS) - {options.DEFAULT}
