"""How a station is told to set up its radios, against what other servers tell it."""

import json

import pytest
from stoep_gateway.forwarders.router_config import encode_router_config
from stoep_gateway.lns import channel_plan
from stoep_protocol.lorawan import regions

NO_RATE = [-1, 0, 0]


def config_of(name, *, gain=0.0, station="2.0.5", **options):
    plan = channel_plan.for_region(regions.by_name(name), **options)
    return json.loads(encode_router_config(plan, gain, station, 1_700_000_000_500))


def multi_sf(*places):
    return [{"enable": True, "radio": radio, "if": offset} for radio, offset in places]


# chirpstack/chirpstack-gateway-bridge, internal/backend/basicstation/structs/router_config_test.go:
# channels in the order of their frequencies here; FSK and EU868's DR6 channel are not ours.
CHIRPSTACK = [
    (
        {"name": "EU868", "extra_hz": ()},
        (868_500_000, 0),
        multi_sf((0, -400_000), (0, -200_000), (0, 0)),
        {"enable": False},
    ),
    (
        {"name": "EU868"},
        (867_500_000, 868_500_000),
        multi_sf(*((0, -400_000 + 200_000 * i) for i in range(5)))
        + multi_sf((1, -400_000), (1, -200_000), (1, 0)),
        {"enable": False},
    ),
    (
        {"name": "US915", "sub_band": 1},
        (902_700_000, 903_700_000),
        multi_sf(*((0, -400_000 + 200_000 * i) for i in range(5)))
        + multi_sf((1, -400_000), (1, -200_000), (1, 0)),
        {"enable": True, "radio": 0, "if": 300_000, "bandwidth": 500_000, "spread_factor": 8},
    ),
]


@pytest.mark.parametrize(("plan", "centres", "channels", "wide"), CHIRPSTACK)
def test_radios_as_another_server_sets_them(plan, centres, channels, wide):
    (setup,) = config_of(**plan)["sx1301_conf"]
    assert tuple(setup[f"radio_{radio}"]["freq"] for radio in (0, 1)) == centres
    assert [setup[f"radio_{radio}"]["enable"] for radio in (0, 1)] == [True, bool(centres[1])]
    told = [setup[f"chan_multiSF_{number}"] for number in range(8)]
    assert told == channels + [{"enable": False}] * (8 - len(channels))
    assert setup["chan_Lora_std"] == wide
    assert setup["chan_FSK"] == {"enable": False}


def test_data_rates_as_another_server_tells_them():
    assert config_of("EU868")["DRs"] == (
        [[sf, 125, 0] for sf in (12, 11, 10, 9, 8, 7)] + [[7, 250, 0]] + [NO_RATE] * 9
    )
    assert config_of("US915")["DRs"] == (
        [[sf, 125, 0] for sf in (10, 9, 8, 7)]
        + [[8, 500, 0]]
        + [NO_RATE] * 3
        + [[sf, 500, 1] for sf in (12, 11, 10, 9, 8, 7)]
        + [NO_RATE] * 2
    )


@pytest.mark.parametrize("name", ["EU868", "US915", "AU915", "AS923", "IN865"])
@pytest.mark.parametrize("sub_band", [1, 2, 8])
def test_every_region_is_heard_where_its_plan_says(name, sub_band):
    plan = channel_plan.for_region(regions.by_name(name), sub_band)
    config = config_of(name, sub_band=sub_band)
    (setup,) = config["sx1301_conf"]
    heard = {
        setup[f"radio_{it['radio']}"]["freq"] + it["if"]
        for key, it in setup.items()
        if key.startswith("chan_") and it["enable"]
    }
    assert heard == {channel.freq_hz for channel in plan.channels}
    assert all(
        abs(it["if"]) <= 400_000
        for key, it in setup.items()
        if key.startswith("chan_multiSF") and it["enable"]
    )
    low_hz, high_hz = config["freq_range"]
    assert low_hz <= plan.region.rx2_hz <= high_hz
    for channel in plan.channels:
        freq_hz, dr = plan.region.rx1(channel.freq_hz, channel.max_dr, 0)
        assert low_hz <= freq_hz <= high_hz
        assert config["DRs"][dr][0] > 0
    assert (config["NetID"], config["JoinEui"], config["bcning"]) == (None, None, None)
    assert not {"nocca", "nodc", "nodwell"} & set(config)
    assert config["hwspec"] == "sx1301/1"
    assert config["MuxTime"] == 1_700_000_000.5


@pytest.mark.parametrize(
    ("name", "station", "region", "max_eirp"),
    [
        ("EU868", "2.0.3(x)", "EU863", 29),  # else the 10 % band would be held down, too
        ("EU868", "2.0.6(x)", "EU863", 29),
        ("US915", "2.0.6(x)", "US902", 30),
        ("AU915", "2.0.6(x)", "AU915", 30),
        ("AS923", "2.0.5(x)", "AS923", 16),
        ("AS923", "2.0.6(x)", "AU915", 16),
        ("IN865", "2.0.5(x)", "IN865", 30),
        ("IN865", "2.0.6(x)", "AU915", 30),
        ("IN865", "", "IN865", 30),
    ],
)
def test_a_region_has_a_name_under_which_the_station_sends(name, station, region, max_eirp):
    config = config_of(name, station=station)
    assert (config["region"], config["max_eirp"]) == (region, max_eirp)


def test_the_antenna_gain_is_told_if_there_is_one():
    (without,) = config_of("EU868")["sx1301_conf"]
    (with_gain,) = config_of("EU868", gain=2.5)["sx1301_conf"]
    for radio in ("radio_0", "radio_1"):
        assert "antenna_gain" not in without[radio]
        assert with_gain[radio]["antenna_gain"] == 2.5


@pytest.mark.parametrize(
    "extra_hz",
    [
        (863_100_000, 865_000_000),  # three radios
        (867_100_000, 867_300_000, 867_500_000, 867_700_000, 867_900_000, 868_000_000),
    ],
)
def test_a_plan_that_no_gateway_hears(extra_hz):
    with pytest.raises(ValueError, match="no gateway hears"):
        config_of("EU868", extra_hz=extra_hz)
