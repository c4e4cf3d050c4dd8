"""The table of URLs that must lead nowhere: each as a client sends it, and as a redirect."""

import asyncio

import pytest
from attacker import PUBLIC, PUBLIC_6, Attack, Lookups, attack, moved, page

from inlay_router.errors import ValidationError

TABLE = """
http://127.0.0.1/  http://127.0.0.1:80/  http://127.0.0.1:22/  http://127.0.0.1:65535/
http://127.1/  http://127.0.1/  http://127.255.255.254/  http://2130706433/
http://0x7f000001/  http://0x7f.1/  http://0x7F.0x0.0x0.0x1/  http://017700000001/
http://0177.0.0.1/  http://00177.0.0.1/  http://0177.0.0.01/  http://127.0.0.1./
http://0/  http://0.0.0.0/  http://0x0/  http://00000000/
http://10.0.0.1/  http://10.1/  http://167772161/  http://0xa000001/
http://172.16.0.1/  http://172.31.255.255/  http://192.168.1.1/  http://3232235777/
http://100.64.0.1/  http://169.254.169.254/  http://2852039166/  http://0xa9fea9fe/
http://0251.0376.0251.0376/  http://169.254.43518/  http://169.254.170.2/  http://168.63.129.16/
http://100.100.100.200/  http://192.0.0.192/  http://198.18.0.1/  http://192.0.2.1/
http://203.0.113.1/  http://224.0.0.1/  http://239.255.255.250/  http://240.0.0.1/
http://255.255.255.255/  http://192.88.99.1/
http://[::1]/  http://[::]/  http://[0:0:0:0:0:0:0:1]/  http://[::1]:80/
http://[0000:0000:0000:0000:0000:0000:0000:0001]/  http://[::127.0.0.1]/  http://[::7f00:1]/
http://[::ffff:127.0.0.1]/  http://[::ffff:7f00:1]/  http://[::FFFF:7F00:0001]/
http://[::ffff:169.254.169.254]/  http://[::ffff:a9fe:a9fe]/  http://[::ffff:0:127.0.0.1]/
http://[::ffff:10.0.0.1]/  http://[64:ff9b::127.0.0.1]/  http://[64:ff9b::a9fe:a9fe]/
http://[64:ff9b::10.0.0.1]/  http://[64:ff9b:1::127.0.0.1]/  http://[2002:7f00:1::]/
http://[2002:a9fe:a9fe::]/  http://[2002:0a00:0001::1]/  http://[2001:0:7f00:1::80ff:fffe]/
http://[2001::1]/  http://[2001:db8::1]/  http://[3fff::1]/  http://[100::1]/
http://[fc00::1]/  http://[fd00:ec2::254]/  http://[fd20:ce::254]/  http://[fe80::1]/
http://[fe80::1%25lo]/  http://[fe80::1%lo]/  http://[fe80::a9fe:a9fe]/  http://[fec0::1]/
http://[ff02::1]/  http://[ff0e::1]/  http://[2600:1f00::5efe:7f00:1]/
http://[2600:1f00::200:5efe:10.0.0.1]/  http://[v1.a]/  http://[]/
http://１２７.０.０.１/  http://127。0。0。1/  http://127．0．0．1/  http://127｡0｡0｡1/
http://①②⑦.⓪.⓪.①/  http://０ｘ７ｆ.1/  http://𝟏𝟐𝟕.𝟎.𝟎.𝟏/  http://[::①]/
http://localhost/  http://LOCALHOST/  http://localhost./  http://LocalHost.:80/
http://localhost.localdomain/  http://ip6-localhost/  http://ip6-loopback/
http://ⓛⓞⓒⓐⓛⓗⓞⓢⓣ/  http://ｌｏｃａｌｈｏｓｔ/  http://metadata/  http://metadata.google.internal/
http://METADATA.google.internal./  http://instance-data/  http://kubernetes.default.svc/
http://127.0.0.1.nip.test/  http://no-such-host.test/
http://attacker.test@127.0.0.1/  http://attacker.test:80@127.0.0.1/  http://127.0.0.1@attacker.test/
http://:@127.0.0.1/  http://a:b@localhost/  http://attacker.test%40127.0.0.1/
http://attacker.test%2f@127.0.0.1/  http://127.0.0.1%00.attacker.test/  http://127.0.0.1%23.test/
http://attacker.test\\@127.0.0.1/  http://127.0.0.1\\.attacker.test/  http:\\\\127.0.0.1\\
http:/\\127.0.0.1/  http:\\/127.0.0.1/  http:/127.0.0.1/  http:127.0.0.1/  http:///127.0.0.1/
http:////127.0.0.1/  http://127.0.0.1#@attacker.test/  http://127.0.0.1?@attacker.test/
http://127.0.0.1;attacker.test/  http://{127.0.0.1}/  http://127.0.0.1,attacker.test/
hTTp://127.0.0.1/  HTTPS://127.0.0.1/  https://[::1]/  https://169.254.169.254/
file:///etc/passwd  FILE:///etc/passwd  file://localhost/etc/passwd  file:/etc/passwd
ftp://attacker.test/a  gopher://127.0.0.1:6379/_INFO  dict://127.0.0.1:11211/stat
ldap://127.0.0.1/  tftp://127.0.0.1/a  jar:http://127.0.0.1!/  unix:/run/docker.sock
http+unix://%2Frun%2Fdocker.sock/  ws://127.0.0.1/  view-source:http://127.0.0.1/
data:image/png;base64,AAAA  javascript:alert(1)  blob:http://127.0.0.1/
"""

SPELLINGS = [
    *TABLE.split(),
    "http://127.0.0.1\t/",
    "http://12\t7.0.0.1/",
    "http://12\n7.0.0.1/",
    "\thttp://127.0.0.1/",
    " http://127.0.0.1/ ",
    "ht\ntp://127.0.0.1/",
    "http://127.0.0.1 /",
    "http://127.0.0.1\r\nHost: attacker.test/",
    "http://127.0.0.1\x00.attacker.test/",
    "http://attacker.test\u2044@127.0.0.1/",
    "http://lo\u00adcalhost/",
    "http://loc\u200balhost/",
    "http://a\u2100.test/",
]
"""URLs that lead to this machine, to networks around it, or out of HTTP."""

PRIVATE = {
    "localhost": ["127.0.0.1", "::1"],
    "localhost.": ["127.0.0.1"],
    "localhost.localdomain": ["127.0.0.1"],
    "ip6-localhost": ["::1"],
    "ip6-loopback": ["::1"],
    "metadata": ["169.254.169.254"],
    "metadata.google.internal": ["169.254.169.254"],
    "metadata.google.internal.": ["169.254.169.254"],
    "instance-data": ["169.254.169.254", "fd00:ec2::254"],
    "kubernetes.default.svc": ["10.96.0.1"],
    "127.0.0.1.nip.test": ["127.0.0.1"],
}
"""Names of this machine and of clouds, and what they stand for."""

HOSTILE: dict[str, list[str]] = {
    "loopback": ["127.0.0.1"],
    "loopback-6": ["::1"],
    "ten": ["10.0.0.1"],
    "link-local": ["169.254.169.254"],
    "unique-local": ["fd00:ec2::254"],
    "mapped": ["::ffff:10.0.0.1"],
    "6to4": ["2002:7f00:1::"],
    "nat64": ["64:ff9b::7f00:1"],
    "teredo": ["2001:0:7f00:1::80ff:fffe"],
    "scoped": ["fe80::1%lo"],
    "carrier": ["100.64.0.1"],
    "multicast": ["224.0.0.1"],
    "nowhere": ["0.0.0.0"],
    "private-behind-public": [PUBLIC, "10.0.0.1"],
    "public-behind-private": ["10.0.0.1", PUBLIC],
    "public-4-and-private-6": [PUBLIC, "::1"],
    "private-4-and-public-6": ["127.0.0.1", PUBLIC_6],
    "not-an-address": ["127.0.0.1 ", "x"],
    "no-address": [],
}
"""Names of the attacker's own, and what they resolve to."""

SENTENCES = (
    "its host has no public address",
    "the URL is not valid",
    "its URL must begin with http:// or https://",
    "the URL must not hold a user name or password",
)
"""All that an attacker learns."""


async def refused(world: Attack, url: str) -> str:
    """The reason; nobody was connected to but the attacker."""
    with pytest.raises(ValidationError) as caught:
        await world.fetcher.fetch(url)
    assert world.roads.breaches == []
    return str(caught.value).removeprefix("Input validation error: Could not fetch image: ")


def names(**more: Lookups) -> dict[str, Lookups]:
    """Everything that resolves, besides `attacker.test`."""
    return {name: [addresses] for name, addresses in PRIVATE.items()} | more


def test_the_table_is_long_enough() -> None:
    assert len(set(SPELLINGS)) + len(HOSTILE) >= 150


@pytest.mark.parametrize("url", SPELLINGS)
def test_a_url_that_leads_inside(url: str) -> None:
    async def scenario() -> str:
        async with attack({}, names()) as world:
            reason = await refused(world, url)
            assert world.roads.visited == []
            return reason

    assert asyncio.run(scenario()) in SENTENCES


ABSOLUTE = [url for url in SPELLINGS if url.isascii() and url.isprintable()]


@pytest.mark.parametrize("url", ABSOLUTE)
def test_a_redirect_that_leads_inside(url: str) -> None:
    """What is relative to the attacker's page stays with the attacker, which is no breach."""

    async def scenario() -> str:
        async with attack({"/a.png": moved(url)}, names()) as world:
            reason = await refused(world, "http://attacker.test/a.png")
            assert set(world.roads.visited) == {PUBLIC}
            return reason

    assert asyncio.run(scenario()) in (*SENTENCES, "the server answered with status 404")


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("is_redirect", [False, True])
def test_a_name_that_resolves_inside(name: str, is_redirect: bool) -> None:
    async def scenario() -> str:
        url = f"http://{name}.test/secret"
        known = {f"{name}.test": [HOSTILE[name]]}
        async with attack({"/a.png": moved(url)}, known) as world:
            return await refused(world, "http://attacker.test/a.png" if is_redirect else url)

    assert asyncio.run(scenario()) == "its host has no public address"


def test_a_name_that_changes_between_check_and_connection() -> None:
    """There is one look-up, so what was checked is what is connected to."""

    async def scenario() -> None:
        known: dict[str, Lookups] = {"rebind.test": [[PUBLIC], ["127.0.0.1"]]}
        async with attack({"/a.png": page(b"image")}, known) as world:
            assert await world.fetcher.fetch("http://rebind.test/a.png") == b"image"
            assert world.names.asked == ["rebind.test"]
            assert world.roads.visited == [PUBLIC]

    asyncio.run(scenario())


@pytest.mark.parametrize("back", ["/a.png", "http://rebind.test/b", "//rebind.test/b"])
def test_a_name_that_changes_between_hops(back: str) -> None:
    async def scenario() -> str:
        known: dict[str, Lookups] = {"rebind.test": [[PUBLIC], ["169.254.169.254"]]}
        async with attack({"/a.png": moved(back)}, known) as world:
            reason = await refused(world, "http://rebind.test/a.png")
            assert world.names.asked == ["rebind.test", "rebind.test"]
            return reason

    assert asyncio.run(scenario()) == "its host has no public address"


def test_every_connection_is_a_new_look_up() -> None:
    """A connection that was kept open would go where an older look-up led."""

    async def scenario() -> None:
        known: dict[str, Lookups] = {"rebind.test": [[PUBLIC], ["10.0.0.1"]]}
        async with attack({"/a.png": page(b"image")}, known) as world:
            await world.fetcher.fetch("http://rebind.test/a.png")
            await refused(world, "http://rebind.test/a.png")

    asyncio.run(scenario())


@pytest.mark.parametrize("num_hops", [1, 5, 6, 50])
def test_a_chain_of_redirects(num_hops: int) -> None:
    pages = {f"/{hop}": moved(f"/{hop + 1}") for hop in range(num_hops)}

    async def scenario() -> bytes | str:
        async with attack({**pages, f"/{num_hops}": page(b"image")}) as world:
            if num_hops <= 5:
                return await world.fetcher.fetch("http://attacker.test/0")
            reason = await refused(world, "http://attacker.test/0")
            assert len(world.roads.visited) == 6
            return reason

    assert asyncio.run(scenario()) == (b"image" if num_hops <= 5 else "more than 5 redirects")


@pytest.mark.parametrize("back", ["", "/loop", "http://attacker.test/loop", "?", "/loop#a"])
def test_a_circle_of_redirects(back: str) -> None:
    async def scenario() -> str:
        async with attack({"/loop": moved(back), "/loop?": moved(back)}) as world:
            return await refused(world, "http://attacker.test/loop")

    assert asyncio.run(scenario()) in ("more than 5 redirects", "the server redirects to nowhere")
