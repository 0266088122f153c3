"""Sets of networks, in Python."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest

from inet_lookup import InetLookupError, NetworkSet

OFFICES = NetworkSet("192.0.2.0/25", "192.0.2.128/26", ip_network("2001:db8::/48"))


def test_holds_the_addresses_of_its_networks() -> None:
    for address in ("192.0.2.0", "192.0.2.127", "192.0.2.191", "2001:db8:0:ffff::"):
        assert ip_address(address) in OFFICES
    for address in ("192.0.1.255", "192.0.2.192", "2001:db8:1::", "::192.0.2.0", "0.0.0.0"):
        assert ip_address(address) not in OFFICES


def test_families_are_apart() -> None:
    assert ip_address("0.0.0.1") not in NetworkSet("::/0")
    assert ip_address("::ffff:192.0.2.1") not in NetworkSet("0.0.0.0/0")
    assert ip_address("::ffff:192.0.2.1") in NetworkSet("::ffff:192.0.2.0/120")


def test_the_ends_of_the_address_space() -> None:
    everything = NetworkSet("0.0.0.0/0", "::/0")
    for address in ("0.0.0.0", "255.255.255.255", "::", "ffff:" * 7 + "ffff"):
        assert ip_address(address) in everything
        assert ip_address(address) in NetworkSet(address)
        assert ip_address(address) not in NetworkSet()


def test_agrees_with_the_networks_one_by_one() -> None:
    rng = random.Random(1)
    for _ in range(50):
        networks = [
            ip_network((rng.getrandbits(32) >> shift << shift, 32 - shift))
            for shift in (rng.randrange(33) for _ in range(10))
        ] + [
            ip_network((IPv6Address(rng.getrandbits(128) >> shift << shift), 128 - shift))
            for shift in (rng.randrange(129) for _ in range(10))
        ]
        made = NetworkSet(*networks)
        for network in networks:
            first, last = int(network.network_address), int(network.broadcast_address)
            make = IPv4Address if network.version == 4 else IPv6Address
            for number in (first, last, first - 1, last + 1):
                if 0 <= number < 2**network.max_prefixlen:
                    address = make(number)
                    assert (address in made) == any(address in each for each in networks)


def test_intervals_are_sorted_and_joined() -> None:
    made = NetworkSet("10.1.0.0/16", "10.0.0.0/16", "10.0.128.0/24", "8.0.0.0/8", "12.0.0.0/8")
    assert made.intervals(4) == (
        (8 << 24, (9 << 24) - 1),
        (10 << 24, (10 << 24) + 2**17 - 1),
        (12 << 24, (13 << 24) - 1),
    )
    assert made.intervals(6) == ()


def test_keeps_its_networks_as_they_were_given_each_once() -> None:
    made = NetworkSet("2001:db8::/32", "10.0.0.0/9", "10.0.0.0/8", "10.0.0.0/8", "9.0.0.0/8")
    assert [str(each) for each in made] == [
        "9.0.0.0/8",
        "10.0.0.0/8",
        "10.0.0.0/9",
        "2001:db8::/32",
    ]
    assert len(made) == 4
    assert repr(made) == "NetworkSet('9.0.0.0/8', '10.0.0.0/8', '10.0.0.0/9', '2001:db8::/32')"
    assert eval(repr(made)) == made


def test_equal_by_networks() -> None:
    assert NetworkSet("10.0.0.0/8", "9.0.0.0/8") == NetworkSet("9.0.0.0/8", "10.0.0.0/8")
    assert len({NetworkSet("10.0.0.0/8"), NetworkSet(ip_network("10.0.0.0/8"))}) == 1
    assert NetworkSet("10.0.0.0/8") != NetworkSet("10.0.0.0/9", "10.128.0.0/9")
    assert NetworkSet() != frozenset()


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("192.0.2.1/24", "has host bits set"),
        ("192.0.2.0/33", "does not appear to be"),
        ("example.com", "does not appear to be"),
        (80, "80 is not a network"),
        ("fe80::%eth0/64", "has a scope"),
    ],
)
def test_what_is_no_network_is_refused(network: object, message: str) -> None:
    with pytest.raises(InetLookupError, match=message) as caught:
        NetworkSet(network)
    assert caught.value.hint
