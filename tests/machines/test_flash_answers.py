"""What a technician is asked: by number, by name, by what was said last time."""

import json
from pathlib import Path

import pytest
from stoep_tools.flash.answers import Answers, default_path
from stoep_tools.flash.errors import USAGE, FlashError

BOARDS = {"heltec_v3": "Heltec", "lilygo_t3": "LilyGO T3", "lilygo_v21": "LilyGO 2.1"}


class Person:
    """Types what was laid out, and hears what is said."""

    def __init__(self, path, *lines, ask=True):
        self.heard = []
        self._lines = list(lines)
        self.answers = Answers(ask=ask, path=path, read=self._read, say=self.heard.append)

    def _read(self, prompt):
        self.heard.append(prompt)
        if not self._lines:
            raise EOFError
        return self._lines.pop(0)

    def choose(self, said=None):
        return self.answers.choose("board", "Which?", said, BOARDS)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "stoep" / "flash.json"


@pytest.mark.parametrize(
    ("typed", "chosen"),
    [
        ("1", "heltec_v3"),
        (" 3 ", "lilygo_v21"),
        ("hel", "heltec_v3"),
        ("LILYGO_T", "lilygo_t3"),
        ("lilygo_t3", "lilygo_t3"),
    ],
)
def test_a_number_or_the_beginning_of_a_name_is_enough(path, typed, chosen):
    assert Person(path, typed).choose() == chosen


def test_what_is_no_answer_is_asked_again_and_said_why(path):
    person = Person(path, "", "0", "4", "x", "lilygo", "2")
    assert person.choose() == "lilygo_t3"
    said = "\n".join(person.heard)
    assert "one of them is needed" in said
    assert said.count("is none of them") == 3
    assert "could be lilygo_t3 or lilygo_v21" in said


def test_a_name_that_begins_another_can_be_chosen(path):
    person = Person(path, "as923")
    regions = {"AS923-2": "", "AS923": ""}
    assert person.answers.choose("region", "Where?", None, regions) == "AS923"


def test_what_was_said_as_an_option_is_not_asked(path):
    person = Person(path)
    assert person.choose("lilygo_t3") == "lilygo_t3"
    assert person.answers.text("gateway", "Where?", "pi", "none") == "pi"
    assert person.heard == []


def test_the_last_answers_are_the_next_defaults(path):
    first = Person(path, "2", "pi")
    first.choose()
    first.answers.text("gateway", "Where?", None, "none")
    first.answers.remember()
    second = Person(path, "", "")
    assert second.choose() == "lilygo_t3"
    assert second.answers.text("gateway", "Where?", None, "none") == "pi"
    assert any("Enter for lilygo_t3" in line for line in second.heard)
    assert any(line.startswith(" * 2") for line in second.heard)
    silent = Person(path, ask=False)
    assert silent.choose() == "lilygo_t3"
    assert silent.heard == []


def test_which_port_it_was_is_not_remembered(path):
    person = Person(path, "1")
    person.answers.choose("port", "Which?", None, {"/dev/ttyUSB0": "", "all": ""})
    person.answers.remember()
    assert json.loads(path.read_text()) == {}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"', '{"board": 7}', '{"board": "gone"}'])
def test_answers_that_are_damaged_or_outdated_are_none(path, text):
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(FlashError) as problem:
        Person(path, ask=False).choose()
    assert problem.value.exit_code == USAGE
    assert "--board" in problem.value.remedy


def test_answers_that_cannot_be_kept_do_not_matter(tmp_path):
    (tmp_path / "file").write_text("")
    person = Person(tmp_path / "file" / "flash.json", "1")
    assert person.choose() == "heltec_v3"
    person.answers.remember()


def test_a_file_is_there_and_may_be_dragged_into_the_terminal(path, tmp_path):
    file = tmp_path / "a firmware.bin"
    file.write_bytes(b"")
    for typed in (str(file), f"'{file}'", f'"{file}"', str(file).replace(" ", "\\ ")):
        person = Person(path, "nowhere.bin", "", typed)
        assert person.answers.path("firmware", "Which?", None) == file
        assert any("there is no file nowhere.bin" in line for line in person.heard)
    person.answers.remember()
    assert Person(path, "").answers.path("firmware", "Which?", None) == file
    assert Person(path, ask=False).answers.path("firmware", "Which?", None) == file


def test_a_file_is_remembered_wherever_the_next_run_begins(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    person = Person(path)
    assert person.answers.path("firmware", "Which?", Path("x.bin")) == tmp_path / "x.bin"


def test_the_end_of_the_input_is_no_endless_question(path):
    for ask in (
        lambda person: person.choose(),
        lambda person: person.answers.path("firmware", "Which?", None),
        lambda person: person.answers.text("gateway", "Where?", None, "none"),
    ):
        with pytest.raises(FlashError) as problem:
            ask(Person(path))
        assert problem.value.exit_code == USAGE


@pytest.mark.parametrize(
    ("typed", "agrees", "goes_on"),
    [
        ("", False, True),
        ("y", True, True),
        ("YES", True, True),
        ("n", False, False),
        ("q", False, False),
    ],
)
def test_enter_agrees_to_nothing_and_goes_on(path, typed, agrees, goes_on):
    assert Person(path, typed).answers.agrees("Sure?") is agrees
    assert Person(path, typed).answers.goes_on("Next?") is goes_on


def test_nobody_agrees_where_nobody_is_asked(path):
    person = Person(path, "y", ask=False)
    assert person.answers.agrees("Sure?") is False
    assert Person(path).answers.goes_on("Next?") is False
    assert person.heard == []


def test_the_answers_are_the_user_s():
    assert default_path({"XDG_CONFIG_HOME": "/x"}) == Path("/x/stoep/flash.json")
    assert default_path({"APPDATA": "/a"}) == Path("/a/stoep/flash.json")
    assert default_path({}) == Path.home() / ".config" / "stoep" / "flash.json"
