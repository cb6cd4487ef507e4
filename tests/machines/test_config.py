"""Every mistake in a configuration is reported at once, at its line, with the right name."""

import datetime
import tomllib
from pathlib import Path

import pytest
import stoep_gateway
from stoep_gateway import config, config_fix
from stoep_gateway.cli import main
from stoep_gateway.errors import ConfigError

EXAMPLE = Path(stoep_gateway.__file__).with_name("example.toml")

GOOD = """\
site = "town"

[[container]]
id = "a"
lat = -15.8
lon = 35.0
capacity_l = 1100
depth_mm = 1200

[[device]]
dev_eui = "70b3d57ed0000001"
app_key = "00112233445566778899aabbccddeeff"
asset = "container/a"
"""


def load(folder: Path, **files: str) -> config.Config:
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")
    return config.load(folder / "stoep.toml")


def mistakes(folder: Path, **files: str) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(folder, **files)
    assert raised.value.exit_code == 2
    assert str(raised.value).splitlines() == [str(it) for it in raised.value.mistakes]
    return [str(it).replace(f"{folder}/", "") for it in raised.value.mistakes]


def test_the_example_is_right_and_says_the_defaults(tmp_path: Path) -> None:
    example = config.load(EXAMPLE)
    assert example.site == "example"
    assert example.store.path == EXAMPLE.with_name("stoep.db")
    assert example.planning.at == datetime.time(6, 0)
    assert example.timezone.key == "Africa/Blantyre"
    assert [container.id for container in example.containers] == [
        "market-organic-1",
        "market-paper-1",
    ]
    assert example.devices[0].dev_eui == bytes.fromhex("70b3d57ed0000001")
    bare = load(tmp_path, stoep='site = "example"\n[planning]\nenabled = false\n')
    for section in ("mqtt", "gwmp", "lorawan", "adr"):
        said = getattr(example, section).model_dump(exclude={"client_id"})
        assert said == getattr(bare, section).model_dump(exclude={"client_id"})
    assert example.planning.model_dump(exclude={"enabled"}) == bare.planning.model_dump(
        exclude={"enabled"}
    )


def test_a_minimal_configuration(tmp_path: Path) -> None:
    loaded = load(tmp_path, stoep=GOOD)
    assert loaded.timezone.key == "UTC"
    assert not loaded.planning.enabled
    assert loaded.store.path == tmp_path / "stoep.db"
    assert loaded.mqtt.port == 1883
    assert loaded.devices[0].join_eui == bytes(8)
    assert loaded.containers[0].name is None


def test_values_cannot_be_changed(tmp_path: Path) -> None:
    loaded = load(tmp_path, stoep=GOOD)
    with pytest.raises(ValueError, match="frozen"):
        loaded.mqtt.port = 1  # type: ignore[misc]


def test_assets_in_files_of_their_own(tmp_path: Path) -> None:
    street = GOOD.split("\n", 1)[1]
    loaded = load(tmp_path, stoep='site = "town"\nassets = ["street.toml"]\n', street=street)
    assert loaded.devices[0].asset == "container/a"


SECTIONS = [
    ("[mqtt]\nprot = 1", 'stoep.toml:16: unknown key "prot" in [mqtt] (did you mean "port"?)'),
    ("[mqtt]\nport = 0", "stoep.toml:16: port must be at least 1, not 0"),
    ("[mqtt]\nport = 65536", "stoep.toml:16: port must be at most 65535, not 65536"),
    ('[mqtt]\nport = "1883"', "stoep.toml:16: port must be a whole number"),
    ("[mqtt]\nport = 1883.5", "stoep.toml:16: port must be a whole number"),
    ("[mqtt]\nport = true", "stoep.toml:16: port must be a whole number"),
    ("[mqtt]\nhost = 127", "stoep.toml:16: host must be a string"),
    ('[mqtt]\nhost = ""', "stoep.toml:16: host must not be empty"),
    (
        '[mqtt]\npassword_file = "nowhere"',
        "stoep.toml:16: password_file cannot be read: No such file or directory",
    ),
    ("[[mqtt]]\nport = 1", "stoep.toml:15: write [mqtt], in single brackets"),
    ("[mqqt]", 'stoep.toml:15: unknown key "mqqt" (did you mean "mqtt"?)'),
    ("[lora]", 'stoep.toml:15: unknown key "lora" (did you mean "lorawan"?)'),
    (
        "[mqtt]\nthreshold_pct = 3",
        'stoep.toml:16: unknown key "threshold_pct" in [mqtt] (it belongs in [planning])',
    ),
    (
        '[lorawan]\nregion = "EU869"',
        (
            'stoep.toml:16: region must be "EU868" or "US915" or "AU915" or "AS923" or "IN865"'
            ' (did you mean "EU868"?)'
        ),
    ),
    (
        '[lorawan]\nregion = "Moon"',
        'stoep.toml:16: region must be "EU868" or "US915" or "AU915" or "AS923" or "IN865"',
    ),
    (
        '[lorawan]\nnet_id = "13"',
        "stoep.toml:16: net_id: a NetID is a string of 6 hexadecimal digits",
    ),
    (
        "[lorawan]\ndedup_window_ms = -1",
        "stoep.toml:16: dedup_window_ms must be at least 0, not -1",
    ),
    ("[planning]", "stoep.toml:15: a round needs at least one [[truck]]"),
    (
        "[planning]\nenabled = false\ndays = []",
        "stoep.toml:17: days: at least one; enabled = false plans nothing",
    ),
    (
        '[planning]\nenabled = false\nat = "6:00"',
        'stoep.toml:17: at: a time of day is written "HH:MM"',
    ),
    (
        '[planning]\nenabled = false\nat = "24:00"',
        'stoep.toml:17: at: a time of day is written "HH:MM"',
    ),
    (
        "[planning]\nenabled = false\nat = 06:00:00",
        'stoep.toml:17: at: a time of day is written "HH:MM"',
    ),
    (
        "[planning]\nenabled = false\nthreshold_pct = 100.5",
        "stoep.toml:17: threshold_pct must be at most 100, not 100.5",
    ),
    (
        "[planning]\nenabled = false\nthreshold_pct = nan",
        "stoep.toml:17: threshold_pct must be at most 100, not nan",
    ),
    (
        '[planning]\nenabled = "yes"',
        "stoep.toml:16: enabled must be true or false",
    ),
    (
        '[planning]\nenabled = false\ndistances = "nowhere.csv"',
        "stoep.toml:17: distances cannot be read: No such file or directory",
    ),
    ('[store]\npath = ""', "stoep.toml:16: path: a path is a non-empty string"),
    (
        "[container]",
        (
            "stoep.toml:15: this is not TOML: [container] is declared twice"
            " (a list is written [[container]])"
        ),
    ),
    ("[bay]", "stoep.toml:15: write [[bay]], in double brackets"),
    (
        "[[bay]]\nid = 'b'\nlat = 1\nlon = 2",
        'stoep.toml:15: [[bay]] needs "street"',
    ),
    (
        "[[bay]]\nid = 'b'\nlat = 91\nlon = 2.0\nstreet = 'S'",
        "stoep.toml:17: lat must be at most 90, not 91",
    ),
    (
        "[[bay]]\nid = 'b 1/2'\nlat = 1\nlon = 2\nstreet = 'S'",
        (
            "stoep.toml:16: id: an id is 1 to 64 letters, digits, '.', '_' or '-'"
            ' (did you mean "b-1-2"?)'
        ),
    ),
    (
        "[[place]]\nid = 'p'\nlat = 1\nlon = 2\nkind = 'depott'",
        'stoep.toml:19: kind must be "depot" or "disposal" (did you mean "depot"?)',
    ),
    (
        "[[container]]\nid = 'a'\nlat = 1\nlon = 2\ncapacity_l = 1\ndepth_mm = 1",
        'stoep.toml:16: id "a" is already used by the container at stoep.toml:4',
    ),
    (
        "[[container]]\nid = 'c'\nlat = 1\nlon = 2\ncapacity_l = 1\ndepth_mm = 9\nfull_mm = 9",
        "stoep.toml:21: full_mm (9) must be less than depth_mm (9): the sensor measures downward",
    ),
    (
        "[[container]]\nid = 'c'\nlat = 1\nlon = 2\ncapacity_l = 1\ndepth_mm = 9\nshape = 'lying'",
        'stoep.toml:21: shape "lying" needs "diameter_mm"',
    ),
    (
        "[[container]]\nid = 'c'\nlat = 1\nlon = 2\ncapacity_l = 1\ndepth_mm = 9\ndiameter_mm = 0",
        "stoep.toml:21: diameter_mm must be greater than 0, not 0",
    ),
    (
        (
            "[[device]]\ndev_eui = '70b3d57ed0000002'\n"
            "app_key = '00112233445566778899aabbccddeef0'\nasset = 'container/b'"
        ),
        'stoep.toml:18: asset "container/b" is not an asset (did you mean "container/a"?)',
    ),
    (
        (
            "[[device]]\ndev_eui = '70b3d57ed0000002'\n"
            "app_key = '00112233445566778899aabbccddeef0'\nasset = 'bin/a'"
        ),
        'stoep.toml:18: asset: an asset is "container/ID" or "bay/ID"',
    ),
    (
        "[[device]]\ndev_eui = '70B3-D57E-D000-0001'\napp_key = '00112233445566778899aabbccddeef0'",
        'stoep.toml:16: dev_eui "70b3d57ed0000001" is already used by the device at stoep.toml:11',
    ),
    (
        (
            "[[device]]\ndev_eui = '70b3d57ed0000002'\n"
            "app_key = '00112233445566778899aabbccddeef0'\nasset = 'container/a'"
        ),
        'stoep.toml:18: asset "container/a" is already used by the device at stoep.toml:13',
    ),
    (
        "[[device]]\ndev_eui = 70\napp_key = '00112233445566778899aabbccddeef0'",
        "stoep.toml:16: dev_eui: an EUI is a string of 16 hexadecimal digits",
    ),
    (
        (
            "[[truck]]\nid = 't'\ncapacity_l = 1\ndepot = 'yard'\ndisposal = 'yard'\n"
            "[[place]]\nid = 'yard'\nkind = 'depot'\nlat = 1\nlon = 1"
        ),
        'stoep.toml:19: disposal "yard" is not a [[place]] of kind "disposal"',
    ),
    ("x = [1, 2", "stoep.toml:15: this is not TOML: Unclosed array"),
    (
        "[mqtt]\nhost = 'mqtt://broker:1883'",
        'stoep.toml:16: host: a host is a name or an address alone; its port belongs in "port"',
    ),
    (
        "[mqtt]\nhost = 'broker:1883'",
        'stoep.toml:16: host: a host is a name or an address alone; its port belongs in "port"',
    ),
    *(
        (
            f"[gwmp]\nbind = {host!r}",
            (
                'stoep.toml:16: bind: a host is a name or an address, such as "127.0.0.1" or '
                '"broker.example.org"'
            ),
        )
        for host in ("a b", "broker..example", "x" * 64, "[::1]")
    ),
    ('[store]\npath = "a\\u0000b"', "stoep.toml:16: path: a path is a non-empty string"),
    (
        f"x = {'[' * 5000}{']' * 5000}",
        "stoep.toml: this is not TOML: a list too deep or a number too long to read",
    ),
    (
        f"x = {'1' * 5000}",
        "stoep.toml: this is not TOML: a list too deep or a number too long to read",
    ),
    (
        f"[gwmp]\nport = 0x{'f' * 5000}",
        "stoep.toml:16: port must be at most 65535, not a number that long",
    ),
    *(
        (
            f'[ngsi_ld]\nurl = "{url}"',
            (
                'stoep.toml:16: url: a URL is written "https://broker.example.org:1026";'
                " a token stands in token_file"
            ),
        )
        for url in ("http://", "http://[::1", "http://a:99999", "http://a:b", "http://\\u00e9", "x")
    ),
    *(
        (
            f'[ngsi_ld]\nurl = "http://a"\ntenant = "{tenant}"',
            (
                "stoep.toml:17: tenant: it is sent in a header: printable ASCII, without spaces"
                " around it"
            ),
        )
        for tenant in ("a\\nb", "\\u00e9", " a")
    ),
]


@pytest.mark.parametrize(("text", "message"), SECTIONS)
def test_one_mistake(tmp_path: Path, text: str, message: str) -> None:
    found = mistakes(tmp_path, stoep=f"{GOOD}\n{text}\n")
    assert found == [message]


@pytest.mark.parametrize("host", ["::1", "fe80::1%eth0", "localhost", "10.0.0.7", "my_broker.lan."])
def test_hosts(tmp_path: Path, host: str) -> None:
    text = f'{GOOD}\n[mqtt]\nhost = "{host}"\n[gwmp]\nbind = "{host}"\n'
    assert load(tmp_path, stoep=text).mqtt.host == host


def test_a_password_without_a_user_would_never_be_sent(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    found = mistakes(tmp_path, stoep=f'{GOOD}\n[mqtt]\npassword_file = "secret"\n')
    assert found == ['stoep.toml:16: password_file needs "username" beside it']


ABP = 'dev_addr = "260b0001"\nnwk_s_key = "{0}"\napp_s_key = "{0}"'.format("11" * 16)
SOURCE = """[[source]]
id = "cs"
kind = "chirpstack"
application = "2f4b3c0e-6c1d-4d5e-9a57-3f1b2a4c5d6e"
"""
ONE_WAY = (
    'stoep.toml:15: [[device]] needs one of: "app_key" (it joins); "dev_addr", "nwk_s_key" and'
    ' "app_s_key" (ABP); "source" (another network server\'s)'
)
NETWORK_SIDE = [
    (
        "[lorawan]\nsub_band = 1",
        ["stoep.toml:16: EU868 has no sub-bands; sub_band is of US915 and AU915"],
    ),
    ('[lorawan]\nregion = "US915"\nsub_band = 8', []),
    (
        '[lorawan]\nregion = "US915"\nrx1_dr_offset = 4',
        ["stoep.toml:17: rx1_dr_offset is at most 3 in US915, not 4"],
    ),
    ("[adr]\nmin_dr = 3\nmax_dr = 2", ["stoep.toml:16: min_dr (3) is more than max_dr (2)"]),
    ("[adr]\nmax_dr = 6", ["stoep.toml:16: max_dr is at most 5 for the channels of EU868, not 6"]),
    (
        '[adr]\nmax_dr = 5\n[lorawan]\nregion = "US915"',
        ["stoep.toml:16: max_dr is at most 4 for the channels of US915, not 5"],
    ),
    ('[basics_station]\ntls_cert = "good"\ntls_key = "secret"\nclient_ca = "good"', []),
    (
        '[basics_station]\ntls_cert = "good"',
        ['stoep.toml:16: tls_cert needs "tls_key" beside it'],
    ),
    (
        '[basics_station]\ntls_key = "good"\nclient_ca = "nowhere"',
        [
            'stoep.toml:16: tls_key needs "tls_cert" beside it',
            "stoep.toml:16: tls_key can be read by everybody; chmod o-rwx good",
            'stoep.toml:17: client_ca needs "tls_cert" beside it',
            "stoep.toml:17: client_ca cannot be read: No such file or directory",
        ],
    ),
    ("[basics_station]\nport = 70000", ["stoep.toml:16: port must be at most 65535, not 70000"]),
    (
        "[control]\ngroup = 'a b'",
        [
            (
                "stoep.toml:16: group: an id is 1 to 64 letters, digits, '.', '_' or '-'"
                ' (did you mean "a-b"?)'
            )
        ],
    ),
    (
        '[[gateway]]\nid = "g"\neui = "0016c001ff10a235"\ntoken_file = "empty"',
        ["stoep.toml:18: token_file is empty"],
    ),
    (
        '[[gateway]]\nid = "g"\neui = "0016c001ff10a235"\ntoken_file = "good"',
        ["stoep.toml:18: token_file can be read by everybody; chmod o-rwx good"],
    ),
    ('[[gateway]]\nid = "g"\neui = "0016c001ff10a235"\ntoken_file = "secret"', []),
    (
        '[[gateway]]\nid = "g"\neui = "0016c001ff10a235"\naddresses = ["10.0.0.1/8"]',
        [
            (
                'stoep.toml:18: addresses: an address is written "192.0.2.7", a network'
                ' "192.0.2.0/24", zeros behind the prefix'
            )
        ],
    ),
    (SOURCE, []),
    (
        SOURCE.replace("-9a57", "9a57"),
        [
            (
                "stoep.toml:18: application is the id that ChirpStack shows of it,"
                " 8-4-4-4-12 hexadecimal digits"
            )
        ],
    ),
    (
        SOURCE + 'password_file = "secret"\nca_file = "good"',
        [
            'stoep.toml:19: password_file needs "username" beside it',
            'stoep.toml:20: ca_file needs "tls = true" beside it',
        ],
    ),
    (
        '[[device]]\ndev_eui = "70b3d57ed0000002"\nsource = "cs"',
        ['stoep.toml:17: source "cs" is not a [[source]]'],
    ),
    (SOURCE + '[[device]]\ndev_eui = "70b3d57ed0000002"\nsource = "cs"', []),
    (f'[[device]]\ndev_eui = "70b3d57ed0000002"\n{ABP}', []),
    (f'[[device]]\ndev_eui = "70b3d57ed0000002"\n{ABP}\nsource = "cs"\n{SOURCE}', [ONE_WAY]),
    ('[[device]]\ndev_eui = "70b3d57ed0000002"', [ONE_WAY]),
    ('[[device]]\ndev_eui = "70b3d57ed0000002"\ndev_addr = "260b0001"', [ONE_WAY]),
    (
        '[mqtt]\nencoding = "cbor"\n[home_assistant]',
        ['stoep.toml:16: Home Assistant reads JSON alone: "json" here, or no [home_assistant]'],
    ),
    ('[mqtt]\nencoding = "cbor"', []),
    ("[home_assistant]", []),
    ('[[dispatcher]]\nid = "a"\ntoken_env = "STOEP_TOKEN"', []),
    (
        '[[dispatcher]]\nid = "a"\ntoken_file = "secret"',
        ["stoep.toml:17: token_file holds a token of 1 characters: it needs 32 to 256"],
    ),
    (
        '[[dispatcher]]\nid = "a"\ntoken_file = "good"',
        ["stoep.toml:17: token_file can be read by everybody; chmod o-rwx good"],
    ),
    (
        '[[dispatcher]]\nid = "a"\n[[dispatcher]]\nid = "a"\ntoken_env = "A"\ntoken_file = "good"',
        [
            "stoep.toml:15: [[dispatcher]] needs either token_file or token_env",
            "stoep.toml:17: [[dispatcher]] needs either token_file or token_env",
            'stoep.toml:18: id "a" is already used by the dispatcher at stoep.toml:16',
        ],
    ),
]


@pytest.mark.parametrize(("text", "expected"), NETWORK_SIDE)
def test_the_network_side(tmp_path: Path, text: str, expected: list[str]) -> None:
    for name, content, mode in (
        ("good", "x", 0o644),
        ("secret", "x", 0o640),
        ("empty", "\n", 0o600),
    ):
        (tmp_path / name).write_text(content)
        (tmp_path / name).chmod(mode)
    if not expected:
        assert load(tmp_path, stoep=f"{GOOD}\n{text}\n").site == "town"
        return
    found = mistakes(tmp_path, stoep=f"{GOOD}\n{text}\n")
    assert found == expected
    assert "1111" not in "".join(found)


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    assert load(tmp_path, stoep=f"\ufeff{GOOD}").site == "town"


HEADS = [
    ("", 'stoep.toml:1: the file needs "site", the name under which everything is published'),
    ("site = 3", "stoep.toml:1: site must be a string"),
    (
        'site = "Blan tyre"',
        (
            "stoep.toml:1: site: an id is 1 to 64 letters, digits, '.', '_' or '-'"
            ' (did you mean "Blan-tyre"?)'
        ),
    ),
    (
        'site = "t"\n\ntimezone = "Afrika/Blantyre"',
        'stoep.toml:3: timezone "Afrika/Blantyre" is not known (did you mean "Africa/Blantyre"?)',
    ),
    ('site = "t"\ntimezone = "../../etc/passwd"', None),
    ('site = "t"\ntimezone = 2', "stoep.toml:2: timezone must be a string"),
    (
        'site = "t"\nassets = "street.toml"',
        'stoep.toml:2: assets must be a list of file names, ["street.toml"]',
    ),
    (
        'site = "t"\nassets = [\n  "nope.toml", # no such file\n]',
        'stoep.toml:3: "nope.toml" cannot be read: No such file or directory',
    ),
    ('site = "t"\nsiet = 1', 'stoep.toml:2: unknown key "siet" (did you mean "site"?)'),
    (
        'site = "t"\nthreshold_pct = 70',
        'stoep.toml:2: unknown key "threshold_pct" (it belongs in [planning])',
    ),
    ("site = ", "stoep.toml:1: this is not TOML: Invalid value"),
    ('site = "t"\nsite = "u"', "stoep.toml:2: this is not TOML: this key was given before"),
]


@pytest.mark.parametrize(("text", "message"), HEADS)
def test_one_mistake_at_the_top(tmp_path: Path, text: str, message: str | None) -> None:
    found = mistakes(tmp_path, stoep=text)
    assert len(found) == 1
    assert message is None or found == [message]


def test_all_mistakes_of_all_files_in_the_order_of_their_lines(tmp_path: Path) -> None:
    street = """\
        # a comment, and a text with brackets: [[device]]
        [[container]]
        id = "a"
        name = '''
        [[bay]]
        '''
        lat = 1
        lon = 2
        capacity_l = 0
        depth_mm = 1000

        [mqtt]
        port = 1

        [[device]]
        dev_eui = "0011"
        app_key = "geheim"
        aset = "container/a"
        """
    stoep = """\
        site = "t"
        assets = ["street.toml", "street.toml"]
        [gwmp]
        port = 70000
        bnid = "0.0.0.0"
        [[device]]
        dev_eui = "70b3d57ed0000001"
        asset = "container/b"
        """
    found = mistakes(
        tmp_path,
        stoep="\n".join(line.strip() for line in stoep.splitlines()),
        street="\n".join(line.strip() for line in street.splitlines()),
    )
    assert found == [
        'stoep.toml:2: "street.toml" is listed twice',
        "stoep.toml:4: port must be at most 65535, not 70000",
        'stoep.toml:5: unknown key "bnid" in [gwmp] (did you mean "bind"?)',
        (
            'stoep.toml:6: [[device]] needs one of: "app_key" (it joins); "dev_addr", "nwk_s_key"'
            ' and "app_s_key" (ABP); "source" (another network server\'s)'
        ),
        'stoep.toml:8: asset "container/b" is not an asset (did you mean "container/a"?)',
        "street.toml:9: capacity_l must be greater than 0, not 0",
        'street.toml:12: "mqtt" belongs in the main file',
        "street.toml:16: dev_eui: an EUI is a string of 16 hexadecimal digits",
        "street.toml:17: app_key: a key is a string of 32 hexadecimal digits",
        'street.toml:18: unknown key "aset" in [[device]] (did you mean "asset"?)',
    ]


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        config.load(tmp_path / "stoep.toml")
    (tmp_path / "stoep.toml").write_bytes(b'site = "a"\nx = "\xff"\n')
    with pytest.raises(ConfigError, match=r"stoep\.toml:2: is not UTF-8 text"):
        config.load(tmp_path / "stoep.toml")


SECRET = "5ec2e75ec2e75ec2e75ec2e75ec2e7"


@pytest.mark.parametrize(
    "text",
    [
        f'site = "a"\n[[device]]\ndev_eui = "70b3d57ed0000001"\napp_key = "{SECRET}"',
        f'site = "a"\n[[device]]\ndev_eui = "{SECRET}"\napp_key = "{SECRET}00"',
        f'site = "a"\n[[device]]\ndev_eui = "70b3d57ed0000001"\nappkey = "{SECRET}"',
        f'site = "a"\n[mqtt]\npassword = "{SECRET}"',
        f'site = "a"\n[mqtt]\nport = "{SECRET}"',
        f'site = "a"\n[[device]]\ndev_eui = "70b3d57ed0000001"\napp_key = ["{SECRET}"]',
        f'site = "a"\n[[device]]\ndev_eui = "70b3d57ed0000001"\napp_key = {{ x = "{SECRET}" }}',
        f'site = "a"\n[[device]]\ndev_eui = "70b3d57ed0000001"\napp_key = "{SECRET}',
    ],
)
def test_a_secret_is_never_repeated(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path, stoep=text)
    assert SECRET not in str(raised.value)
    assert SECRET not in repr(raised.value)


def test_keys_are_not_in_the_repr(tmp_path: Path) -> None:
    loaded = load(tmp_path, stoep=GOOD)
    assert loaded.devices[0].app_key == bytes.fromhex("00112233445566778899aabbccddeeff")
    for text in (repr(loaded), str(loaded)):
        assert "00112233" not in text
        assert repr(loaded.devices[0].app_key) not in text


def test_the_password_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("p\u00e4ss wort\nand more\n", encoding="utf-8")
    loaded = load(tmp_path, stoep='site = "a"\n[mqtt]\nusername = "u"\npassword_file = "secret"\n')
    assert config.mqtt_password(loaded.mqtt) == "p\u00e4ss wort"
    (tmp_path / "secret").unlink()
    with pytest.raises(ConfigError, match="cannot be read"):
        config.mqtt_password(loaded.mqtt)
    assert config.mqtt_password(config.MqttConfig()) is None


def test_the_password_may_be_a_credential_of_systemd(tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    known = config.MqttConfig(username="u")
    assert config.mqtt_password(known, environ) is None
    (tmp_path / "mqtt-password").write_text("of systemd\n")
    assert config.mqtt_password(known, environ) == "of systemd"
    assert config.mqtt_password(known, {}) is None
    assert config.mqtt_password(config.MqttConfig(), environ) is None
    (tmp_path / "other").write_text("of the file\n")
    written = load(tmp_path, stoep='site = "a"\n[mqtt]\nusername = "u"\npassword_file = "other"\n')
    assert config.mqtt_password(written.mqtt, environ) == "of the file"


PLANNED = """\
site = "t"
[planning]
distances = "distances.csv"
[[truck]]
id = "t"
capacity_l = 1
depot = "yard"
disposal = "dump"
[[place]]
id = "yard"
kind = "depot"
lat = 1
lon = 1
distance_index = 1
[[place]]
id = "dump"
kind = "disposal"
lat = 1
lon = 1
distance_index = 3
"""


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (
            "FROM_ID,TO_ID,DIST_KM\n1,2,3\n2,1,4\n",
            ["stoep.toml:20: distance_index 3 is not in distances.csv"],
        ),
        ("FROM,TO\n", ["distances.csv:1: the first line must be FROM_ID,TO_ID,DIST_KM"]),
        (
            "FROM_ID,TO_ID,DIST_KM\n1,3,3\n",
            ["distances.csv: the distance from 3 to 1 is missing"],
        ),
        (
            "FROM_ID,TO_ID,DIST_KM\n1,3,3\n3,1,3\n4,1,3\n",
            [
                "distances.csv: the distance from 1 to 4 is missing",
                "distances.csv: the distance from 3 to 4 is missing",
                "distances.csv: the distance from 4 to 3 is missing",
            ],
        ),
        (
            "FROM_ID,TO_ID,DIST_KM\n1,3,3\n1,4,3\n3,1,3\n3,4,4\n4,4,0\n",
            ["distances.csv: the distances from 4 to 1 and to 1 more are missing"],
        ),
        ("x" * 200_000, ["stoep.toml:3: distances is not a table (CSV) in UTF-8 text"]),
        (
            "FROM_ID,TO_ID,DIST_KM\n1,3,x\n1,a,2\n\n1,2\n3,1,-1\n1,3,inf\n1,3,1\n1,3,1\n3,1,1\n",
            [
                "distances.csv:2: DIST_KM must be a number",
                "distances.csv:3: FROM_ID and TO_ID must be whole numbers",
                "distances.csv:5: a row has 3 values, this one 2",
                "distances.csv:6: DIST_KM must be between 0 and 20000",
                "distances.csv:7: DIST_KM must be between 0 and 20000",
                "distances.csv:9: 1 to 3 is given twice",
            ],
        ),
        (
            "FROM_ID,TO_ID,DIST_KM\n1,3,2\n3,1,2\n3,3,0.1\n",
            ["distances.csv:4: the distance from 3 to itself is 0, or left out"],
        ),
    ],
)
def test_mistakes_in_the_table_of_distances(
    tmp_path: Path, table: str, expected: list[str]
) -> None:
    (tmp_path / "distances.csv").write_text(table, encoding="utf-8")
    assert mistakes(tmp_path, stoep=PLANNED) == expected


def test_a_table_of_distances(tmp_path: Path) -> None:
    table = "\ufeffFROM_ID,TO_ID,DIST_KM\n1,3,2.5\n3,1,4\n"
    (tmp_path / "distances.csv").write_text(table, encoding="utf-8")
    distances = load(tmp_path, stoep=PLANNED).distances
    assert distances is not None
    assert distances.km == {1: {3: 2.5, 1: 0.0}, 3: {1: 4.0, 3: 0.0}}


def test_a_map_of_roads_that_is_not_there_is_told(tmp_path: Path) -> None:
    gone = PLANNED.replace('distances = "distances.csv"', 'roads = "town.osm.pbf"')
    gone = gone.replace("distance_index", "# distance_index")
    assert load(tmp_path, stoep=gone).warnings == (
        f"{tmp_path}/stoep.toml:3: roads is not there, so distances are estimated",
    )
    (tmp_path / "town.osm.pbf").touch()
    assert load(tmp_path, stoep=gone).warnings == ()
    both = gone.replace("[[truck]]", 'osrm = "http://127.0.0.1:5000"\n[[truck]]')
    (mistake,) = mistakes(tmp_path, stoep=both)
    assert mistake.endswith('"roads" and "osrm" are two answers to one question: leave one out')


# Several files.


def drop_in(folder: Path, name: str, text: str) -> None:
    (folder / "conf.d").mkdir(exist_ok=True)
    (folder / "conf.d" / name).write_text(text, encoding="utf-8")


def test_files_of_conf_d_overrule_in_the_order_of_their_names(tmp_path: Path) -> None:
    drop_in(tmp_path, "20-broker.toml", '[mqtt]\nport = 2\nusername = "b"\n')
    drop_in(tmp_path, "10-broker.toml", '[mqtt]\nport = 1\nhost = "broker"\n')
    drop_in(tmp_path, "30-place.toml", 'site = "village"\ntimezone = "Africa/Blantyre"\n')
    drop_in(tmp_path, "notes.txt", "no TOML at all")
    loaded = load(tmp_path, stoep=f"{GOOD}[mqtt]\nport = 3\nkeepalive_s = 9\n")
    assert (loaded.mqtt.port, loaded.mqtt.host) == (2, "broker")
    assert (loaded.mqtt.username, loaded.mqtt.keepalive_s) == ("b", 9)
    assert loaded.site == "village"
    assert loaded.timezone.key == "Africa/Blantyre"
    names = ["stoep.toml", "10-broker.toml", "20-broker.toml", "30-place.toml"]
    assert [file.name for file in loaded.files] == names


def test_lists_of_conf_d_add_up_and_so_do_the_files_they_name(tmp_path: Path) -> None:
    bay = '[[bay]]\nid = "{}"\nlat = 1\nlon = 2\nstreet = "S"\n'
    drop_in(tmp_path, "bays.toml", 'assets = ["more.toml"]\n' + bay.format("b1"))
    (tmp_path / "conf.d" / "more").mkdir()
    drop_in(tmp_path, "more.toml", "")
    (tmp_path / "conf.d" / "more.toml").write_text(bay.format("b2"))
    found = mistakes(tmp_path, stoep=f"{GOOD}{bay.format('b0')}")
    assert found == ['conf.d/more.toml:2: id "b2" is already used by the bay at conf.d/more.toml:2']
    drop_in(tmp_path, "bays.toml", 'assets = ["../more.toml"]\n' + bay.format("b1"))
    (tmp_path / "conf.d" / "more.toml").unlink()
    (tmp_path / "more.toml").write_text(bay.format("b2"))
    loaded = load(tmp_path, stoep=f"{GOOD}{bay.format('b0')}")
    assert [bay.id for bay in loaded.bays] == ["b0", "b1", "b2"]


def test_a_mistake_names_the_file_and_the_line_that_it_is_in(tmp_path: Path) -> None:
    drop_in(tmp_path, "a.toml", "[mqtt]\n\nport = 0\n[adr]\nmin_dr = 4\n")
    drop_in(tmp_path, "b.toml", '[[container]]\nid = "a"\nlat = 1\nlon = 2\n[mqqt]\n')
    drop_in(tmp_path, "c.toml", "this is not\n")
    found = mistakes(tmp_path, stoep=f"{GOOD}[mqtt]\nhost = 7\n[adr]\nmax_dr = 3\n")
    assert found == [
        "stoep.toml:15: host must be a string",
        "conf.d/a.toml:3: port must be at least 1, not 0",
        "conf.d/a.toml:5: min_dr (4) is more than max_dr (3)",
        'conf.d/b.toml:1: [[container]] needs "capacity_l"',
        'conf.d/b.toml:1: [[container]] needs "depth_mm"',
        'conf.d/b.toml:2: id "a" is already used by the container at stoep.toml:4',
        'conf.d/b.toml:5: unknown key "mqqt" (did you mean "mqtt"?)',
        "conf.d/c.toml:1: this is not TOML: Expected '=' after a key in a key/value pair",
    ]


def test_paths_start_from_the_file_that_says_them(tmp_path: Path) -> None:
    drop_in(tmp_path, "secret", "x")
    drop_in(tmp_path, "a.toml", '[mqtt]\nusername = "a"\npassword_file = "secret"\n')
    loaded = load(tmp_path, stoep=f'{GOOD}[mqtt]\nport = 5\n[store]\npath = "db/it"\n')
    assert loaded.mqtt.password_file == tmp_path / "conf.d" / "secret"
    assert loaded.store.path == tmp_path / "db" / "it"
    drop_in(tmp_path, "b.toml", "[store]\n")
    assert load(tmp_path, stoep=GOOD).store.path == tmp_path / "stoep.db"


# What stops nothing.

HARMLESS = [
    (
        "[planning]\nenabled = false\nthresold_pct = 9",
        (
            'stoep.toml:17: unknown key "thresold_pct" in [planning]'
            ' (did you mean "threshold_pct"?); ignored'
        ),
    ),
    ("[zzz]", 'stoep.toml:15: unknown key "zzz"'),
    (
        "[adr]\nmargn_db = 3",
        ('stoep.toml:16: unknown key "margn_db" in [adr] (did you mean "margin_db"?); ignored'),
    ),
    (
        "[[bay]]\nid = 'b'\nlat = 1\nlon = 2\nstreet = 'S'\nname = ''\ncolour = 'red'",
        (
            "stoep.toml:20: name must not be empty; ignored\n"
            'stoep.toml:21: unknown key "colour" in [[bay]]; ignored'
        ),
    ),
    (
        "[[container]]\nid = 'b'\nlat = 1\nlon = 2\ncapacity_l = 1\ndepth_mm = 9\nfraction = 3",
        "stoep.toml:21: fraction must be a string; ignored",
    ),
    (
        "[[container]]\nid = 'b'\nlat = 1\nlon = 2\ncapacity_l = 1\ndepth_mm = 9\ndead_zone_mm = 3",
        "stoep.toml:15: its sensor sees no level above 66.7 %, and it is due at 80 %",
    ),
    (
        "[[gateway]]\nid = 'g'\neui = '0016c001ff10a235'\nlat = 91",
        "stoep.toml:18: lat must be at most 90, not 91; ignored",
    ),
    (
        "[[device]]\ndev_eui = '70b3d57ed0000002'\napp_key = '" + "11" * 16 + "'\nname = ' '",
        "stoep.toml:18: name: a name must not be empty; ignored",
    ),
    (
        "[store]\nkeep_uplinks_days = 7",
        (
            "stoep.toml:16: [store] keep_uplinks_days is [retention] uplinks_days now:"
            ' "stoep gateway check --fix" writes it there'
        ),
    ),
]


@pytest.mark.parametrize(("text", "warnings"), HARMLESS)
def test_what_harms_nobody_is_left_out_and_told(tmp_path: Path, text: str, warnings: str) -> None:
    loaded = load(tmp_path, stoep=f"{GOOD}\n{text}\n")
    assert [it.replace(f"{tmp_path}/", "") for it in loaded.warnings] == warnings.splitlines()


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    bay = "[[bay]]\nid = 'b'\nlat = 1\nlon = 2\nstreet = 'S'\nname = 7\n"
    loaded = load(
        tmp_path, stoep=GOOD + bay + "[planning]\nenabled = false\nat_ = 1\nspeed_kmh = 5"
    )
    assert loaded.bays[0].name is None
    assert loaded.planning.speed_kmh == 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[mqtt]\ntsl = true", 'unknown key "tsl" in [mqtt] (did you mean "tls"?)'),
        ("[mqtt]\ncolour = 1", 'unknown key "colour" in [mqtt]'),
        (
            "[[gateway]]\nid = 'g'\neui = '0016c001ff10a235'\nadresses = ['10.0.0.1']",
            'unknown key "adresses" in [[gateway]] (did you mean "addresses"?)',
        ),
        ("[lorawan]\nregoin = 'US915'", 'unknown key "regoin" in [lorawan]'),
        ("[store]\nkeyfile = 'k'", 'unknown key "keyfile" in [store] (did you mean "key_file"?)'),
        ("[retention]\nbay_uplink_h = 1", 'unknown key "bay_uplink_h" in [retention]'),
        ("[control]\ngruop = 'a'", 'unknown key "gruop" in [control] (did you mean "group"?)'),
        ("[htpp]", 'unknown key "htpp" (did you mean "http"?)'),
    ],
)
def test_a_misspelt_key_that_guards_something_is_a_mistake(
    tmp_path: Path, text: str, message: str
) -> None:
    (found,) = mistakes(tmp_path, stoep=f"{GOOD}\n{text}\n")
    assert message in found


# Keys that have moved.


def test_a_moved_key_is_read_and_the_new_one_wins(tmp_path: Path) -> None:
    assert (
        load(tmp_path, stoep=f"{GOOD}[store]\nkeep_uplinks_days = 7\n").retention.uplinks_days == 7
    )
    both = f"{GOOD}[store]\nkeep_uplinks_days = 7\n[retention]\nuplinks_days = 8\n"
    assert load(tmp_path, stoep=both).retention.uplinks_days == 8
    wrong = mistakes(tmp_path, stoep=f"{GOOD}[store]\nkeep_uplinks_days = 0\n")
    assert wrong == ["stoep.toml:15: uplinks_days must be at least 1, not 0"]


REWRITTEN = [
    (
        "[store]\npath = 'a'\nkeep_uplinks_days = 7  # a week\n# end\n[mqtt]\nport = 1\n",
        (
            "[store]\npath = 'a'\n# end\n[mqtt]\nport = 1\n"
            "\n[retention]\nuplinks_days = 7  # a week\n"
        ),
    ),
    (
        "[retention]  # short\nbay_uplinks_h = 1\n[store]\n  keep_uplinks_days=7",
        "[retention]  # short\n  uplinks_days=7\nbay_uplinks_h = 1\n[store]\n",
    ),
    ("store = { keep_uplinks_days = 7 }\n", None),
    ("store.keep_uplinks_days = 7\n", None),
    ("[store]\n[mqtt]\n# keep_uplinks_days = 7\n", None),
    ("[store]\nkeep_uplinks_days = 7\n[retention]\nuplinks_days = 8\n", None),
]


@pytest.mark.parametrize(("text", "expected"), REWRITTEN)
def test_a_moved_key_is_rewritten_with_its_comment(text: str, expected: str | None) -> None:
    new, done = config_fix.rewritten(text)
    assert new == (text if expected is None else expected)
    assert bool(done) == (expected is not None)
    assert config_fix.rewritten(new) == (new, [])


def test_check_fix_copies_the_file_first(tmp_path: Path, capsys) -> None:
    text = f"{GOOD}[store]\nkeep_uplinks_days = 7\n"
    file = tmp_path / "stoep.toml"
    file.write_text(text)
    file.chmod(0o600)
    assert main(["check", "--config", str(file), "--strict"]) == 2
    assert "warning: " in capsys.readouterr().err
    assert main(["check", "--config", str(file), "--strict", "--fix"]) == 0
    assert "is now [retention] uplinks_days" in capsys.readouterr().out
    assert file.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "stoep.toml.before-fix-1").read_text() == text
    loaded = config.load(file)
    assert loaded.retention.uplinks_days == 7
    assert loaded.warnings == ()


def test_check_shows_what_is_in_force_and_where_it_stands(tmp_path: Path, capsys) -> None:
    drop_in(tmp_path, "a.toml", "[mqtt]\nport = 5\n")
    file = tmp_path / "stoep.toml"
    file.write_text(f"{GOOD}[store]\nkeep_uplinks_days = 7\n")
    assert main(["check", "--config", str(file), "--show"]) == 0
    out = capsys.readouterr().out.replace(f"{tmp_path}/", "")
    assert "port = 5  # conf.d/a.toml:2\n" in out
    assert 'host = "127.0.0.1"  # default\n' in out
    assert "uplinks_days = 7  # stoep.toml:15\n" in out
    assert "# [http] is not there" in out
    assert "[[device]]  # stoep.toml:10\n" in out
    assert 'app_key = "(secret)"' in out
    assert "00112233445566778899aabbccddeeff" not in out
    tomllib.loads(out)
    assert main(["check", "--config", str(file)]) == 0
    out = capsys.readouterr().out.replace(f"{tmp_path}/", "")
    assert out.endswith("read with it: conf.d/a.toml\n")


def test_a_file_without_end_is_refused_and_not_read_to_its_end(tmp_path: Path) -> None:
    file = tmp_path / "stoep.toml"
    file.symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="is larger than 64 MB"):
        config.load(file)
