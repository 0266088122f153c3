"""Prefixes, ports, services, rules and rulesets are values."""

from __future__ import annotations

import pickle
import subprocess
import sys
from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inet_lookup.rules import (
    ANY_PORT,
    DROP,
    PASS,
    Family,
    Packet,
    Ports,
    Prefix,
    Protocol,
    Rule,
    RulesError,
    Ruleset,
    Service,
    parse_ports,
    parse_protocol,
    parse_rule,
    parse_rule_text,
)


def complaint(text: str) -> str:
    """Return what is said about a prefix that cannot be read."""
    with pytest.raises(RulesError) as caught:
        Prefix.parse(text)
    return str(caught.value)


# Prefixes


def test_a_prefix_is_an_integer_and_a_length() -> None:
    assert Prefix.parse("192.0.2.0/24") == Prefix(Family.IPV4, 0xC0000200, 24)
    assert Prefix.parse("2001:db8::/32") == Prefix(Family.IPV6, 0x20010DB8 << 96, 32)


def test_a_single_address_is_the_longest_prefix() -> None:
    assert Prefix.parse("192.0.2.1") == Prefix.parse("192.0.2.1/32")
    assert str(Prefix.parse("192.0.2.1/32")) == "192.0.2.1"
    assert str(Prefix.parse("2001:DB8:0::1/128")) == "2001:db8::1"


@given(st.ip_addresses(), st.data())
def test_a_prefix_reads_back_as_it_is_written(address: object, data: st.DataObject) -> None:
    bits = 32 if "." in str(address) and ":" not in str(address) else 128
    network = ip_network(f"{address}/{data.draw(st.integers(0, bits))}", strict=False)
    if network.version == 6 and network.prefixlen >= 96 and network.network_address.ipv4_mapped:
        return
    prefix = Prefix.parse(str(network))
    assert Prefix.parse(str(prefix)) == prefix
    assert ip_network(str(prefix)) == network
    assert prefix.last == int(network.broadcast_address)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("192.0.2.7/24", 'the prefix is "192.0.2.0/24", the single address "192.0.2.7"'),
        ("2001:db8::1/64", 'the prefix is "2001:db8::/64", the single address "2001:db8::1"'),
        ("192.0.2.0/33", "IPv4 has 0 to 32"),
        ("192.0.2.0/", "a number from 0 to 32"),
        ("192.0.2.0/255.255.255.0", 'masks are written as a length: "192.0.2.0/24"'),
        ("2001:db8::/ffff", "a number from 0 to 128"),
        ("192.0.2.256", "each of the four numbers is 0 to 255"),
        ("192.0.002.001", 'leading zeros are not taken, write "192.0.2.1"'),
        ("192.0.2.1:80", 'write "192.0.2.1"; the port is given apart'),
        ("[2001:db8::1]:80", 'write "2001:db8::1"; the port is given apart'),
        ("[2001:db8::1]", 'write "2001:db8::1", without brackets'),
        ("fe80::1%eth0", 'write "fe80::1", and the key interface = "eth0"'),
        ("::ffff:192.0.2.1", 'packets to them are IPv4, write "192.0.2.1"'),
        ("::ffff:192.0.2.0/120", 'packets to them are IPv4, write "192.0.2.0/24"'),
        (" 192.0.2.1", "remove the space around it"),
        ("any", 'all addresses are "0.0.0.0/0" and, in a second rule, "::/0"'),
        ("localhost", "names are not resolved, give the address"),
        ("", "such as 192.0.2.0/24, 192.0.2.1 or 2001:db8::/64"),
        ("192.0.2.0/２４", "a number from 0 to 32"),
        ("1.2.3.4\0", "such as 192.0.2.0/24"),
    ],
)
def test_a_prefix_that_cannot_be_read_is_met_with_what_was_meant(text: str, hint: str) -> None:
    assert hint in complaint(text)


# Ports


@pytest.mark.parametrize(
    ("value", "ports"),
    [
        (80, [Ports(80, 80)]),
        ("80", [Ports(80, 80)]),
        ("8000-8999", [Ports(8000, 8999)]),
        ("80-80", [Ports(80, 80)]),
        ("any", [ANY_PORT]),
        ("1-65535", [Ports(1, 65535)]),
        ("80,443, 8000-8080", [Ports(80, 80), Ports(443, 443), Ports(8000, 8080)]),
        ([80, "443", "8000-8080"], [Ports(80, 80), Ports(443, 443), Ports(8000, 8080)]),
        ([80, 80, "80"], [Ports(80, 80)]),
    ],
)
def test_ports_are_a_number_a_range_any_or_several(value: object, ports: list[Ports]) -> None:
    assert parse_ports(value) == tuple(ports)


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (0, 'port 0 is out of range (ports start at 1; all of them are "any")'),
        (65536, "port 65536 is out of range (ports are 1 to 65535)"),
        (-1, "port -1 is out of range (ports are 1 to 65535)"),
        pytest.param(10**5000, "port a huge int is out of range", id="huge"),
        pytest.param("9" * 5000, "is not a port", id="long"),
        ("0-100", 'ports start at 1; all of them are "any"'),
        ("1-65536", 'port "1-65536" is out of range'),
        ("90-80", 'the range "90-80" is reversed (write "80-90")'),
        ("80:90", 'a range is written "80-90"'),
        ("80..90", 'a range is written "80-90"'),
        ("http", "service names are not resolved, give the number"),
        ("ANY", 'write "any"'),
        ("*", 'write "any"'),
        ("", '"" is not a port'),
        ("80,", '"" is not a port'),
        ("-80", '"-80" is not a port'),
        ("８０", "is not a port"),
        (True, "True is not a port"),
        (80.0, "80.0 is not a port"),
        (None, "None is not a port"),
        ([], 'the list of ports is empty (for all ports write "any")'),
        ([80, [443]], "[443] is not a port"),
    ],
)
def test_ports_that_cannot_be_read_are_met_with_what_was_meant(
    value: object, complaint: str
) -> None:
    with pytest.raises(RulesError) as caught:
        parse_ports(value)
    assert complaint in str(caught.value)


def test_all_wrong_ports_of_a_list_are_named() -> None:
    with pytest.raises(RulesError) as caught:
        parse_ports([0, 80, "90-80", "http"])
    assert len(caught.value.problems) == 3


# Services and rules


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("TCP", 'did you mean "tcp"?'),
        ("tpc", 'did you mean "tcp"?'),
        ("upd", 'did you mean "udp"?'),
        ("any", "write one rule for tcp and one for udp"),
        ("tcp,udp", "write one rule for tcp and one for udp"),
        ("icmp", '"tcp" or "udp"'),
        (6, '"tcp" or "udp"'),
        (["tcp"], '"tcp" or "udp"'),
    ],
)
def test_a_protocol_that_is_none_is_met_with_what_was_meant(value: object, hint: str) -> None:
    with pytest.raises(RulesError) as caught:
        parse_protocol(value)
    assert caught.value.hint == hint


@pytest.mark.parametrize("name", ["nginx", "a", "_x", "9p", "web.service", "app@1", "a" * 63])
def test_a_service_name(name: str) -> None:
    assert Service(name).on_miss == DROP


@pytest.mark.parametrize(
    "name", ["", "pass", "drop", "a" * 64, "a b", "-a", "a/b", "a:b", "é", "a\n"]
)
def test_not_a_service_name(name: str) -> None:
    with pytest.raises(RulesError):
        Service(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a" * 16, "é" * 8, "eth 0", "a/b", "eth0:1", "\x7f"]
)
def test_not_an_interface_name(name: str) -> None:
    with pytest.raises(RulesError):
        parse_rule("nginx", "tcp", "192.0.2.1", "80", interface=name)


def test_a_rule_of_several_ports_is_a_rule_for_each() -> None:
    assert [str(rule) for rule in parse_rule("nginx", "tcp", "192.0.2.0/24", "80,8000-8080")] == [
        "nginx tcp 192.0.2.0/24 80",
        "nginx tcp 192.0.2.0/24 8000-8080",
    ]


def test_pass_and_drop_stand_where_a_service_does() -> None:
    (rule,) = parse_rule("pass", "udp", "2001:db8::/64", "any")
    assert (rule.action, rule.service) == (PASS, None)
    (rule,) = parse_rule("dns", "udp", "2001:db8::/64", "53")
    assert (rule.action, rule.service) == ("dns", "dns")


def test_a_rule_reads_back_as_it_is_printed() -> None:
    text = "nginx tcp 192.0.2.0/24 8000-8999 from 203.0.113.0/24 on eth0"
    (rule,) = parse_rule_text(text)
    assert str(rule) == text


def test_a_source_of_all_addresses_is_no_source() -> None:
    (one,) = parse_rule("a", "tcp", "192.0.2.1", "80", source="0.0.0.0/0")
    (other,) = parse_rule("a", "tcp", "192.0.2.1", "80")
    assert one == other


def test_a_source_of_the_other_family_is_refused() -> None:
    with pytest.raises(RulesError, match="one rule for each family"):
        parse_rule("a", "tcp", "192.0.2.1", "80", source="2001:db8::/64")


def test_all_that_is_wrong_with_arguments_is_said() -> None:
    with pytest.raises(RulesError) as caught:
        parse_rule("a b", "tpc", "192.0.2.1/24", "0", source="x", interface="")
    keys = [problem.key for problem in caught.value.problems]
    assert keys == ["service", "protocol", "address", "port", "source", "interface"]


@pytest.mark.parametrize("text", ["", "a tcp", "a tcp 192.0.2.1 80 x", "a tcp 192.0.2.1 80 from"])
def test_text_that_is_not_a_rule_is_met_with_the_form(text: str) -> None:
    with pytest.raises(RulesError, match="SERVICE PROTOCOL ADDRESS PORT"):
        parse_rule_text(text)


# Rulesets


def test_rulesets_are_equal_whatever_the_order_and_number_of_their_rules() -> None:
    first = parse_rule("a", "tcp", "192.0.2.1", "80,443")
    second = parse_rule("b", "udp", "::/0", "any")
    one, other = Ruleset([*first, *second]), Ruleset([*second, *reversed(first), *second])
    assert one == other
    assert hash(one) == hash(other)
    assert one.rules == other.rules


def test_services_that_rules_name_are_in_the_ruleset() -> None:
    ruleset = Ruleset(parse_rule("a", "tcp", "192.0.2.1", "80"), [Service("b", PASS)])
    assert ruleset.services == (Service("a", DROP), Service("b", PASS))
    assert ruleset.service("b").on_miss == PASS
    with pytest.raises(KeyError):
        ruleset.service("c")


def test_a_service_has_one_on_miss() -> None:
    with pytest.raises(RulesError, match="two values of on_miss"):
        Ruleset(services=[Service("a", PASS), Service("a", DROP)])


def test_rules_are_added_and_removed_by_making_another_ruleset() -> None:
    first = parse_rule("a", "tcp", "192.0.2.1", "80")
    second = parse_rule("b", "tcp", "192.0.2.2", "80")
    ruleset = Ruleset(first)
    assert ruleset.with_rules(second) == Ruleset([*first, *second])
    assert ruleset.rules == first
    alone = ruleset.with_rules(second).without_rules(first)
    assert alone.rules == second
    assert [service.name for service in alone.services] == ["a", "b"]
    assert alone.without_service("a") == Ruleset(second)


@pytest.mark.parametrize(
    "value",
    [
        Prefix.parse("192.0.2.0/24"),
        Ports(80, 90),
        Service("a"),
        *parse_rule("a", "tcp", "192.0.2.1", "80", interface="eth0"),
        Ruleset(parse_rule("a", "tcp", "192.0.2.1", "80,443")),
        Packet.parse("tcp", "192.0.2.1:80"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_cannot_be_changed_but_hashed_and_pickled(value: object) -> None:
    assert pickle.loads(pickle.dumps(value)) == value
    assert hash(value) == hash(pickle.loads(pickle.dumps(value)))
    name = next(iter(type(value).__dataclass_fields__))  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        setattr(value, name, None)
    assert not hasattr(value, "__dict__")


def test_nonsense_is_not_a_value() -> None:
    with pytest.raises(RulesError):
        Prefix(Family.IPV4, 1, 24)
    with pytest.raises(RulesError):
        Prefix(Family.IPV4, 0, 33)
    with pytest.raises(RulesError):
        Prefix(Family.IPV4, 1 << 32, 32)
    with pytest.raises(RulesError):
        Ports(90, 80)
    with pytest.raises(RulesError):
        Rule("a", Protocol.TCP, Prefix.parse("192.0.2.1"), Ports(0, 80))


# Packets


@pytest.mark.parametrize(
    ("local", "text"),
    [
        ("192.0.2.1:80", "tcp 192.0.2.1:80"),
        ("[2001:db8::1]:80", "tcp [2001:db8::1]:80"),
    ],
)
def test_a_packet_is_named_by_its_destination(local: str, text: str) -> None:
    assert str(Packet.parse("tcp", local)) == text


def test_a_packet_has_a_source_and_an_interface() -> None:
    packet = Packet.parse("udp", "[::1]:53", "[2001:db8::7]:4711", "eth0")
    assert str(packet) == "udp [::1]:53 from [2001:db8::7]:4711 on eth0"
    assert str(Packet.parse("udp", "192.0.2.1:53", "203.0.113.9")).endswith("from 203.0.113.9")


@pytest.mark.parametrize(
    ("local", "remote"),
    [
        ("192.0.2.1", None),
        ("2001:db8::1", None),
        ("2001:db8::1:80", None),
        ("[2001:db8::1:80", None),
        ("[2001:db8::1]80", None),
        ("192.0.2.1:65536", None),
        ("192.0.2.1:http", None),
        ("192.0.2.1:", None),
        ("[::ffff:192.0.2.1]:80", None),
        ("192.0.2.1:80", "[2001:db8::1]:80"),
        ("192.0.2.1:80", ""),
        ("", None),
    ],
)
def test_a_packet_that_cannot_be_read_is_refused(local: str, remote: str | None) -> None:
    with pytest.raises(RulesError):
        Packet.parse("tcp", local, remote)


# The package


def test_importing_the_rules_imports_no_parser() -> None:
    code = (
        "import sys; from inet_lookup.rules import diff, lint, lookup, read, to_toml;"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(done.stdout.split())
    assert "inet_lookup.rules.reading" in imported
    assert not imported & {"ipaddress", "tomllib", "json", "csv", "difflib", "llvmlite", "ctypes"}


def test_a_name_that_the_rules_do_not_have_is_an_attribute_error() -> None:
    from inet_lookup import rules

    assert "Ruleset" in dir(rules)
    with pytest.raises(AttributeError, match="nonsense"):
        rules.nonsense  # type: ignore[attr-defined]  # noqa: B018
