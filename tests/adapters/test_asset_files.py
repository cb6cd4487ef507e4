"""Containers and places from the spreadsheets and maps that cities have."""

import datetime
import json
import os
import random
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stoep_gateway import config
from stoep_gateway.assets import rd
from stoep_gateway.assets.sheets import read_csv, read_geojson
from stoep_gateway.cli import main
from stoep_gateway.config_positions import zone_point
from stoep_gateway.errors import ConfigError
from stoep_gateway.keeping import backup
from stoep_gateway.planning.distances import straight_line_km

TOWN = """\
site = "town"
timezone = "Europe/Amsterdam"

[[asset_file]]
path = "bins.csv"
"""
CITY = (
    TOWN
    + """\
clean_ids = true
columns = { id = "Objectnr.", capacity_l = "Inhoud (l)", rd_x = "X", rd_y = "Y", name = "straat" }
values = { fraction = { Restafval = "residual", GFT = "organic" } }
defaults = { depth_mm = 2000, kind = "underground" }
"""
)
HEADING = "Objectnr.;Inhoud (l);X;Y;Straat;Eigenaar;fraction;emptied_on;windows\r\n"


def write(folder: Path, **files: str | bytes) -> Path:
    for name, content in files.items():
        path = folder / name.replace("_", ".")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / "stoep.toml"


def load(folder: Path, **files: str | bytes) -> config.Config:
    return config.load(write(folder, **files))


def mistakes(folder: Path, **files: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(folder, **files)
    return [str(it).replace(f"{folder}/", "") for it in raised.value.mistakes]


MISTAKES = """\
stoep.toml:14: unknown key "prot" in [http] (did you mean "port"?)
bins.csv:2: capacity_l must be a whole number; write it without "." or "," between thousands \
(column B, "Inhoud (l)")
bins.csv:3: fraction "Rest" is not in values.fraction (did you mean "Restafval"?) \
(column G, "fraction")
bins.csv:3: rd_x and rd_y are swapped (column C, "X")
bins.csv:3: capacity_l must be greater than 0, not -1 (column B, "Inhoud (l)")
bins.csv:4: "rd_x" and "rd_y" are two numbers, metres of RD New (EPSG:28992) (column D, "Y")
bins.csv:4: emptied_on must be "mon" or "tue" or "wed" or "thu" or "fri" or "sat" or "sun" \
(column H, "emptied_on")
bins.csv:4: [[container]] needs "capacity_l" (column B, "Inhoud (l)")
bins.csv:4: windows: a time of day is written "HH:MM" (column I, "windows")
bins.csv:4: id "a" is already used by the container at bins.csv:2 (column A, "Objectnr.")
bins.csv:5: has 10 values, and the heading 9: a value with ';' is in quotes
sites.geojson:2: kind must be "depot" or "disposal" (did you mean "depot"?) (feature 1, "kind")
sites.geojson:3: lat and lon are swapped: 52.4, 4.9 is in Europe/Amsterdam (feature 2)
sites.geojson:4: its geometry is no Point (feature 3)"""


class TestRd:
    # The Kadaster's own points to test RDNAPTRANS with.
    @pytest.mark.parametrize(
        ("x", "y", "lat", "lon"),
        [
            (117380.1200, 575040.3400, 53.160753042, 4.824761912),
            (247380.5600, 604580.7800, 53.419482050, 6.776726674),
            (155000.0000, 463000.0000, 52.155172897, 5.387203657),
            (16460.9100, 377380.2300, 51.368607152, 3.397588595),
            (182260.4500, 311480.6700, 50.792584916, 5.773795548),
            (64640.8900, 440700.0101, 51.947393898, 4.072887101),
        ],
        ids=["Texel", "Groningen", "Amersfoort", "Zeeuws-Vlaanderen", "Limburg", "Maasvlakte"],
    )
    def test_it_is_within_half_a_metre_of_published_points(self, x, y, lat, lon):
        assert rd.is_in_grid(x, y)
        assert straight_line_km(*rd.to_wgs84(x, y), lat, lon) < 0.0005

    def test_nothing_that_may_be_degrees_is_in_the_grid(self):
        assert not rd.is_in_grid(52.0, 5.0)
        assert not rd.is_in_grid(463000, 155000)


class TestCsv:
    def test_a_table_with_our_own_names(self, tmp_path):
        loaded = load(
            tmp_path,
            stoep_toml=TOWN,
            bins_csv="id,lat,lon,capacity_l,depth_mm,trucks\na,52.1,5.1,1100,1200,\n",
        )
        assert [it.id for it in loaded.containers] == ["a"]
        assert loaded.containers[0].capacity_l == 1100

    def test_a_spreadsheet_as_a_dutch_city_exports_it(self, tmp_path, capsys):
        text = (
            "\ufeff"
            + HEADING
            + "REST/001;5000;121687;487484,5;Dam;gemeente;Restafval;ma, do;"
            + "07:00-09:30|18:00-20:00\r\n"
            + ";;;;;;;;\r\n"
            + 'GFT 002;240,0;121700;487500;"Kerk\nstraat";;gft;;\r\n'
        )
        path = write(tmp_path, stoep_toml=CITY, bins_csv=text)
        loaded = config.load(path)
        first, second = loaded.containers
        assert (first.id, second.id) == ("REST-001", "GFT-002")
        assert (first.name, second.name) == ("Dam", "Kerk straat")
        assert (first.capacity_l, second.capacity_l) == (5000, 240)
        assert (first.fraction, second.fraction) == ("residual", "organic")
        assert first.kind == second.kind == "underground"
        assert straight_line_km(first.lat, first.lon, 52.37422, 4.89801) < 0.001
        assert first.emptied_on == ["mon", "thu"]
        assert first.windows[1] == (datetime.time(18), datetime.time(20))
        assert main(["check", "--config", str(path)]) == 0
        assert "bins.csv: 2 [[container]]; not used: Eigenaar" in capsys.readouterr().out
        assert main(["check", "--show", "--config", str(path)]) == 0
        assert 'windows = ["07:00-09:30", "18:00-20:00"]' in capsys.readouterr().out

    def test_every_mistake_of_all_files_is_told_at_once_with_line_and_column(self, tmp_path):
        found = mistakes(
            tmp_path,
            stoep_toml=CITY
            + '[[asset_file]]\npath = "sites.geojson"\nof = "place"\n[http]\nprot = 1\n',
            bins_csv=HEADING
            + "a;5.000;121687;487484;;;Restafval;;\r\n"
            + "b;-1;487484;121687;;;Rest;zo, za;\r\n"
            + "a;;121687;veel;;;;zz;9-10\r\n"
            + "c;1;2;3;4;5;6;7;8;9\r\n",
            sites_geojson='{"type": "FeatureCollection", "features": [\n'
            '{"properties": {"id": "yard", "kind": "depto"},'
            ' "geometry": {"type": "Point", "coordinates": [4.9, 52.4]}},\n'
            '{"properties": {"id": "dump", "kind": "disposal"},'
            ' "geometry": {"type": "Point", "coordinates": [52.4, 4.9]}},\n'
            '{"properties": {"id": "hole", "kind": "disposal"},'
            ' "geometry": {"type": "Polygon", "coordinates": []}}]}\n',
        )
        assert "\n".join(found) == MISTAKES

    def test_what_all_rows_lack_is_told_once(self, tmp_path):
        text = "id;latitude;lon;capacty_l\n" + "".join(f"c{n};52;5;1\n" for n in range(30))
        assert mistakes(tmp_path, stoep_toml=TOWN, bins_csv=text) == [
            f'bins.csv:1: has no column "{key}"{hint}: say in [[asset_file]] under which heading it'
            f' is, columns = {{ {key} = "..." }}, or the same for all, defaults = {{ {key} = ... }}'
            for key, hint in (("capacity_l", ' (did you mean "capacty_l"?)'), ("depth_mm", ""))
        ]

    def test_of_many_alike_the_first_are_told_and_a_count(self, tmp_path):
        text = "id;lat;lon;capacity_l;depth_mm\n"
        text += "".join(f"c{n};52;5;{-n};1000\n" for n in range(1000))
        found = mistakes(tmp_path, stoep_toml=TOWN, bins_csv=text)
        assert len(found) == 11
        assert found[0].startswith("bins.csv:2: capacity_l must be greater than 0, not 0")
        assert found[10] == "bins.csv:11: and 990 more like this"

    def test_mistakes_of_the_mapping_are_told_at_its_line(self, tmp_path):
        text = (
            TOWN
            + """\
columns = { id = "Nummer", capcity_l = "Inhoud" }
values = { kidn = { a = "b" } }
defaults = { depth_mm = -5, lvel = "flaps" }
"""
        )
        found = mistakes(
            tmp_path, stoep_toml=text, bins_csv="Numer,lat,lon,capacity_l\na,52,5,1\nb,52,5,1\n"
        )
        assert found == [
            'stoep.toml:6: columns: [[container]] has no "capcity_l" (did you mean "capacity_l"?)',
            'stoep.toml:6: columns: bins.csv has no "Nummer" (did you mean "Numer"?)',
            'stoep.toml:7: values: [[container]] has no "kidn" (did you mean "kind"?)',
            'stoep.toml:8: defaults: [[container]] has no "lvel" (did you mean "level"?)',
            "stoep.toml:8: defaults: depth_mm must be greater than 0, not -5",
        ]

    @pytest.mark.parametrize(
        ("data", "said"),
        [
            (b"id;naam\na;caf\xe9\n", ":2: is not utf-8 text"),
            (b"", ": is empty"),
            (b'id;lat\n"a";"52', ":2: this is not a table"),
            (b"id;lat;lat\n", ':1: "lat" is the heading of more than one column'),
            (b"PK\x03\x04\x14\0\xff", ": is a workbook"),
            ("id;lat\na;52\n".encode("utf-16-le"), ":1: is no text, or UTF-16 without its mark"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_told(self, tmp_path, data, said):
        assert any(
            it.startswith(f"bins.csv{said}")
            for it in mistakes(tmp_path, stoep_toml=TOWN, bins_csv=data)
        )

    def test_a_pipe_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "bins.csv")
        assert mistakes(tmp_path, stoep_toml=TOWN) == [
            "stoep.toml:5: path is a pipe, and no file",
        ]

    @pytest.mark.parametrize("name", ["bins.csv", "bins.geojson"])
    def test_a_file_without_a_row_is_a_warning(self, tmp_path, name):
        text = "id;lat\n" if name == "bins.csv" else '{"type": "FeatureCollection", "features": []}'
        toml = TOWN.replace("bins.csv", name)
        loaded = load(tmp_path, stoep_toml=toml, **{name.replace(".", "_"): text})
        assert loaded.warnings == (f"{tmp_path}/{name}: has not one [[container]]",)

    def test_a_title_above_the_heading_is_told(self, tmp_path):
        toml = TOWN + 'columns = { id = "Nummer" }\n'
        told = mistakes(tmp_path, stoep_toml=toml, bins_csv="\nGemeente X;;\nNummer;lat;lon\n")[0]
        assert told.endswith('has no "Nummer"; its heading is line 2, the first that is not empty')

    def test_other_encodings_and_a_file_that_is_not_there(self, tmp_path):
        head = "id,name,lat,lon,capacity_l,depth_mm\na,Café,52,5,1,1\n"
        latin = load(
            tmp_path, stoep_toml=TOWN + 'encoding = "cp1252"\n', bins_csv=head.encode("cp1252")
        )
        unicode_text = load(tmp_path, stoep_toml=TOWN, bins_csv=head.encode("utf-16"))
        assert latin.containers[0].name == unicode_text.containers[0].name == "Café"
        (tmp_path / "bins.csv").unlink()
        with pytest.raises(ConfigError, match=r"stoep.toml:5: path cannot be read: No such file"):
            config.load(tmp_path / "stoep.toml")

    def test_a_file_is_named_once_and_read_though_its_encoding_is_another(self, tmp_path):
        table = "\ufeffid,name,lat,lon,capacity_l,depth_mm\na,Café,52,5,1,1\n"
        toml = TOWN + 'encoding = "cp1252"\n'
        assert load(tmp_path, stoep_toml=toml, bins_csv=table).containers[0].name == "Café"
        twice = toml + '[[asset_file]]\npath = "bins.csv"\n'
        assert mistakes(tmp_path, stoep_toml=twice, bins_csv=table) == [
            "stoep.toml:8: path is that of another one"
        ]

    def test_lesser_mistakes_are_warnings(self, tmp_path):
        toml = (
            TOWN + '[[container]]\nid="z"\nlat=52\nlon=5\ncapacity_l=1\ndepth_mm=1\nkind="skip"\n'
        )
        loaded = load(
            tmp_path,
            stoep_toml=toml + '[[kind]]\nid = "skip"\n',
            bins_csv="id,lat,lon,capacity_l,depth_mm,kind,fraktion\na,52,5,1,1,Skip,x\nb,52,5,1,1,a/b,x\n",
        )
        assert "\n".join(it.removeprefix(f"{tmp_path}/") for it in loaded.warnings) == (
            'bins.csv:1: nothing is read from "fraktion" (did you mean "fraction"?)\n'
            'bins.csv:2: kind "Skip" has no [[kind]] (did you mean "skip"?) (column F, "kind")\n'
            "bins.csv:3: kind: an id is 1 to 64 letters, digits, '.', '_' or '-' (did you mean"
            ' "a-b"?); ignored (column F, "kind")'
        )


class TestGeojson:
    def feature(self, x, y, **properties):
        return {
            "type": "Feature",
            "properties": properties,
            "geometry": {"type": "Point", "coordinates": [x, y]},
        }

    def load(self, folder, *features, **members):
        text = json.dumps({"type": "FeatureCollection", **members, "features": features})
        toml = TOWN.replace("bins.csv", "sites.geojson") + 'of = "place"\n'
        return load(folder, stoep_toml=toml, sites_geojson=text).places

    def test_points_and_their_properties(self, tmp_path):
        yard = self.feature(4.9, 52.4, id=7, kind="depot", open="07:00-16:00", colour=None)
        (place,) = self.load(tmp_path, yard)
        assert (place.id, place.lat, place.lon) == ("7", 52.4, 4.9)
        assert place.open == (datetime.time(7), datetime.time(16))

    @pytest.mark.parametrize(
        "crs",
        [
            None,
            "urn:ogc:def:crs:EPSG::28992",
            "urn:ogc:def:crs:EPSG:6.18:28992",
            "http://www.opengis.net/def/crs/EPSG/0/7415",
        ],
    )
    def test_points_in_the_dutch_grid(self, tmp_path, crs):
        members = {} if crs is None else {"crs": {"properties": {"name": crs}}}
        (place,) = self.load(
            tmp_path, self.feature(155000, 463000, id="a", kind="depot"), **members
        )
        assert straight_line_km(place.lat, place.lon, 52.155172897, 5.387203657) < 0.0005

    def test_coordinates_of_another_system_are_told_once(self, tmp_path):
        features = [self.feature(545000, 6868000, id=it, kind="depot") for it in "ab"]
        with pytest.raises(ConfigError) as raised:
            self.load(tmp_path, *features, crs={"properties": {"name": "EPSG:3857"}})
        (told,) = raised.value.mistakes
        assert "its crs is EPSG:3857: save it with WGS 84" in str(told)

    @pytest.mark.parametrize(
        "name", ["urn:ogc:def:crs:OGC:1.3:CRS84", "http://www.opengis.net/def/crs/OGC/1.3/CRS84"]
    )
    def test_degrees_by_the_names_that_programs_have_for_them(self, tmp_path, name):
        yard = self.feature(4.9, 52.4, id="a", kind="depot")
        (place,) = self.load(tmp_path, yard, crs={"properties": {"name": name}})
        assert (place.lat, place.lon) == (52.4, 4.9)

    @pytest.mark.parametrize(
        ("geometry", "said"),
        [
            (None, "[[place]] needs a place: it has no geometry, a Point"),
            ({"type": "LineString", "coordinates": [[4, 52], [5, 52]]}, "its geometry is no Point"),
            ({"type": "Point", "coordinates": []}, "the coordinates of its Point are not"),
        ],
    )
    def test_features_that_are_no_point_are_told_each_in_a_line(self, tmp_path, geometry, said):
        odd = {"type": "Feature", "properties": {"id": "a", "kind": "depot"}, "geometry": geometry}
        with pytest.raises(ConfigError) as raised:
            self.load(tmp_path, odd)
        (told,) = raised.value.mistakes
        assert f"sites.geojson:1: {said}" in str(told)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('{"type":\n"FeatureCollection", "features": [\n{"a": }]}', ":3: this is not JSON"),
            ('{"type": "Feature"}', ":1: is no GeoJSON of type"),
            ("[" * 100_000, ":1: this is not JSON"),
            (
                '{"type": "FeatureCollection", "features": []}\n{}',
                ":2: this is not JSON: something",
            ),
            ('{"type": "FeatureCollection", "features": {}}', ":1: this is not JSON"),
        ],
    )
    def test_what_is_no_geojson_is_told(self, tmp_path, text, said):
        toml = TOWN.replace("bins.csv", "sites.geojson")
        (found,) = mistakes(tmp_path, stoep_toml=toml, sites_geojson=text)
        assert found.startswith(f"sites.geojson{said}")


class TestSwapped:
    BAY = '[[bay]]\nid = "{}"\nstreet = "s"\nlat = {}\nlon = {}\n'

    def bays(self, *points):
        return "".join(self.BAY.format(f"b{n}", *it) for n, it in enumerate(points))

    def test_by_the_time_zone_though_all_are(self, tmp_path):
        head = 'site = "town"\ntimezone = "Europe/Amsterdam"\n'
        found = mistakes(tmp_path, stoep_toml=head + self.bays((5.1, 52.1), (5.2, 52.2)))
        assert found == [
            "stoep.toml:6: lat and lon are swapped: 52.1, 5.1 is in Europe/Amsterdam",
            "stoep.toml:11: lat and lon are swapped: 52.2, 5.2 is in Europe/Amsterdam",
        ]

    def test_by_the_other_places_where_no_zone_tells(self, tmp_path):
        points = [(-15.82, 35.08), (-15.83, 35.09), (35.08, -15.82)]
        (found,) = mistakes(tmp_path, stoep_toml='site = "town"\n' + self.bays(*points))
        assert "stoep.toml:15: lat and lon are swapped: -15.82, 35.08 is near" in found

    def test_the_zones_are_known_without_the_systems_own(self, monkeypatch):
        monkeypatch.setattr("zoneinfo.TZPATH", ())
        assert zone_point("Europe/Amsterdam") == pytest.approx((52.37, 4.9), abs=0.01)
        assert zone_point("America/St_Johns") == pytest.approx((47.57, -52.72), abs=0.01)
        assert zone_point("UTC") is None

    def test_no_place_that_is_a_zones_own_is_taken_for_swapped(self, tmp_path):
        zones = ["Africa/Blantyre", "America/New_York", "Pacific/Auckland", "Africa/Libreville"]
        for zone in zones:
            at = zone_point(zone)
            assert at is not None
            load(tmp_path, stoep_toml=f'site = "t"\ntimezone = "{zone}"\n' + self.bays(at))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=200)
    | st.text(max_size=200).map(lambda it: it.encode("utf-8", "replace"))
    | st.lists(
        st.sampled_from(
            [
                '"',
                ";",
                ",",
                "\n",
                "\r",
                "id",
                "lat",
                "lon",
                "capacity_l",
                "1",
                "é",
                "[",
                "{",
                "}",
                ":",
                '"features"',
                '"type"',
                '"FeatureCollection"',
                "]",
                "null",
                "NaN",
                "\\ud800",
            ]
        ),
        max_size=60,
    ).map(lambda it: "".join(it).encode()),
    name=st.sampled_from(["a.csv", "a.geojson"]),
)
def test_any_octets_are_read_or_refused_with_their_place(tmp_path, data, name):
    path = write(tmp_path, stoep_toml=TOWN.replace("bins.csv", name))
    (tmp_path / name).write_bytes(data)
    try:
        config.load(path)
    except ConfigError as error:
        str(error).encode()
        lines = data.count(b"\n") + data.count(b"\r") + 1
        for it in error.mistakes:
            assert it.file in (str(path), str(tmp_path / name))
            assert it.file == str(path) or it.line <= lines


@settings(max_examples=50)
@given(st.data())
def test_a_table_says_what_was_written(data):
    cell = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8)
    rows = data.draw(st.lists(st.tuples(cell, cell), max_size=5))
    delimiter = data.draw(st.sampled_from(";,\t"))
    end = data.draw(st.sampled_from(["\n", "\r\n", "\r"]))

    def quoted(it):
        return '"' + it.replace('"', '""') + '"'

    text = "".join(delimiter.join(map(quoted, row)) + end for row in [("first", "second"), *rows])
    sheet = read_csv(text)
    assert sheet.broken is None
    expected = [
        {key: it for key, it in zip(("first", "second"), row, strict=True) if it} for row in rows
    ]
    assert [it.values for it in sheet.rows] == [it for it in expected if it]
    lines = [2 + n for n, it in enumerate(expected) if it]
    assert [it.line for it in sheet.rows] == lines


def test_the_line_of_every_feature():
    source = random.Random(1)
    gaps = [source.randrange(3) for _ in range(20)]
    text = '{"type": "FeatureCollection", "features": ['
    lines, line = [], 1
    for number, gap in enumerate(gaps):
        text += "\n" * gap + ("," if number else "") + '{"properties": {"a":\n1}}'
        line += gap
        lines.append(line)
        line += 1
    assert [it.line for it in read_geojson(text + "]}").rows] == lines


def test_a_copy_of_the_gateway_has_the_files(tmp_path):
    table = "id,lat,lon,capacity_l,depth_mm\na,52,5,1,1\n"
    loaded = load(tmp_path, stoep_toml=TOWN, bins_csv=table)
    copied = dict(backup._configuration(loaded))
    assert [Path(it).name for it in copied] == ["stoep.toml", "bins.csv"]
    assert tmp_path / "bins.csv" not in backup._left_out(loaded)


def test_the_documented_files_are_right(tmp_path, capsys, monkeypatch):
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / "assets.md").read_text(encoding="utf-8")
    tables, events = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    (console,) = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    for name in ("containers.csv", "sites.geojson"):
        (tmp_path / name).write_bytes((docs / "examples" / name).read_bytes())
    (tmp_path / "stoep.toml").write_text(tables, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    command, *printed = console.splitlines()
    assert main(command.split()[3:]) == 0
    assert capsys.readouterr().out.splitlines() == printed
    loaded = load(tmp_path, stoep_toml=tables + events)
    assert [it.emptied_on for it in loaded.containers] == [["mon", "thu"], ["wed"]]
    assert len(loaded.events) == 3
    assert not loaded.warnings
