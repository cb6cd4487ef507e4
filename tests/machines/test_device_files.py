"""Files of devices: what spreadsheets and editors save, every mistake with its line."""

import csv
import io
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from stoep_gateway.assets import device_files, device_specs
from stoep_gateway.assets.device_files import FIELDS
from stoep_gateway.config_model import DeviceConfig

KEY = "00112233445566778899aabbccddeeff"


def values(text: str | bytes, kind: device_files.Format | None = None) -> list[dict[str, Any]]:
    data = text.encode() if isinstance(text, str) else text
    entries, mistakes = device_files.read(data, "file", kind)
    assert mistakes == []
    return [dict(entry.values) for entry in entries]


def mistakes(text: str | bytes, kind: device_files.Format | None = None) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    return [str(mistake) for mistake in device_files.read(data, "file", kind)[1]]


ONE = [{"dev_eui": "7000000000000001", "app_key": KEY, "adr": False, "name": "lid, left"}]


@pytest.mark.parametrize(
    "text",
    [
        f'dev_eui,app_key,adr,name\n7000000000000001,{KEY},false,"lid, left"\n',
        f"\ufeffDEV_EUI;App_Key;ADR;name\r\n7000000000000001;{KEY};FALSE;lid, left\r\n",
        f"dev_eui\tapp_key\tadr\tname\n\n7000000000000001\t{KEY}\tno\tlid, left\n\t\t\t\n",
        f'\n\ndev_eui , name, app_key,adr\n 7000000000000001 , "lid, left",{KEY} ,0',
        f"- dev_eui: 7000000000000001\n  app_key: {KEY}\n  adr: no\n  name: lid, left\n",
        (
            f'[{{"dev_eui": "7000000000000001", "app_key": "{KEY}", "adr": false, '
            '"name": "lid, left"}]'
        ),
        (
            "# ours\n---\n-   name: 'lid, left'\n    adr: False\n    dev_eui: '7000000000000001'\n"
            f"    app_key: {KEY}\n...\n"
        ),
    ],
)
def test_one_device_in_many_hands(text: str) -> None:
    assert values(text) == ONE


def test_what_an_empty_value_means() -> None:
    empty = {"dev_eui": "7000000000000001", "name": None, "asset": None}
    assert values("dev_eui,app_key,adr,name,asset\n7000000000000001,,,,") == [empty]
    text = "- {dev_eui: '7000000000000001', app_key: , adr: ~, name: null, asset: Null}"
    assert values(text) == [empty]
    assert values("- {dev_eui: '1', name: 'null', asset: ''}") == [
        {"dev_eui": "1", "name": "null", "asset": ""}
    ]


def test_the_lines_of_mistakes() -> None:
    text = 'dev_eui,name,adr\n1,"two\nlines",true\n2,x,perhaps\n3,x,yes,4\n4,x,true\n'
    entries, found = device_files.read(text.encode(), "file", None)
    assert [entry.line for entry in entries] == [2, 4, 6]
    assert list(map(str, found)) == [
        "file:4: adr must be true or false",
        "file:5: has 4 values, the first line 3 columns",
    ]
    text = "- dev_eui: 1\n  nmae: x\n\n- dev_eui: 2\n  adr: 7\n  dev_eui: 3\n"
    entries, found = device_files.read(text.encode(), "file", None)
    assert [(entry.line, entry.line_of("dev_eui"), entry.line_of("name")) for entry in entries] == [
        (1, 1, 1),
        (4, 6, 4),
    ]
    assert list(map(str, found)) == [
        f'file:2: a key is none of: {", ".join(FIELDS)} (did you mean "name"?)',
        "file:5: adr must be true or false",
        'file:6: "dev_eui" is there twice',
    ]


LIST = 'write a list of devices, each "- dev_eui: ..." and its other keys below'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file: has no device in it"),
        ("dev_eui,app_key\n", "file: has no device in it"),
        ("[]", "file: has no device in it"),
        (b"dev_eui\n\xff", "file:2: is not UTF-8 text"),
        (
            f"70b3d57ed0000001,{KEY}\n",
            (
                f"file:1: the first line names the columns: {', '.join(FIELDS)};"
                ' "dev_eui" is not there'
            ),
        ),
        (
            "dev_eui,apkey\n1,2",
            f'file:1: column 2 is none of: {", ".join(FIELDS)} (did you mean "app_key"?)',
        ),
        ("dev_eui,name,name\n1,2,3", 'file:1: column "name" is there twice'),
        ('dev_eui,name\n1,"2\n3\n', "file:2: this is not CSV: unexpected end of data"),
        ("- dev_eui: 1\n  name: [x]", f"file:2: {LIST}"),
        ("- 1", f"file:1: {LIST}"),
        ("- &a {dev_eui: 1}\n- *a", f"file:2: {LIST}"),
        ("- - x", f"file:1: {LIST}"),
        ("- dev_eui: 1\n  ? [x]\n  : y", f"file:2: {LIST}"),
        ("[" * 100_000, f"file:1: {LIST}"),
    ],
)
def test_a_file_that_is_wrong(text: str | bytes, message: str) -> None:
    assert mistakes(text)[-1] == message


def test_yaml_that_is_a_mapping() -> None:
    assert mistakes("device:\n  - dev_eui: 1", "yaml") == [f"file:1: {LIST}"]
    assert mistakes("x", "yaml") == [f"file:1: {LIST}"]


def test_yaml_that_is_none() -> None:
    (found,) = mistakes("- dev_eui: 1\n  name: a: b\n- x")
    assert found.startswith("file:2: this is not YAML: ")
    assert mistakes("- a\0") == ["file: this is not YAML"]


def test_a_file_that_is_too_large() -> None:
    assert mistakes(b"x" * (device_files.MAX_OCTETS + 1)) == [
        "file: is larger than 8388608 octets; divide it"
    ]


@given(st.binary(max_size=300))
def test_any_octets_are_devices_or_mistakes(data: bytes) -> None:
    for kind in ("csv", "yaml", None):
        entries, found = device_files.read(data, "file", kind)  # type: ignore[arg-type]
        assert entries or found


_WORDS = [
    "dev_eui",
    "name",
    "adr",
    "true",
    "~",
    "7e1",
    "&a",
    "*a",
    "!!int",
    "|",
    "?",
    "#",
    "%",
    "--",
    "---",
]
_SIGNS = [*",;\t\n\r\"'[]{}\0\ufeff", "- ", ": ", "  ", " "]
_SYNTAX = st.sampled_from(_WORDS + _SIGNS)


@given(st.lists(_SYNTAX, max_size=40).map("".join))
def test_any_syntax_is_devices_or_mistakes(text: str) -> None:
    for kind in ("csv", "yaml"):
        entries, found = device_files.read(text.encode(), "file", kind)  # type: ignore[arg-type]
        assert entries or found


def test_no_value_is_repeated() -> None:
    for text in (
        f"dev_eui,{KEY}\n1,2",
        f"dev_eui,adr\n1,{KEY}",
        f"{KEY}\n1",
        f"- dev_eui: 1\n  {KEY}: x",
        f"- {KEY}",
        f"- dev_eui: 1\n  adr: {KEY}",
        f"- [{KEY}]",
    ):
        found = mistakes(text)
        assert found
        assert KEY not in "".join(found)


_EUIS = st.binary(min_size=8, max_size=8)
_KEYS = st.binary(min_size=16, max_size=16)
_TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=40).filter(
    str.strip
)
_COMMON = {
    "dev_eui": _EUIS,
    "join_eui": _EUIS,
    "lorawan": st.sampled_from(["1.0.2", "1.0.3", "1.0.4"]),
    "device_class": st.sampled_from("AC"),
    "adr": st.booleans(),
    "enabled": st.booleans(),
    "name": st.none() | _TEXTS,
    "asset": st.none() | st.just("container/a"),
}
_DEVICES = st.one_of(
    st.fixed_dictionaries({**_COMMON, "app_key": _KEYS}),
    st.fixed_dictionaries({**_COMMON, "source": st.just("other")}),
    st.fixed_dictionaries(
        {
            **_COMMON,
            "dev_addr": st.binary(min_size=4, max_size=4),
            "nwk_s_key": _KEYS,
            "app_s_key": _KEYS,
        }
    ),
)


@given(st.lists(_DEVICES, min_size=1, max_size=4), st.sampled_from(["csv", "yaml"]))
def test_what_is_exported_is_imported(
    devices: list[dict[str, Any]], kind: device_files.Format
) -> None:
    specs = [DeviceConfig(**device) for device in devices]
    raws = [device_specs.as_raw(spec, show_keys=True) for spec in specs]
    text = device_files.write(raws, kind)
    assert [device_specs.validate(raw) for raw in values(text, kind)] == specs
    if kind == "csv":  # as others read it
        rows = csv.DictReader(io.StringIO(text))
        assert [row["dev_eui"] for row in rows] == [spec.dev_eui.hex() for spec in specs]
    else:
        assert yaml.safe_load(text) == raws
    raws = [device_specs.as_raw(spec, show_keys=False) for spec in specs]
    for without in values(device_files.write(raws, kind), kind):
        assert not without.keys() & set(device_specs.SECRETS)
