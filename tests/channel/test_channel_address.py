"""URLs: what they mean, and that nothing secret in them is ever shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biglambda.runtime.channel.address import Address, parse, redact, scrub
from biglambda.runtime.channel.connect import connect
from biglambda.runtime.channel.link import Link
from biglambda.runtime.engine.lithops import _url_of_section

SECRET = "s3cret"

names = st.text("abcxyz019-.", min_size=1, max_size=12)
hosts = names | st.sampled_from(["::1", "fe80::2", "10.0.0.7"])
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
servers = st.lists(st.tuples(hosts, st.integers(1, 65535)), min_size=1, max_size=4).map(tuple)
secure = st.dictionaries(
    st.sampled_from(["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"]), words.filter(bool), max_size=3
).map(lambda options: tuple(sorted(options.items())))


@st.composite
def addresses(draw: st.DrawFn) -> Address:
    scheme = draw(st.sampled_from(["redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel"]))
    watched = scheme.endswith("+sentinel")
    return Address(
        scheme=scheme,
        servers=() if scheme == "unix" else draw(servers),
        path="/" + draw(words) + "x" if scheme == "unix" else "",
        service=draw(st.from_regex(r"[A-Za-z0-9_.-]+", fullmatch=True)) if watched else "",
        database=draw(st.integers(0, 99)),
        username=draw(words),
        password=draw(words),
        sentinel_username=draw(words) if watched else "",
        sentinel_password=draw(words) if watched else "",
        options=draw(secure) if scheme.startswith("rediss") else (),
    )


@given(addresses())
def test_a_url_says_what_the_address_is_made_of(address: Address) -> None:
    assert parse(address.url) == address


@given(addresses(), words)
def test_what_is_shown_of_a_url_has_no_secrets(address: Address, more: str) -> None:
    user, password, watcher, key = (f"{SECRET}{more}{at}" for at in range(4))
    sentinel = {"sentinel_username": watcher, "sentinel_password": key} if address.service else {}
    url = Address(**{**vars(address), "username": user, "password": password, **sentinel}).url
    secret = parse(url)
    link = Link(url)
    text = link.scrub(f"cannot use {url} with {password} and {sentinel.get('sentinel_password')}")
    for shown in (redact(url), str(secret), repr(secret), repr(link), link.address, text):
        assert SECRET not in shown
    assert SECRET not in scrub(f"cannot use {url}", ())  # another one's: only its form is known


@given(addresses(), st.data())
def test_the_refusal_of_a_url_quotes_nothing_of_it(address: Address, data: st.DataObject) -> None:
    url = Address(**{**vars(address), "username": "u", "password": SECRET}).url
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(url))] * 2)))
    spoilt = url[:begin] + data.draw(st.text(":/@?#,[]&= %0a", max_size=3)) + url[end:]
    before = spoilt.partition(SECRET)[0]
    try:
        shown = str(parse(spoilt))
    except ValueError as error:
        shown = str(error)
    # Nobody can know that what stands in the place of a host, service, socket or database is secret.
    assert SECRET not in shown or "@" not in spoilt.partition(SECRET)[2] or before.count("/") > 2


@pytest.mark.parametrize(
    ("url", "servers", "service", "database"),
    [
        ("redis://h", [("h", 6379)], "", 0),
        ("redis://u:p@h:1,[::1]:2,i/3", [("h", 1), ("::1", 2), ("i", 6379)], "", 3),
        ("rediss://h?db=2&ssl_cert_reqs=none", [("h", 6379)], "", 2),
        ("redis+sentinel://h/main", [("h", 26379)], "main", 0),
        ("rediss+sentinel://:p@h:1,i/main/4?sentinel_password=q", [("h", 1), ("i", 26379)], "main", 4),
        (" redis://h/\n", [("h", 6379)], "", 0),
    ],
)
def test_a_url_may_name_several_servers(url: str, servers: list, service: str, database: int) -> None:
    address = parse(url)
    assert (list(address.servers), address.service, address.database) == (servers, service, database)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h,",
        "redis://h:1:2",
        "redis://h/1/2",
        "redis://h/main",
        "redis://h/1?db=2",
        "redis://h#x",
        "redis://h?sentinel_password=x",
        "redis://h?ssl_cert_reqs=none",
        "rediss://h?ssl_cert_reqs=perhaps",
        "rediss://h?ssl_check_hostname=perhaps",
        "redis+sentinel://h",
        "redis+sentinel://h/main/x",
        "redis+sentinel:///main",
        "unix://h/path",
        "unix:///",
    ],
)
def test_a_url_that_means_nothing_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"no address of a Redis server.*Use redis://"):
        parse(url)


def test_sentinels_get_their_own_login_and_no_database() -> None:
    address = parse("rediss+sentinel://u:p@h/main/4?sentinel_username=v&sentinel_password=q&ssl_ca_certs=/ca.pem")
    (sentinel,) = address.one_by_one()
    assert sentinel == parse("rediss://v:q@h:26379?ssl_ca_certs=/ca.pem")
    assert address.at("primary", 7) == parse("rediss://u:p@primary:7/4?ssl_ca_certs=/ca.pem")


def test_a_client_is_of_one_server() -> None:
    for url in ("redis://:s3cret@h,i", "redis+sentinel://:s3cret@h/main"):
        with pytest.raises(ValueError, match="no address of a single server") as caught:
            connect(url)
        assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "url"),
    [
        ({"host": "h"}, "redis://h:6379"),
        ({"host": "h", "port": "7", "username": "u", "password": "p@:/", "db": 2}, "redis://u:p%40%3A%2F@h:7/2"),
        ({"host": "::1", "ssl": True, "password": "p"}, "rediss://:p@[::1]:6379"),
        ({"host": None}, None),
    ],
)
def test_the_section_of_lithops_is_a_url(section: dict, url: str | None) -> None:
    assert _url_of_section(section) == url
