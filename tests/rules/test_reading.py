"""Reading rulesets from files, and writing them."""

from __future__ import annotations

import csv
import io
import json
import re
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from inet_lookup import InetLookupError
from inet_lookup.rules import (
    DROP,
    FORMATS,
    PASS,
    RULE_KEYS,
    SERVICE_KEYS,
    Rule,
    RulesError,
    Ruleset,
    Service,
    parse,
    parse_rule_text,
    read,
    rule_entry,
    service_entry,
    to_csv,
    to_json_lines,
    to_toml,
)
from support.rulesets import rules, rulesets

WRITERS = {"toml": to_toml, "jsonl": to_json_lines, "csv": to_csv}


def ruleset(*texts: str, services: tuple[Service, ...] = ()) -> Ruleset:
    return Ruleset((rule for text in texts for rule in parse_rule_text(text)), services)


def complaints(text: str, format: str, name: str = "edge") -> list[str]:
    """Return all that is said about a text."""
    with pytest.raises(RulesError) as caught:
        parse(text, format, name=name)
    return [str(problem) for problem in caught.value.problems]


# The formats

TOML = """
[[service]]
name = "nginx"
on_miss = "drop"

[[rule]]
service = "nginx"
protocol = "tcp"
address = "192.0.2.0/24"
port = [80, "8000-8999"]

[[rule]]
action = "pass"            # leave these to the regular lookup
protocol = "tcp"
address = "192.0.2.1"
port = 22
source = "203.0.113.0/24"
interface = "eth0"
"""

JSON_LINES = """
{"name": "nginx", "on_miss": "drop"}
{"service": "nginx", "protocol": "tcp", "address": "192.0.2.0/24", "port": [80, "8000-8999"]}

{"action": "pass", "protocol": "tcp", "address": "192.0.2.1", "port": 22, \
"source": "203.0.113.0/24", "interface": "eth0"}
"""

CSV = """\
service,action,protocol,address,port,source,interface,name,on_miss
,,,,,,,nginx,drop
nginx,,tcp,192.0.2.0/24,"80,8000-8999",,,,
,pass,tcp,192.0.2.1,22,203.0.113.0/24,eth0
"""


@pytest.mark.parametrize(("format", "text"), [("toml", TOML), ("jsonl", JSON_LINES), ("csv", CSV)])
def test_the_formats_have_the_same_keys(format: str, text: str) -> None:
    assert parse(text, format) == ruleset(
        "nginx tcp 192.0.2.0/24 80",
        "nginx tcp 192.0.2.0/24 8000-8999",
        "pass tcp 192.0.2.1 22 from 203.0.113.0/24 on eth0",
    )


def test_a_file_tells_its_format_by_its_suffix(tmp_path: Path) -> None:
    for name, text in {
        "edge.toml": TOML,
        "edge.jsonl": JSON_LINES,
        "edge.ndjson": JSON_LINES,
        "EDGE.CSV": CSV,
    }.items():
        (tmp_path / name).write_text(text)
        assert read(tmp_path / name) == parse(TOML, "toml")
    (tmp_path / "edge.json").write_text('{"bindings": []}')
    assert read(tmp_path / "edge.json") == Ruleset()


def test_a_file_may_be_told_its_format_and_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "edge").write_text("\ufeff" + CSV)
    assert read(tmp_path / "edge", "csv") == parse(TOML, "toml")


@pytest.mark.parametrize("format", FORMATS)
def test_an_empty_file_is_an_empty_ruleset_where_the_format_has_one(format: str) -> None:
    if format == "tubular":
        assert complaints("", format)[0].startswith("edge:1: not valid JSON")
    else:
        assert parse("", format) == Ruleset()


def test_services_need_not_be_declared_where_none_is() -> None:
    text = '{"service": "nginx", "protocol": "tcp", "address": "192.0.2.1", "port": 80}'
    assert parse(text, "jsonl").services == (Service("nginx", DROP),)


def test_a_csv_file_may_lack_columns_and_have_them_in_any_order() -> None:
    text = "port,address,protocol,service\n80,192.0.2.1,tcp,nginx\n\n"
    assert parse(text, "csv") == ruleset("nginx tcp 192.0.2.1 80")


# tubular's bindings


def test_a_binding_without_a_protocol_means_both_and_port_0_means_any() -> None:
    text = """{"bindings": [
        {"label": "foo", "prefix": "127.0.0.1/32", "port": 0},
        {"label": "bar", "protocol": "tcp", "prefix": "127.0.0.0/24", "port": 80}
    ]}"""
    assert parse(text, "tubular") == ruleset(
        "foo tcp 127.0.0.1 any", "foo udp 127.0.0.1 any", "bar tcp 127.0.0.0/24 80"
    )


def test_a_binding_may_have_host_bits_and_mapped_addresses_as_tubular_takes_them() -> None:
    text = """{"bindings": [
        {"label": "a", "protocol": "udp", "prefix": "::1/64", "port": 53},
        {"label": "b", "protocol": "udp", "prefix": "::ffff:192.0.2.7/120", "port": 53}
    ]}"""
    assert parse(text, "tubular") == ruleset("a udp ::/64 53", "b udp 192.0.2.0/24 53")


def test_what_is_wrong_with_bindings_is_said_with_their_lines() -> None:
    text = """{
        "bindings": [
            {"label": "foo", "prefix": "127.0.0.1", "port": 1, "bogus": [1, {"a": "]"}]},
            {
                "label": "a b",
                "prefix": "127.0.0.300/8", "port": "80"
            }, {"label": "baz", "protocol": "tcp,udp", "prefix": "::1"}
        ],
        "binding": 1
    }"""
    assert complaints(text, "tubular", "b.json") == [
        'b.json:3: binding 1: bogus: unknown key "bogus" (known are label, protocol, prefix, port)',
        'b.json:4: binding 2: label: "a b" is not a service name'
        " (letters, digits and _ . @ + -, beginning with a letter, a digit or _)",
        'b.json:4: binding 2: prefix: "127.0.0.300" is not an IPv4 or IPv6 address'
        " (each of the four numbers is 0 to 255)",
        'b.json:4: binding 2: port: "80" is not a port (a number; 0 means any)',
        'b.json:7: binding 3: protocol: "tcp,udp" is not a protocol'
        " (write one rule for tcp and one for udp)",
        "b.json:7: binding 3: a binding needs a port (0 means any)",
        'b.json: binding: unknown key "binding" (did you mean "bindings"?)',
    ]


def test_bindings_that_tubular_would_overwrite_in_silence_are_ambiguous() -> None:
    text = """{"bindings": [
        {"label": "a", "prefix": "::1", "port": 0, "protocol": "tcp"},
        {"label": "b", "prefix": "::1", "port": 0}
    ]}"""
    (complaint,) = complaints(text, "tubular")
    assert complaint.startswith("edge:3: binding 2: ")
    assert "binding 1 (line 2): both match tcp [::1]:0" in complaint


@pytest.mark.parametrize("text", ["[]", "{}", "3", '{"rules": []}'])
def test_json_that_is_not_bindings_is_met_with_the_name_for_json_lines(text: str) -> None:
    assert ".jsonl" in complaints(text, "tubular")[0]


# Errors


def test_everything_wrong_with_a_file_is_said_at_once_in_the_order_of_the_file() -> None:
    text = """\
[[service]]
name = "nginx"
on_mis = "drop"

[[rule]]
service = "ngnix"
protocol = "tpc"
address = "192.0.2.7/24"
port = [
    80,  # [[rule]]
    0,
]

[[rule]]
service = "nginx"
proto = "tcp"
address = "192.0.2.0/24"
port = 65536

[[rule]]
action = "allow"
"""
    # The declaration of nginx has a mistake, which is said; its rules do not suffer for it.
    assert complaints(text, "toml", "edge.toml") == [
        'edge.toml:3: service 1: on_mis: unknown key "on_mis" (did you mean "on_miss"?)',
        'edge.toml:6: rule 1: service: the service "ngnix" is not declared (did you mean "nginx"?)',
        'edge.toml:7: rule 1: protocol: "tpc" is not a protocol (did you mean "tcp"?)',
        'edge.toml:8: rule 1: address: "192.0.2.7/24" has bits set beyond its prefix length'
        ' (the prefix is "192.0.2.0/24", the single address "192.0.2.7")',
        "edge.toml:9: rule 1: port: port 0 is out of range"
        ' (ports start at 1; all of them are "any")',
        'edge.toml:16: rule 2: proto: unknown key "proto" (did you mean "protocol"?)',
        "edge.toml:18: rule 2: port: port 65536 is out of range (ports are 1 to 65535)",
        'edge.toml:20: rule 3: a rule needs the key protocol (such as protocol = "tcp")',
        'edge.toml:20: rule 3: a rule needs the key address (such as address = "192.0.2.0/24")',
        "edge.toml:20: rule 3: a rule needs the key port (such as port = 80)",
        'edge.toml:21: rule 3: action: "allow" is not an action'
        ' ("pass" or "drop"; a service is named by the key service)',
    ]


def test_the_error_is_one_of_the_package_with_all_problems_in_its_message() -> None:
    with pytest.raises(InetLookupError) as caught:
        parse("a\nb", "jsonl", name="edge.jsonl")
    assert caught.value.message.startswith("2 problems:\n  edge.jsonl:1: not valid JSON")
    with pytest.raises(InetLookupError) as caught:
        parse('{"port": 0}\n' * 100, "jsonl")
    assert caught.value.message.endswith("and 350 more")


def test_an_error_of_one_problem_keeps_its_hint_apart() -> None:
    with pytest.raises(InetLookupError) as caught:
        parse("[rule]", "toml", name="edge.toml")
    assert caught.value.message == "edge.toml:1: rule is not an array of tables"
    assert caught.value.hint == "write [[rule]]"


def test_ambiguous_rules_are_named_with_their_lines_and_a_packet() -> None:
    text = """\
service,protocol,address,port
a,tcp,192.0.2.0/24,80
b,tcp,192.0.2.0/25,80
c,tcp,192.0.2.0/24,"79,80"
d,udp,192.0.2.0/24,"80-89,85-94"
"""
    assert complaints(text, "csv", "edge.csv") == [
        'edge.csv:4: rule 3: "c tcp 192.0.2.0/24 80" is ambiguous with "a tcp 192.0.2.0/24 80",'
        " rule 1 (line 2): both match tcp 192.0.2.0:80"
        " (remove one, or make one more specific)",
        'edge.csv:5: rule 4: "d udp 192.0.2.0/24 85-94" is ambiguous with'
        ' "d udp 192.0.2.0/24 80-89", in the same entry: both match udp 192.0.2.0:85'
        " (remove one, or make one more specific)",
    ]


def test_ambiguities_are_found_beside_other_problems() -> None:
    text = """\
{"service": "a", "protocol": "tcp", "address": "::/0", "port": 80}
{"service": "b", "protocol": "tcp", "address": "::/0", "port": 80}
{"service": "c", "protocol": "tcp", "address": "::/0", "port": 0}
"""
    first, second = complaints(text, "jsonl")
    assert first.startswith("edge:2: rule 2: ")
    assert second.startswith("edge:3: rule 3: port: ")


def test_a_rule_given_twice_is_one_rule() -> None:
    line = '{"service": "a", "protocol": "tcp", "address": "::/0", "port": 80}\n'
    assert parse(line * 3, "jsonl") == ruleset("a tcp ::/0 80")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[[rule]\n", "edge:1: not valid TOML: "),
        ("\n\nx = ", "edge:3: not valid TOML: "),
        ("rule = 1", "edge:1: rule is not an array of tables (write [[rule]])"),
        ("[[rules]]\n", 'edge:1: rules: unknown key "rules" (did you mean "rule"?)'),
        ("a = 1\n\n\nb = 2", 'edge:1: a: unknown key "a" (known are rule, service)'),
        ("rule = [1]", "edge:1: rule is not an array of tables (write [[rule]])"),
    ],
)
def test_toml_that_cannot_be_used_is_met_with_its_line(text: str, complaint: str) -> None:
    assert complaints(text, "toml")[0].startswith(complaint)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("\n{", "edge:2: not valid JSON: "),
        ("[]", "edge:1: this is not a JSON object (one rule or service a line)"),
        ('{"port": 80, "port": 81}', 'edge:1: the key "port" is there twice'),
        ("[" * 100_000, "edge:1: not valid JSON: nested too deeply"),
        ('{"port": ' + "9" * 5000 + "}", "edge:1: not valid JSON: "),
        ('{"name": "a", "port": 80}', 'edge:1: service 1: port: unknown key "port"'),
    ],
    ids=range(6),
)
def test_json_lines_that_cannot_be_used_are_met_with_their_line(text: str, complaint: str) -> None:
    assert complaints(text, "jsonl")[0].startswith(complaint)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "proto,address\n",
            'edge:1: header: proto: unknown key "proto" (did you mean "protocol"?)',
        ),
        ("port,port\n", 'edge:1: header: the column "port" is there twice'),
        (
            "name\na,b\n",
            'edge:2: the row has 2 cells, the header 1 (a list of ports is quoted: "80,',
        ),
        ('name\n"a', "edge:2: not valid CSV: "),
        ('name\n\n"a\nb"\n', "edge:3: service 1: name: "),
    ],
)
def test_csv_that_cannot_be_used_is_met_with_its_line(text: str, complaint: str) -> None:
    assert complaints(text, "csv")[0].startswith(complaint)


def test_a_service_is_declared_once() -> None:
    text = '{"name": "a"}\n{"name": "b"}\n{"name": "a"}\n'
    assert complaints(text, "jsonl") == [
        'edge:3: service 3: name: "a" is declared by service 1 (line 1)'
    ]


def test_a_rule_has_a_service_or_an_action() -> None:
    text = (
        '{"service": "a", "action": "drop", "protocol": "tcp", "address": "::", "port": 1}\n'
        '{"protocol": "tcp", "address": "::", "port": 1}\n'
        '{"service": "pass", "protocol": "tcp", "address": "::", "port": 1}\n'
    )
    assert complaints(text, "jsonl") == [
        "edge:1: rule 1: action: a rule has either a service or an action (remove one)",
        'edge:2: rule 2: a rule needs a service or an action (such as service = "nginx")',
        'edge:3: rule 3: service: "pass" is an action and cannot name a service'
        ' (write action = "pass")',
    ]


def test_a_file_that_cannot_be_read_is_a_problem_of_the_rules(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match="No such file"):
        read(tmp_path / "edge.toml")
    with pytest.raises(RulesError, match="Is a directory"):
        read(tmp_path, "toml")
    with pytest.raises(RulesError, match=r"cannot tell the format .* suffixes \.toml"):
        read(tmp_path / "edge.txt")
    with pytest.raises(RulesError, match="null byte"):
        read("edge\0.toml")
    with pytest.raises(RulesError, match=r'did you mean "toml"\?'):
        read(tmp_path / "edge.toml", "tml")
    (tmp_path / "edge.toml").write_bytes(b"# \n\xff")
    with pytest.raises(RulesError, match=r"edge\.toml:2: the file is not UTF-8 text"):
        read(tmp_path / "edge.toml")


# Lines of a TOML file, which the standard parser does not tell


_NOISE = st.sampled_from(
    [
        "",
        "# [[rule]] port = 1",
        "   ",
        "#'''",
        '# """',
    ]
)
_GOOD_PORTS = st.sampled_from(
    [
        "80",
        '"80"',
        "'80'",
        '[\n  80, # ]\n  "443",\n]',
        '"""8000-\\\n   8999"""',
        "'''\n80'''",
        "0x50",
    ]
)
_BAD_PORTS = st.sampled_from(
    [
        "0",
        '"0 # no comment"',
        '["#"]',
        '"""\n[[rule]]\nport = 80\n"""',
        "'''a''b'''''",
        '"""a""\\""""""',
        "{ low = 80, high = 90 }",
        "[ [\n80], { a = ']' } ]",
        "1979-05-27T07:32:00Z",
    ]
)
_KEYS = st.sampled_from(["port", '"port"', "'port'", '"p\\u006Frt"', "  port  "])
_HEADERS = st.sampled_from(
    ["[[rule]]", "[[ rule ]]", '[["rule"]]', "[['rule']] # [x]", "  [[rule]]", '[["r\\u0075le"]]']
)


@given(
    st.lists(st.tuples(_HEADERS, _NOISE, _KEYS, st.booleans(), _GOOD_PORTS, _BAD_PORTS), max_size=6)
)
@settings(max_examples=300, deadline=None)
def test_a_problem_in_toml_has_the_line_of_its_key(
    entries: list[tuple[str, str, str, bool, str, str]],
) -> None:
    lines = ["title = [", "  { a = 1 },", "  '''", "[[rule]]''',", "]"]
    wrong = []
    for number, (header, noise, key, good, good_port, bad_port) in enumerate(entries, 1):
        lines += [noise, header, f'service = "s{number}"', noise, 'protocol="tcp"']
        lines += [f'address = "192.0.2.{number}"']
        if not good:
            wrong.append((number, sum(line.count("\n") + 1 for line in lines) + 1))
        lines += [f"{key} = {good_port if good else bad_port} {noise}", noise]
    with pytest.raises(RulesError) as caught:
        parse("\n".join(lines), "toml")
    title, *others = caught.value.problems
    assert (title.line, title.key) == (1, "title")
    found = dict.fromkeys((int(str(other.entry).split()[1]), other.line) for other in others)
    assert list(found) == wrong


def test_inline_and_nested_tables_have_lines_too() -> None:
    text = """\
rule = [
  { service = "a", protocol = "tcp", address = "::", port = 80 }, # {
  { service = "a", protocol = "tcp", address = "::", port = {x = [
    {}]} },
  { service = "}", protocol = "tcp", address = "::", port = 80 },
]
"""
    assert [(p.split(": ")[0:3]) for p in complaints(text, "toml")] == [
        ["edge:3", "rule 2", "port"],
        ["edge:5", "rule 3", "service"],
    ]
    text = "[[rule]]\nport = [\n  { a = 1 },\n]\n"
    assert complaints(text, "toml")[0].startswith("edge:1: rule 1: a rule needs")
    text = '[[rule]]\nservice="a"\nprotocol="tcp"\naddress="::"\n\n[rule.port]\nport = 80\n'
    assert complaints(text, "toml")[0].startswith("edge:6: rule 1: port: ")
    text = '[[rule]]\nservice="a"\nprotocol="tcp"\naddress="::"\n\nport.x = 80\n'
    assert complaints(text, "toml")[0].startswith("edge:6: rule 1: port: ")


# Writing


@pytest.mark.parametrize("format", WRITERS)
@given(rulesets(rules(), max_rules=20))
@settings(max_examples=40, deadline=None)
def test_a_ruleset_reads_back_as_it_is_written(format: str, some: Ruleset) -> None:
    assert parse(WRITERS[format](some), format) == some


@pytest.mark.parametrize("format", WRITERS)
@pytest.mark.parametrize("interface", ['a"b', "a\\b", "a,b", "é", "a'b", "a#b", "=1", "-x", '"""'])
def test_odd_interface_names_survive_writing(format: str, interface: str) -> None:
    (plain,) = parse_rule_text("a tcp 192.0.2.1 80")
    some = Ruleset(
        [Rule(plain.action, plain.protocol, plain.address, plain.ports, None, interface)]
    )
    assert parse(WRITERS[format](some), format) == some
    assert parse_rule_text(str(some.rules[0])) == some.rules


@given(rules())
def test_a_rule_survives_printing(rule: Rule) -> None:
    assert parse_rule_text(str(rule)) == (rule,)


def test_rules_that_differ_in_ports_alone_are_written_as_one() -> None:
    some = ruleset(
        "nginx tcp 192.0.2.0/24 80,443,8000-8999", services=(Service("nginx"), Service("x", PASS))
    )
    assert (
        to_toml(some)
        == """\
[[service]]
name = "nginx"
on_miss = "drop"

[[service]]
name = "x"
on_miss = "pass"

[[rule]]
service = "nginx"
protocol = "tcp"
address = "192.0.2.0/24"
port = [80, 443, "8000-8999"]
"""
    )
    assert list(csv.DictReader(io.StringIO(to_csv(some))))[2]["port"] == "80,443,8000-8999"
    assert json.loads(to_json_lines(some).splitlines()[2])["port"] == [80, 443, "8000-8999"]


def test_a_rule_and_a_service_have_the_keys_of_the_file() -> None:
    (rule,) = parse_rule_text("drop udp 2001:db8::/64 any on eth0")
    assert rule_entry(rule) == {
        "action": "drop",
        "protocol": "udp",
        "address": "2001:db8::/64",
        "port": "any",
        "interface": "eth0",
    }
    assert service_entry(Service("a")) == {"name": "a", "on_miss": "drop"}


# Garbage

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["tcp", "udp", "192.0.2.0/24", "::1", "80", "any", "nginx", "pass", "eth0"])
)
_KEY_NAMES = st.text(max_size=5) | st.sampled_from(
    [*RULE_KEYS, *SERVICE_KEYS, "rule", "bindings", "label", "prefix"]
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEY_NAMES, inner, max_size=6),
    max_leaves=12,
)


def _reads_or_refuses(text: str, format: str) -> None:
    with suppress(RulesError):
        assert isinstance(parse(text, format), Ruleset)


@pytest.mark.parametrize("format", FORMATS)
@given(st.text() | st.text(alphabet="[]{}\"'\\=,:#.\n\r\0 abc80-ｏ８\ud800", max_size=60))
@example("\ufeff")
@example("[" * 5000)
@example("a = " + "[" * 5000)
@example('{"a":' * 5000)
@example("port = 80\x00")
@example("a=1\r\nb=2\r\n[[rule]]\r\nport=0\r\n")
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_refused(format: str, text: str) -> None:
    _reads_or_refuses(text, format)


@pytest.mark.parametrize("format", FORMATS)
@given(data=st.binary(max_size=80))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_read_or_refused(tmp_path: Path, format: str, data: bytes) -> None:
    (tmp_path / "edge").write_bytes(data)
    with suppress(RulesError):
        assert isinstance(read(tmp_path / "edge", format), Ruleset)


@given(_VALUES)
@settings(max_examples=300, deadline=None)
def test_any_json_is_read_or_refused(value: object) -> None:
    _reads_or_refuses(json.dumps(value), "jsonl")
    _reads_or_refuses(json.dumps(value, indent=1), "tubular")
    _reads_or_refuses(json.dumps({"bindings": value}, indent=1), "tubular")
    _reads_or_refuses(json.dumps({"x": 1, "bindings": [value, {}]}, indent=1), "tubular")


def _toml_of(value: object) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(key)} = {_toml_of(one)}" for key, one in value.items())
        return f"{{{inner}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_of, value))}]"
    if isinstance(value, float):
        return "nan"
    return "''" if value is None else json.dumps(value)


@given(st.lists(st.dictionaries(_KEY_NAMES, _VALUES, max_size=6), max_size=3))
@settings(max_examples=150, deadline=None)
def test_any_toml_is_read_or_refused(entries: list[dict[str, object]]) -> None:
    _reads_or_refuses(f"rule = {_toml_of(list(entries))}", "toml")
    tables = (
        "[[rule]]\n" + "".join(f"{json.dumps(k)} = {_toml_of(v)}\n" for k, v in entry.items())
        for entry in entries
    )
    _reads_or_refuses("\n".join(tables), "toml")


@given(st.lists(st.lists(_SCALARS.map(str) | _KEY_NAMES, max_size=5), max_size=4))
@settings(max_examples=200, deadline=None)
def test_any_table_is_read_or_refused(rows: list[list[str]]) -> None:
    out = io.StringIO()
    csv.writer(out).writerows([["service", "protocol", "address", "port", "name"], *rows])
    _reads_or_refuses(out.getvalue(), "csv")


@given(rulesets(rules(), max_rules=4), st.sampled_from(sorted(WRITERS)), st.data())
@settings(max_examples=200, deadline=None)
def test_a_file_with_a_slip_is_read_or_refused(
    some: Ruleset, format: str, data: st.DataObject
) -> None:
    text = WRITERS[format](some)
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(0, 4))
    _reads_or_refuses(text[:at] + data.draw(st.text(max_size=3)) + text[at + cut :], format)


@given(st.lists(st.text(max_size=12), min_size=4, max_size=4))
def test_any_rule_text_is_read_or_refused(words: list[str]) -> None:
    with suppress(RulesError):
        parse_rule_text(" ".join(words))


# The documentation

_DOCUMENT = Path(__file__).parents[2] / "docs" / "rules.md"


def _examples(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", _DOCUMENT.read_text(), re.DOTALL)


def test_the_files_in_the_documentation_are_what_they_say() -> None:
    (toml,) = _examples("toml")
    json_lines, tubular = _examples("json")
    (table,) = _examples("csv")
    full = parse(toml, "toml")
    assert len(full.rules) == 3
    nginx_only = Ruleset((rule for rule in full.rules if rule.service == "nginx"), full.services)
    assert parse(json_lines, "jsonl") == nginx_only == parse(table, "csv")
    assert parse(tubular, "tubular") == ruleset("foo tcp 127.0.0.0/24 80")


def test_the_python_in_the_documentation_prints_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (toml,), (python,) = _examples("toml"), _examples("python")
    (tmp_path / "edge.toml").write_text(toml)
    monkeypatch.chdir(tmp_path)
    exec(python, {})
    printed = capsys.readouterr().out
    for line in (
        "apache tcp 192.0.2.64/28 80 wins",
        "nginx tcp 192.0.2.0/24 80 192.0.2.64/28 is a longer prefix than 192.0.2.0/24",
        "tcp 192.0.2.64/28 port 80: nginx -> apache",
    ):
        assert line in python
        assert line in printed.splitlines()
    written = printed[printed.index("[[service]]") :]
    assert written.strip() == to_toml(parse(written, "toml")).strip()
