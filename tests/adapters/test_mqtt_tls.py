"""TLS to a real Mosquitto: what is trusted, what is shown, and what is said when it fails."""

import asyncio
import logging
import ssl

import pytest
from broker import Mosquitto
from certificates import Authority
from cryptography.hazmat.primitives import serialization
from mqtt_publisher import Running, rows
from stoep_gateway.config_model import MqttConfig
from stoep_gateway.errors import FatalError
from stoep_gateway.publish import mqtt
from stoep_gateway.publish.mqtt_tls import ClientTls, context, remedy, tls
from waiting import until


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "certificates")


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, logger="stoep_gateway.publish.mqtt")
    return caplog


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(mqtt, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(mqtt, "_LONGEST_PAUSE_S", 0.05)


def settings(certificate, key, more=""):
    return f"certfile {certificate}\nkeyfile {key}\n{more}"


def broker(tmp_path, authority, more="", **issue):
    return Mosquitto(tmp_path / "broker", settings(*authority.issue("broker", **issue), more))


async def cause(log, port, told, **fields):
    """Return what is logged of a broker that cannot be reached, with a second try."""
    running = Running(port, **fields)
    await until(lambda: told in log.text)
    await until(lambda: running.attempts() >= 3)
    await running.stop()
    assert log.text.count(told) == 1
    assert log.text.count("is away") == 1
    return next(it.getMessage() for it in log.records if told in it.getMessage())


def trusting(authority, *, client=(None, None)):
    return context("[mqtt]", authority.certificate, *client)


async def test_messages_go_through_tls_and_it_is_of_the_broker(tmp_path, authority):
    with broker(tmp_path, authority) as there:
        running = Running(there.port, tls=trusting(authority))
        running.add(rows(1, 3000))
        await running.drained()
        assert running.publisher._paho._sock._sock.version() == "TLSv1.3"
        await running.stop()
    assert running.deleted == list(range(1, 3001))


async def test_more_goes_through_tls_than_a_connection_takes_at_once(tmp_path, authority):
    with broker(tmp_path, authority) as there:
        running = Running(there.port, tls=trusting(authority))
        running.add([row._replace(payload=b"x" * 20_000) for row in rows(1, 400)])
        await running.drained()
        await running.stop()
    assert running.metrics.counts["published"] == 400


async def test_a_client_shows_its_certificate(tmp_path, authority):
    client = authority.issue("stoep")
    more = f"cafile {authority.certificate}\nrequire_certificate true\n"
    with broker(tmp_path, authority, more) as there:
        running = Running(there.port, tls=trusting(authority, client=client))
        running.add(rows(1, 5))
        await running.drained()
        await running.stop()
    assert running.deleted == [1, 2, 3, 4, 5]


async def test_a_broker_that_wants_a_certificate(tmp_path, authority, log):
    more = f"cafile {authority.certificate}\nrequire_certificate true\n"
    with broker(tmp_path, authority, more) as there:
        told = "the broker wants a certificate: set client_cert and client_key under [mqtt]"
        await cause(log, there.port, told, tls=trusting(authority))


async def test_a_broker_that_does_not_know_our_authority(tmp_path, authority, log):
    client = Authority(tmp_path / "elsewhere", "another").issue("stoep")
    more = f"cafile {authority.certificate}\nrequire_certificate true\n"
    with broker(tmp_path, authority, more) as there:
        told = "the broker refuses our client_cert (unknown ca)"
        await cause(log, there.port, told, tls=trusting(authority, client=client))


async def test_an_unknown_authority(tmp_path, authority, log):
    with broker(tmp_path, authority) as there:
        another = Authority(tmp_path / "elsewhere")
        told = "name its authority's certificate in ca_file under [mqtt]"
        await cause(log, there.port, told, tls=trusting(another))


async def test_without_ca_file_the_systems_authorities_are_trusted(tmp_path, authority, log):
    with broker(tmp_path, authority) as there:
        config = MqttConfig(port=there.port, tls=True)
        told = "is of an unknown authority"
        await cause(log, there.port, told, tls=tls(config))
    assert tls(MqttConfig()) is None


async def test_a_certificate_of_another_name(tmp_path, authority, log):
    with broker(tmp_path, authority, host="mqtt.example.org") as there:
        told = "set host under [mqtt] to a name in the broker's certificate"
        line = await cause(log, there.port, told, tls=trusting(authority))
    assert "127.0.0.1" in line


async def test_an_expired_certificate(tmp_path, authority, log):
    with broker(tmp_path, authority, days=(-9, -2)) as there:
        told = "the broker's certificate has expired: renew it there"
        await cause(log, there.port, told, tls=trusting(authority))


async def test_a_certificate_of_tomorrow(tmp_path, authority, log):
    with broker(tmp_path, authority, days=(2, 9)) as there:
        told = "is not valid yet: is this machine's clock right?"
        await cause(log, there.port, told, tls=trusting(authority))


async def test_a_broker_that_speaks_no_tls(tmp_path, authority, log):
    with Mosquitto(tmp_path / "broker") as there:
        line = await cause(log, there.port, "is away", tls=trusting(authority))
    assert "no TLS is spoken at this port" in line or "does the port" in line


async def test_a_broker_that_speaks_tls_only(tmp_path, authority, log):
    with broker(tmp_path, authority) as there:
        told = "if it speaks TLS, set tls = true under [mqtt]"
        await cause(log, there.port, told)


async def test_a_remedy_is_told_when_an_outage_turns_out_to_need_one(tmp_path, authority, log):
    with broker(tmp_path, authority) as there:
        there.stop()
        running = Running(there.port, tls=trusting(Authority(tmp_path / "elsewhere")))
        await until(lambda: "is away" in log.text)
        await asyncio.to_thread(there.start)
        await until(lambda: "is still away" in log.text)
        await until(lambda: running.attempts() >= 8)
        await running.stop()
    assert log.text.count("is away") == log.text.count("is still away") == 1
    assert log.text.count("name its authority's certificate in ca_file") == 1


def test_files_that_cannot_be_used_are_named(tmp_path, authority):
    certificate, key = authority.issue("stoep")
    _, other_key = authority.issue("other")
    with pytest.raises(FatalError, match=r"\[mqtt\]: ca_file .*nothing.pem"):
        context("[mqtt]", tmp_path / "nothing.pem", None, None)
    with pytest.raises(FatalError, match="do not belong together"):
        context("[mqtt]", authority.certificate, certificate, other_key)
    locked = tmp_path / "locked.key"
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(
        loaded.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    with pytest.raises(FatalError, match="the key without a password"):
        context("[mqtt]", authority.certificate, certificate, locked)


def test_what_has_nothing_to_do_with_tls_has_no_remedy_of_it():
    assert remedy(ConnectionRefusedError(), ClientTls(ssl.PROTOCOL_TLS_CLIENT), "[mqtt]") is None
