"""Settings: strict, named, documented, with an example that loads."""

import re
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from peer.config import Config, check_endpoint, load_config, read_config, render_config
from peer.core.endpoint import WireGuardNetwork
from peer.core.listen_address import Address, parse_address
from peer.errors import ConfigError
from peer.sections import DiskSection, GossipSection, HubSection, HubSourceSection, NetworkSection, TailscaleSection, WatchSection

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for key in Config.model_fields:
        monkeypatch.delenv(f"RECMESH_{key.upper()}", raising=False)


def write(folder: Path, text: str) -> Path:
    (folder / "config.toml").write_text(text)
    return folder


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    config = load_config(tmp_path)

    assert (config.listen, config.admin, config.fetch) == ("0.0.0.0:7850", "127.0.0.1:7851", "all")


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECMESH_NAME", "from-outside")
    monkeypatch.setenv("RECMESH_ADVERTISE", '["https://a.example:1"]')

    config = load_config(write(tmp_path, 'name = "inside"\nfetch = "none"\n'))

    assert (config.name, config.fetch, config.advertise) == ("from-outside", "none", ["https://a.example:1"])


def test_networks_and_keys_are_read(tmp_path: Path) -> None:
    config = load_config(
        write(
            tmp_path,
            f"""
            advertise = ["http://10.8.0.1:7850", "https://a.example:1#spki={"cd" * 32}"]
            wireguard = ["10.8.0.0/24@wg0"]
            channel_keys = ["{"ab" * 32}"]
            proxies = ["192.0.2.5"]
            connections_exempt = ["127.0.0.0/8"]
            """,
        )
    )

    assert config.wireguard_networks == (WireGuardNetwork(ip_network("10.8.0.0/24"), "wg0"),)
    assert (config.proxy_keys, config.proxy_addresses) == ((b"\xab" * 32,), {ip_address("192.0.2.5")})
    assert config.exempt_networks == (ip_network("127.0.0.0/8"),)


def test_variables_of_the_command_line_are_no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RECMESH_DATA", "RECMESH_URL", "RECMESH_TOKEN", "RECMESH_FAILPOINT"):
        monkeypatch.setenv(name, "x")

    load_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('nam = "a"', "nam"),
        ('[hub]\nenabled = "perhaps"', "hub.enabled"),
        ("[gossip]\nttl = 3", "gossip.ttl"),
        ("[gossip]\nexchange_interval = 0", "gossip.exchange_interval"),
        ('[hub_source]\nurl = "http:/x"', "hub_source.url"),
        ('[hub_source]\nurl = "http://hub.example:7850"', "hub_source.url"),
        ('[hub_source]\ncredential_file = "hub.key"', "hub_source.credential_file"),
        ('[[peers]]\nname = "a"\npeer_id = "AB"\nendpoints = ["https://a:1"]\ngroups = ["g"]', "peers"),
        (f'[[peers]]\nname = "a"\npeer_id = "{"ab" * 32}"\nendpoints = []\ngroups = ["g"]', "endpoints"),
        ("dial_networks = ['10.0.0.0/99']", "dial_networks"),
        ('name = "../up"', "name"),
        ('name = ".hidden"', "name"),
        (f'name = "{"a" * 129}"', "name"),
        ('listen = "nowhere"', "listen"),
        ('listen = "127.0.0.1:70000"', "listen"),
        ('admin = "none"', "admin"),
        ('advertise = ["http://192.0.2.1:7850"]', "advertise"),
        ('advertise = ["ftp://a:1"]', "advertise"),
        ('listen = "none"\nadvertise = ["https://a:1"]', "advertise"),
        ('listen = "127.0.0.1:9"\nadmin = "127.0.0.1:9"', "admin"),
        ('tls_cert = "/etc/a.crt"', "tls_cert"),
        ('tls_cert = "a.crt"\ntls_key = "a.key"', "tls_cert"),
        (f'tls_cert = "/a"\ntls_key = "/b"\nadvertise = ["https://a:1"]\nchannel_keys = ["{"ab" * 32}"]', "channel_keys"),
        (f'channel_keys = ["{"ab" * 32}"]', "channel_keys"),
        ('channel_keys = ["abc"]\nadvertise = ["https://a:1"]', "channel_keys"),
        ('proxies = ["127.0.0.1"]', "proxies"),
        (f'proxies = ["proxy.example"]\nchannel_keys = ["{"ab" * 32}"]\nadvertise = ["https://a:1"]', "proxies"),
        ('wireguard = ["10.8.0.0/24"]', "wireguard"),
        ('wireguard = ["0.0.0.0/0@wg0"]', "wireguard"),
        ('wireguard = ["10.8.0.0/24@wg0"]\nadvertise = ["http://10.9.0.1:7850"]', "advertise"),
        ('connections_exempt = ["10.8.0.1/24"]', "connections_exempt"),
        ("connections_per_address = 0", "connections_per_address"),
        ("peer_events_per_second = 99", "peer_events_per_second"),
        ("peer_bytes_per_second = 65535", "peer_bytes_per_second"),
        ('fetch = "some"', "fetch"),
        ('admin = "0.0.0.0:7851"', "admin_insecure"),
        ('admin = "192.0.2.1:7851"', "admin_insecure"),
        ('admin = "somewhere.example:7851"', "admin_insecure"),
        ('ingest_folders = "/a"', "ingest_folders"),
        ('ingest_folders = ["a"]', "ingest_folders"),
        ('ingest_folders = ["/"]', "ingest_folders"),
        ('ingest_folders = ["/a/../b"]', "ingest_folders"),
        ('ingest_folders = ["~/bags"]', "ingest_folders"),
        (f"ingest_folders = {['/a'] * 65}", "ingest_folders"),
        ('[tailscale]\nonly_tags = ["robot"]', "tailscale.only_tags"),
        (f"[tailscale]\nonly_tags = {['tag:a'] * 17}", "tailscale.only_tags"),
        ('[tailscale]\nonly_capability = "a b"', "tailscale.only_capability"),
        ("[tailscale]\npoll_s = 0", "tailscale.poll_s"),
        ('log_level = "loud"', "log_level"),
        ("name = ", "TOML"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as raised:
        load_config(write(tmp_path, text))

    assert "\n" not in raised.value.text
    assert str(tmp_path) in raised.value.text


def test_the_example_loads_and_sets_every_key() -> None:
    example = ROOT / "configs" / "recmesh.toml"

    config = read_config(example)

    assert set(config.model_fields_set) == set(Config.model_fields)
    for section in (config.gossip, config.hub, config.hub_source, *config.peers):
        assert section.model_fields_set == set(type(section).model_fields)
    assert config.name == "field-station"


def test_every_key_is_documented_and_no_other() -> None:
    table = (ROOT / "docs" / "configuration.md").read_text().split("These are no keys", maxsplit=1)[0]

    assert set(re.findall(r"^\| `([a-z_]+)` \|", table, re.MULTILINE)) == set(Config.model_fields)
    sections = {
        "gossip": GossipSection,
        "hub": HubSection,
        "hub_source": HubSourceSection,
        "disk": DiskSection,
        "tailscale": TailscaleSection,
        "network": NetworkSection,
        "watch": WatchSection,
    }
    keys = {f"{name}.{key}" for name, section in sections.items() for key in section.model_fields}
    assert set(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \|", table, re.MULTILINE)) == keys


def test_a_key_in_a_section_can_be_set_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECMESH_GOSSIP__ENABLED", "false")

    config = load_config(write(tmp_path, "[gossip]\ndefault_ttl = 5\n"))

    assert (config.gossip.enabled, config.gossip.default_ttl) == (False, 5)


def test_what_init_writes_is_read_back(tmp_path: Path) -> None:
    write(tmp_path, render_config({"name": "a", "listen": "127.0.0.1:1", "admin": "[::1]:2", "connections_per_address": 7}))

    config = load_config(tmp_path)

    assert (config.name, config.listen, config.admin, config.connections_per_address) == ("a", "127.0.0.1:1", "[::1]:2", 7)
    assert config.admin_address == ("::1", 2)


def test_what_init_writes_can_be_added_to_below(tmp_path: Path) -> None:
    write(tmp_path, render_config({"name": "a"}) + '\nfetch = "none"\n\n[hub]\nenabled = true\n')

    config = load_config(tmp_path)

    assert (config.fetch, config.hub.enabled) == ("none", True)


def test_an_admin_api_off_loopback_is_a_decision(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, 'admin = "0.0.0.0:7851"\nadmin_insecure = true\n'))

    assert not config.admin_address.is_loopback
    for address in ("127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1"):
        assert str(load_config(write(tmp_path, f'admin = "{address}"')).admin_address) == address


def test_a_site_that_nobody_dials_has_no_address(tmp_path: Path) -> None:
    assert load_config(write(tmp_path, 'listen = "none"')).listen_address is None


def test_addresses_know_whether_they_are_loopback() -> None:
    assert parse_address("127.0.0.1:1").is_loopback
    assert parse_address("[::1]:1").is_loopback
    assert not parse_address("0.0.0.0:1").is_loopback


@pytest.mark.parametrize("url", ["https://a:1", "http://127.0.0.1:7", "http://localhost:7", "https://[2001:db8::1]:7850"])
def test_endpoints_that_may_be_dialled_are_accepted(url: str) -> None:
    assert check_endpoint(url) == url


@pytest.mark.parametrize(
    "url", ["http://a.example:1", "https://", "https://a:0", "https://a:99999", "https://u:p@a:1", "https://a:1/path", "https://a:1?q"]
)
def test_other_endpoints_are_not(url: str) -> None:
    with pytest.raises(ValueError, match="http"):
        check_endpoint(url)


@pytest.mark.parametrize(("listen", "port"), [("tailnet", 7850), ("tailnet:9000", 9000), ("tailnet:0", 0)])
def test_a_site_may_listen_wherever_it_is_in_the_mesh(tmp_path: Path, listen: str, port: int) -> None:
    config = load_config(write(tmp_path, f'listen = "{listen}"'))

    assert (config.listens_in_mesh, config.listen_address) == (True, Address("tailnet", port))


@pytest.mark.parametrize("listen", ["tailnet:", "tailnet:x", "tailnet:65536", "Tailnet"])
def test_the_mesh_is_listened_in_at_a_port(tmp_path: Path, listen: str) -> None:
    with pytest.raises(ConfigError, match="listen"):
        load_config(write(tmp_path, f'listen = "{listen}"'))
