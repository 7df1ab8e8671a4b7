"""Coordination servers: who is in the mesh, who may talk to whom, and keys; of Tailscale, and of Headscale 0.29 and 0.30."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta

import pytest

from peer.core.mesh_provider import NetworkProvider
from peer.errors import (
    MeshError,
    NetworkProviderError,
    NetworkRefusedError,
    NetworkUnreachableError,
    PolicyChangedError,
    PolicyRefusedError,
    PolicyTextError,
)
from resolver import network_calls
from resolver.headscale_control import HeadscaleControl
from resolver.tailscale_control import TailscaleControl
from tests.fake_control import (
    API_KEY,
    CLIENT_ID,
    CLIENT_SECRET,
    DESCRIPTION,
    HEADSCALE_KEY,
    POLICY,
    SITE_KEY,
    FakeHeadscale,
    FakeServer,
    FakeTailscale,
)

SECRETS = (API_KEY, CLIENT_SECRET, HEADSCALE_KEY, SITE_KEY, "token-1", "wrong-key-of-somebody")
CHANGED = POLICY.replace("22", "2222")


def provider_of(server: FakeServer, secret: str | None = None) -> NetworkProvider:
    """A client of its kind."""
    if isinstance(server, FakeTailscale):
        return TailscaleControl(server.url, "", API_KEY if secret is None else secret, CLIENT_ID)
    return HeadscaleControl(server.url, HEADSCALE_KEY if secret is None else secret)


@pytest.fixture(params=["tailscale", "headscale 0.29", "headscale 0.30"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[FakeServer]:
    """One of each kind, which at the end has nothing to complain of."""
    kind, _, version = request.param.partition(" ")
    fake = FakeHeadscale(version) if kind == "headscale" else FakeTailscale()
    async with fake.running():
        yield fake
    assert not getattr(fake, "faults", [])


@pytest.fixture
async def provider(server: FakeServer) -> AsyncIterator[NetworkProvider]:
    """A client of it."""
    client = provider_of(server)
    yield client
    await client.close()


def check_that_no_secret_is_said(error: MeshError) -> None:
    said = f"{error!r} {error} {error.text} {error.fix} {error.__cause__!r}"
    assert not [secret for secret in SECRETS if secret in said]


async def test_machines_have_names_and_addresses(provider: NetworkProvider) -> None:
    devices = {each.name.partition(".")[0]: each for each in await provider.devices()}

    assert set(devices) == {"arm-lab", "field", "laptop"}
    assert devices["arm-lab"].addresses[0] == "100.64.0.1"
    assert (devices["field"].is_online, devices["laptop"].is_online, devices["field"].tags) == (True, False, ("tag:recmesh",))


async def test_a_policy_comes_and_goes_as_it_was_written(server: FakeServer, provider: NetworkProvider) -> None:
    before = await provider.policy()
    assert before.text == POLICY

    await provider.check(CHANGED)
    assert server.policy == POLICY
    await provider.write(CHANGED, before)

    after = await provider.policy()
    assert (server.policy, after.text) == (CHANGED, CHANGED)
    assert after.version != before.version


async def test_a_policy_that_somebody_changed_meanwhile_is_not_overwritten(server: FakeServer, provider: NetworkProvider) -> None:
    before = await provider.policy()
    server.policy = POLICY + "// theirs\n"

    with pytest.raises(PolicyChangedError):
        await provider.write(CHANGED, before)

    assert server.policy == POLICY + "// theirs\n"


async def test_a_policy_that_the_server_refuses_is_told_in_its_words(server: FakeServer, provider: NetworkProvider) -> None:
    before = await provider.policy()
    server.refuses_policies = "update is disabled for modes other than 'database'"
    with pytest.raises(NetworkProviderError, match="other than 'database'"):
        await provider.write(CHANGED, before)
    assert server.policy == POLICY


async def test_what_a_server_repeats_of_our_key_is_left_out_of_its_words(server: FakeServer, provider: NetworkProvider) -> None:
    before = await provider.policy()
    server.refuses_policies = f"{API_KEY}{HEADSCALE_KEY} is of no use here"
    with pytest.raises(NetworkProviderError, match="is of no use here") as refused:
        await provider.write(CHANGED, before)
    assert (API_KEY if isinstance(server, FakeTailscale) else HEADSCALE_KEY) not in f"{refused.value!r} {refused.value.text}"


@pytest.mark.parametrize("server_type", [FakeTailscale, lambda: FakeHeadscale("0.30")])
async def test_a_policy_that_could_not_be_written_back_as_it_came_is_told(server_type: Callable[[], FakeServer]) -> None:
    """Tailscale sends bytes: these are Latin-1. Headscale sends JSON, in which half a character can be written."""
    fake = server_type()
    fake.policy = POLICY.replace("Who", "\udce9")
    async with fake.running():
        client = provider_of(fake)
        try:
            with pytest.raises(PolicyTextError, match="no UTF-8 at byte 7"):
                await client.policy()
        finally:
            await client.close()


async def test_tests_in_a_policy_that_fail_are_told() -> None:
    fake = FakeTailscale()
    fake.failing_test = 'address "100.64.0.2:8443": want: Accept, got: Drop'
    async with fake.running():
        client = provider_of(fake)
        with pytest.raises(PolicyRefusedError, match="want: Accept"):
            await client.check(CHANGED)
        await client.close()


async def test_a_key_lets_one_new_site_in(server: FakeServer, provider: NetworkProvider) -> None:
    key = await provider.site_key(["tag:recmesh"], 3600)

    assert key.secret == SITE_KEY
    assert SITE_KEY not in f"{key} {key!r}"
    (order,) = server.orders
    if isinstance(server, FakeTailscale):
        create = order["capabilities"]["devices"]["create"]
        assert (create["tags"], create["reusable"], create["preauthorized"], order["expirySeconds"]) == (["tag:recmesh"], False, True, 3600)
    else:
        assert (order["aclTags"], order["reusable"]) == (["tag:recmesh"], False)
        assert abs(datetime.fromisoformat(order["expiration"]) - datetime.now(UTC) - timedelta(hours=1)) < timedelta(minutes=5)


async def test_a_wrong_key_is_refused_and_said_nowhere(server: FakeServer) -> None:
    client = provider_of(server, "wrong-key-of-somebody")
    for call in (client.devices(), client.policy(), client.check(POLICY), client.site_key([], 60)):
        with pytest.raises(NetworkRefusedError) as refused:
            await call
        check_that_no_secret_is_said(refused.value)
    await client.close()


async def test_the_secret_of_a_client_gives_a_token_that_is_used_until_shortly_before_its_end() -> None:
    fake, now = FakeTailscale(), [1000.0]
    async with fake.running():
        client = TailscaleControl(fake.url, "-", CLIENT_SECRET, CLIENT_ID, lambda: now[0])
        try:
            for moment, tokens in ((1000.0, 1), (4500.0, 1), (4541.0, 2)):
                now[0] = moment
                await client.devices()
                assert fake.tokens == tokens
        finally:
            await client.close()
        other = TailscaleControl(fake.url, "-", CLIENT_SECRET, "another")
        with pytest.raises(NetworkRefusedError) as refused:
            await other.devices()
        check_that_no_secret_is_said(refused.value)
        await other.close()


async def test_a_server_that_is_not_there_or_says_nonsense_is_one_clear_error(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_calls, "BODY_SIZE_MAX", 10)
    client = provider_of(server)
    with pytest.raises(NetworkProviderError, match="more than 10 bytes"):
        await client.devices()
    await client.close()
    away = HeadscaleControl("http://127.0.0.1:9", HEADSCALE_KEY)
    with pytest.raises(NetworkUnreachableError) as error:
        await away.devices()
    check_that_no_secret_is_said(error.value)
    await away.close()


@pytest.mark.needs("Headscale's description of its API")
@pytest.mark.skipif(not DESCRIPTION.is_file(), reason="Headscale's description of its API is not beside the project")
async def test_the_fake_complains_of_what_its_description_does_not_know() -> None:
    """Else it would hold nobody to anything."""
    fake = FakeHeadscale("0.29")
    async with fake.running():
        client = HeadscaleControl(fake.url, HEADSCALE_KEY)
        await client._call("POST", "/preauthkey", "try", body={"expiration": "", "aclTags": "none", "later": 1})
        with pytest.raises(NetworkProviderError, match="501"):
            await client._call("GET", "/nodes", "try")
        await client.close()
    assert fake.faults == [
        "the body of /api/v1/preauthkey, aclTags is no array",
        "the body of /api/v1/preauthkey has later",
        "the answer to /api/v1/preauthkey, preAuthKey, aclTags is no array",
        "GET /api/v1/nodes is not described",
    ]


@pytest.mark.needs("Headscale's description of its API")
@pytest.mark.skipif(not DESCRIPTION.is_file(), reason="Headscale's description of its API is not beside the project")
async def test_the_fake_answers_all_that_is_described_with_all_its_fields() -> None:
    """So a client meets what the real one sends, also where the fake has nothing to say."""
    described = json.loads(DESCRIPTION.read_text())
    fake = FakeHeadscale("0.29")
    calls = [path for path, operations in described["paths"].items() if "get" in operations and "{" not in path]
    async with fake.running():
        client = HeadscaleControl(fake.url, HEADSCALE_KEY)
        for path in calls:
            schema = described["paths"][path]["get"]["responses"]["200"]["schema"]["$ref"].rpartition("/")[2]
            answer = (await client._call("GET", path.removeprefix("/api/v1"), "try")).document()
            assert answer.keys() == described["definitions"][schema].get("properties", {}).keys(), path
        nodes = json.loads((await client._call("GET", "/node", "try")).data)
        await client.close()
    assert {frozenset(node) for node in nodes["nodes"]} == {frozenset(described["definitions"]["v1Node"]["properties"])}
    assert (len(calls) > 4, fake.faults) == (True, [])
