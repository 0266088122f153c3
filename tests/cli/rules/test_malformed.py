"""Whatever is malformed gets one clear error, and the ruleset in force stays as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.command import Ended
from support.edge import Edge

pytestmark = pytest.mark.kernel

BIND = ("web", "tcp", "192.0.2.0/24", "80")


def bind(*changed: tuple[int, str]) -> list[str]:
    """The arguments of a good ``bind``, some of them changed."""
    words = list(BIND)
    for place, word in changed:
        words[place] = word
    return ["bind", *words]


@pytest.fixture
def in_force(edge: Edge) -> Iterator[Edge]:
    """A namespace with a ruleset that no test here may change."""
    edge.bind("web tcp 198.51.100.0/24 80", "dns udp 2001:db8::/64 53")
    before = state(edge)
    yield edge
    assert state(edge) == before


def state(edge: Edge) -> tuple[Any, Any]:
    found = edge.status()
    found.pop("warnings")
    return found, edge("rules", "--json").done().json


ARGUMENTS = [
    (bind((0, "")), ["service:", "is not a service name"]),
    (bind((0, "a b")), ['service: "a b" is not a service name']),
    (bind((0, "größe")), ["is not a service name"]),
    (bind((0, "x" * 64)), ["64 characters long", "at most 63"]),
    (bind((0, "PASS")), ["did you mean 'pass'?"]),
    (bind((1, "sctp")), ['protocol: "sctp" is not a protocol']),
    (bind((1, "TCP")), ['protocol: "TCP" is not a protocol', 'did you mean "tcp"?']),
    (bind((1, "any")), ["write one rule for tcp and one for udp"]),
    (bind((2, "192.0.2.300")), ["address:", "each of the four numbers is 0 to 255"]),
    (bind((2, "192.0.2.1/24")), ['the prefix is "192.0.2.0/24", the single address "192.0.2.1"']),
    (bind((2, "192.0.2.0/33")), ["out of range", "0 to 32"]),
    (bind((2, "2001:db8::/129")), ["out of range", "0 to 128"]),
    (bind((2, "192.0.2.0/255.255.255.0")), ["is not a prefix length", '"192.0.2.0/24"']),
    (bind((2, "::ffff:192.0.2.1")), ['packets to them are IPv4, write "192.0.2.1"']),
    (bind((2, "fe80::1%eth0")), ["address:", "interface"]),
    (bind((2, "localhost")), ["names are not resolved"]),
    (bind((2, "192.0.2.1:80")), ['write "192.0.2.1"; the port is given apart']),
    (bind((2, "")), ["address:", "is not an IPv4 or IPv6 address"]),
    (bind((3, "0")), ['"0" is out of range', 'all of them are "any"']),
    (bind((3, "65536")), ['"65536" is out of range', "1 to 65535"]),
    (bind((3, "99-80")), ["is reversed", '"80-99"']),
    (bind((3, "80-70000")), ["out of range"]),
    (bind((3, "http")), ["service names are not resolved"]),
    (bind((3, "80..90")), ['a range is written "80-90"']),
    (bind((3, "٨٠")), ["is not a port"]),
    (bind((3, "80,")), ["port:"]),
    (bind((3, "")), ["port:", "is not a port"]),
    ([*bind(), "--source", "203.0.113.0/99"], ["source:", "out of range"]),
    ([*bind(), "--source", "2001:db8::/32"], ["source:", "write one rule for each family"]),
    ([*bind(), "--interface", "eth0/1"], ["interface:", "is not an interface name"]),
    ([*bind(), "--interface", "x" * 16], ["interface:", "at most 15 bytes"]),
    ([*bind(), "--on-miss", "maybe"], ["--on-miss", "drop", "pass"]),
    ([*bind((0, "drop")), "--on-miss", "pass"], ["--on-miss", "'drop' is an action"]),
    (bind((1, "sctp"), (2, "localhost"), (3, "0")), ["3 problems", "protocol:", "port:"]),
    (["bind", "web", "tcp", "192.0.2.0/24"], ["missing argument 'PORT'", "bind --help"]),
    ([*bind(), "443"], ["443"]),
    ([*bind(), "--sourc", "::1"], ["--sourc", "--source"]),
    (["un" + bind()[0], *bind((3, "http"))[1:]], ["service names are not resolved"]),
    (["explain", "icmp", "192.0.2.1:80"], ['protocol: "icmp" is not a protocol']),
    (["explain", "tcp", "192.0.2.1"], ["has no port", '"192.0.2.1:80"']),
    (["explain", "tcp", "2001:db8::1:80"], ["address:"]),
    (["explain", "tcp", "192.0.2.1:70000"], ["out of range"]),
    (["explain", "tcp", "192.0.2.1:80", "--from", "::1"], ["give both in one family"]),
    (["explain", "tcp", "192.0.2.1:80", "--from", "me"], ["source:", "names are not resolved"]),
    (["explain", "tcp", "192.0.2.1:80", "--interface", "a b"], ["interface:"]),
    (["register", "web"], ["--pid", "--systemd"]),
    (["register", "web", "--pid", "1", "--systemd"], ["--pid", "--systemd"]),
    (["register", "web", "--pid", "nginx"], ["'nginx'", "pidof -s nginx"]),
    (["register", "web", "--pid", "0"], ["--pid"]),
    (["register", "web", "--pid", "-5"], ["--pid"]),
    (["register", "drop", "--pid", "1"], ["'drop' is an action"]),
    (["register", "web", "--pid", "1", "sctp"], ['"sctp" is not a protocol']),
    (["register", "web", "--pid", "1", "tcp", "0.0.0.0"], ["PORT"]),
    (["register", "web", "--pid", "1", "tcp", "0.0.0.0/0", "80"], ["address:", "0.0.0.0/0"]),
    (["register", "web", "--pid", "1", "tcp", "0.0.0.0", "80-90"], ["port:", "80-90"]),
    (["unregister", "web", "sctp"], ['"sctp" is not a protocol']),
    (["load", "--group", "no-such-group"], ["no-such-group"]),
    (["apply", "-"], ["the format of the standard input is not given", "--format toml"]),
    (["apply", "x.toml", "--format", "yaml"], ["--format", "yaml"]),
    (["plan"], ["missing argument 'FILE'"]),
]


def complaints(ended: Ended, texts: list[str], status: int) -> list[str]:
    """What is wrong with how a command failed."""
    try:
        ended.failed(*texts, status=status)
        assert ended.out == "", "nothing is printed as a result"
    except AssertionError as error:
        return [f"{texts}: {ended}: {error}"]
    return []


def test_a_malformed_argument_is_misuse(in_force: Edge) -> None:
    wrong = []
    for arguments, texts in ARGUMENTS:
        wrong += complaints(in_force(*arguments), [*texts, "hint: "], 2)
    assert not wrong


FAILURES = [
    (["register", "web", "--pid", "{gone}"], ["there is no process {gone}"]),
    (["register", "web", "--pid", "{self}", "tcp", "0.0.0.0", "9"], ["no socket of process"]),
    (["register", "web", "--systemd"], ["LISTEN_FDS", "Sockets="]),
    (["unregister", "wbe"], ["wbe", "did you mean 'web'?"]),
    (["unbind", "web", "tcp", "198.51.100.0/24", "81"], ['"web tcp 198.51.100.0/24 80"']),
    (["unbind", "web", "udp", "198.51.100.0/24", "80"], ['"web tcp 198.51.100.0/24 80"']),
    (["bind", "dns", "tcp", "198.51.100.0/24", "80"], ["equally specific", "unbind web tcp"]),
    (["bind", "new", "tcp", "192.0.2.1", "80-90,85-95"], ["equally specific"]),
    (["status", "--netns", "no-such-netns"], ["no-such-netns"]),
    (["status", "--netns", "/etc/passwd"], ["/etc/passwd is not a namespace"]),
    (["status", "--netns", "{gone}"], ["{gone}"]),
    (["status", "--bpffs", "/tmp"], ["/tmp"]),
    (["status", "--bpffs", "/no/such/directory"], ["/no/such/directory"]),
]


def test_what_does_not_exist_is_a_failure(in_force: Edge) -> None:
    gone = os.spawnlp(os.P_NOWAIT, "true", "true")
    os.waitpid(gone, 0)
    numbers = {"gone": gone, "self": os.getpid()}
    wrong = []
    for arguments, texts in FAILURES:
        ended = in_force(*(word.format(**numbers) for word in arguments))
        wrong += complaints(ended, [text.format(**numbers) for text in texts], 1)
    assert not wrong


RULE = '[[rule]]\nservice = "web"\nprotocol = "tcp"\naddress = "192.0.2.0/24"\nport = 80\n'
ROW = "service,protocol,address,port\n"

FILES: list[tuple[str, bytes, list[str]]] = [
    ("a.toml", b"[[rule", ["a.toml:1: ", "not valid TOML"]),
    ("b.toml", RULE.replace("tcp", "tpc").encode(), ["b.toml:3: rule 1: protocol", '"tcp"']),
    ("c.toml", RULE.replace("2.0", "2.1").encode(), ["c.toml:4: rule 1: address"]),
    ("d.toml", RULE.replace("80", "0").encode(), ["d.toml:5: rule 1: port"]),
    ("e.toml", RULE.replace("80", '"90-80"').encode(), ["e.toml:5: rule 1: port", "reversed"]),
    ("f.toml", RULE.replace("port", "prot").encode(), ["f.toml:5: rule 1", 'did you mean "port"?']),
    (
        "g.toml",
        RULE.replace("port = 80\n", "").encode(),
        ["g.toml:1: rule 1", "needs the key port"],
    ),
    ("h.toml", RULE.replace("web", "a b").encode(), ["h.toml:2: rule 1: service"]),
    ("i.toml", (RULE + 'source = "::/0"\n').encode(), ["i.toml:6: rule 1: source"]),
    ("j.toml", (RULE + 'interface = ""\n').encode(), ["j.toml:6: rule 1: interface"]),
    ("k.toml", (RULE + RULE.replace("web", "dns")).encode(), ["k.toml:6: rule 2", "ambiguous"]),
    ("l.toml", (RULE + '[[service]]\nname = "wbe"\n').encode(), ["is not declared", '"wbe"']),
    (
        "m.toml",
        b'[[service]]\nname = "web"\non_miss = "reject"\n',
        ["m.toml:3: service 1: on_miss"],
    ),
    ("n.toml", b"\xff\xfe[[rule]]", ["n.toml:1: ", "not UTF-8"]),
    ("o.toml", b"rule = 1\n", ["o.toml:1: ", "[[rule]]"]),
    (
        "p.jsonl",
        b'{"service": "web"}\nnonsense\n',
        ["p.jsonl:1: rule 1", "p.jsonl:2: not valid JSON"],
    ),
    ("q.jsonl", b'{"service":"a","service":"b"}\n', ["q.jsonl:1: ", "there twice"]),
    ("r.csv", b"service,protocol,adress,port\n", ["r.csv:1: header", 'did you mean "address"?']),
    ("s.csv", (ROW + "web,tcp,192.0.2.0/24,80,443\n").encode(), ["s.csv:2: ", "5 cells"]),
    ("t.csv", (ROW + 'web,tcp,"192.0.2.0/24,80\n').encode(), ["t.csv", "not valid CSV"]),
    ("u.json", b"[]", ["u.json: this is not a bindings file of tubular"]),
    ("v.json", b'{"bindings": [{"label": "web"}]}', ["binding 1", "a binding needs a prefix"]),
    ("w.yaml", b"rules: []", ["w.yaml", "cannot tell the format", "give the format"]),
    ("x", b"", ["cannot tell the format"]),
]


def test_a_malformed_file_is_refused_with_its_lines(in_force: Edge, tmp_path: Path) -> None:
    wrong = []
    for name, content, texts in FILES:
        path = tmp_path / name
        path.write_bytes(content)
        for command in (["plan", path], ["apply", "--yes", path]):
            wrong += complaints(in_force(*command), texts, 1)
    assert not wrong


def test_all_that_is_wrong_with_a_file_is_said_at_once(in_force: Edge, tmp_path: Path) -> None:
    path = tmp_path / "edge.toml"
    path.write_text(RULE.replace("tcp", "tpc") + RULE.replace("80", '"http"') + RULE[:-10])
    ended = in_force("apply", "--yes", path)
    ended.failed("problems:", f"{path}:3: rule 1: protocol", f"{path}:10: rule 2: port")


@pytest.mark.parametrize("content", [b"", b"# nothing\n"])
def test_an_empty_file_is_an_empty_ruleset_and_not_malformed(
    in_force: Edge, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "empty.toml"
    path.write_bytes(content)
    assert in_force("plan", path, "--detailed-exitcode").status == 2


def test_a_file_that_cannot_be_read_is_named(in_force: Edge, tmp_path: Path) -> None:
    for path in (tmp_path / "missing.toml", tmp_path):
        in_force("apply", "--yes", path, "--format", "toml").failed(
            f"cannot read {str(path)!r}"[:12]
        )


def test_the_commands_fail_as_processes_with_the_same_words(in_force: Edge, tmp_path: Path) -> None:
    in_force.process(*bind((3, "http"))).failed("service names are not resolved", status=2)
    in_force.process("register", "web", "--pid", "nginx").failed("pidof -s nginx", status=2)
    path = tmp_path / "edge.toml"
    path.write_text("[[rule")
    with path.open() as stdin:
        ended = in_force.process("apply", "-", "--format", "toml", "--yes", stdin=stdin)
    ended.failed("standard input:1: not valid TOML")
