"""``plan`` tells what would change and changes nothing; ``apply`` changes it, when it may."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from support.command import COMMAND
from support.edge import Edge

pytestmark = pytest.mark.kernel

TOML = """
[[service]]
name = "web"
on_miss = "pass"

[[rule]]
service = "web"
protocol = "tcp"
address = "192.0.2.0/24"
port = [80, "8000-8999"]

[[rule]]
action = "drop"
protocol = "udp"
address = "2001:db8::/32"
port = "any"
source = "2001:db8:f::/48"
"""

JSON_LINES = """\
{"name": "web", "on_miss": "pass"}
{"service": "web", "protocol": "tcp", "address": "192.0.2.0/24", "port": [80, "8000-8999"]}
{"action": "drop", "protocol": "udp", "address": "2001:db8::/32", "port": "any", \
"source": "2001:db8:f::/48"}
"""

CSV = """\
name,on_miss,service,action,protocol,address,port,source
web,pass,,,,,,
,,web,,tcp,192.0.2.0/24,"80,8000-8999",
,,,drop,udp,2001:db8::/32,any,2001:db8:f::/48
"""

RULES = [
    "web tcp 192.0.2.0/24 80",
    "web tcp 192.0.2.0/24 8000-8999",
    "drop udp 2001:db8::/32 any from 2001:db8:f::/48",
]


def rules(edge: Edge) -> list[str]:
    """The rules in force, as people see them."""
    return [line.split(maxsplit=1)[1] for line in edge("rules").done().out.splitlines()[1:] if line]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "edge.toml"
    path.write_text(TOML)
    return path


def test_a_plan_says_what_comes_goes_and_changes_hands(edge: Edge, file: Path) -> None:
    edge.bind("old tcp 192.0.2.0/25 80", "web tcp 192.0.2.0/24 80")
    out = edge("plan", file).done().out
    for line in (
        "- old, on_miss drop",
        "~ web: on_miss drop -> pass",
        "+ web tcp 192.0.2.0/24 8000-8999",
        "- old tcp 192.0.2.0/25 80",
        "old -> web",
        "the regular lookup -> web",
        "the regular lookup -> drop",
    ):
        assert f"  {line}\n" in out
    assert "tcp  192.0.2.0/25  port 80\n" in out
    assert "+ web tcp 192.0.2.0/24 80\n" not in out
    assert rules(edge) == ["old tcp 192.0.2.0/25 80", "web tcp 192.0.2.0/24 80"]


def test_without_a_dispatcher_all_rules_come_and_none_is_loaded(edge: Edge, file: Path) -> None:
    assert all(f"  + {rule}\n" in edge("plan", file).done().out for rule in RULES)
    assert list(edge.bpffs.glob("inet-lookup")) == []


def test_the_detailed_exit_status_tells_whether_something_would_change(
    edge: Edge, file: Path, tmp_path: Path
) -> None:
    assert edge("plan", file).status == 0
    assert edge("plan", file, "--detailed-exitcode").status == 2
    edge("apply", "--yes", file).done()
    ended = edge("plan", file, "--detailed-exitcode").done()
    assert ended.out == "nothing changes\n"
    # What fails is neither: also where it is misuse, which has the status 2 otherwise.
    edge("plan", "--detailed-exitcode").failed("missing argument 'FILE'", status=1)
    edge("plan", "--detailed-exitcode", "-").failed("the format of the standard input", status=1)
    edge("plan", "--detailed-exitcode", tmp_path / "none.toml").failed("cannot read", status=1)


def test_the_plan_as_json(edge: Edge, file: Path) -> None:
    edge.bind("web tcp 192.0.2.0/24 80")
    result = edge("plan", file, "--json").done().json
    assert set(result) == {
        "changes",
        "rules_added",
        "rules_removed",
        "services_added",
        "services_removed",
        "services_changed",
        "moves",
        "warnings",
    }
    assert result["changes"] is True
    assert result["services_changed"] == [
        {"name": "web", "on_miss": {"before": "drop", "after": "pass"}}
    ]
    assert result["rules_added"][0] == {
        "service": "web",
        "protocol": "tcp",
        "address": "192.0.2.0/24",
        "port": "8000-8999",
    }
    moved = {(each["before"], each["after"]): each for each in result["moves"]}
    assert moved["pass", "web"] == {
        "before": "pass",
        "after": "web",
        "protocol": "tcp",
        "addresses": [{"prefix": "192.0.2.0/24", "except": []}],
        "ports": ["8000-8999"],
        "sources": None,
        "interfaces": {"except": []},
    }
    assert moved["pass", "drop"]["sources"] == [{"prefix": "2001:db8:f::/48", "except": []}]


@pytest.mark.parametrize(
    ("name", "text"), [("a.toml", TOML), ("a.jsonl", JSON_LINES), ("a.csv", CSV)]
)
def test_each_format_is_applied_from_a_file_and_from_standard_input(
    edge: Edge, tmp_path: Path, name: str, text: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    edge("apply", "--yes", path).done()
    assert rules(edge) == RULES
    edge("apply", "--yes", os.devnull, "--format", "toml").done()
    assert rules(edge) == []
    with path.open() as stdin:
        edge.process("apply", "-", "--format", path.suffix[1:], "--yes", stdin=stdin).done()
    assert rules(edge) == RULES
    assert edge.service("web")["on_miss"] == "pass"


def test_a_bindings_file_of_tubular_is_applied(edge: Edge, tmp_path: Path) -> None:
    path = tmp_path / "bindings.json"
    path.write_text('{"bindings": [{"label": "web", "prefix": "192.0.2.0/24", "port": 80}]}')
    edge("apply", "--yes", path).done()
    assert rules(edge) == ["web tcp 192.0.2.0/24 80", "web udp 192.0.2.0/24 80"]


def test_what_is_applied_already_is_left_as_it_is(edge: Edge, file: Path) -> None:
    edge("apply", "--yes", file).done()
    before = edge.status()["generation"]
    assert "nothing changes" in edge("apply", "--yes", file).done().out
    # There is nothing to ask about either.
    assert "nothing changes" in edge.process("apply", file).done().out
    assert edge.status()["generation"] == before


def test_without_a_terminal_nothing_is_applied_unasked(edge: Edge, file: Path) -> None:
    ended = edge.process("apply", file)
    ended.failed("standard input is no terminal", "--yes", status=2)
    assert f"  + {RULES[0]}\n" in ended.out
    assert list(edge.bpffs.glob("inet-lookup")) == []
    edge("apply", file, "--json").failed("--yes", status=2)


@pytest.mark.parametrize("answer", ["n", "", "no"])
def test_on_a_terminal_it_asks_and_anything_but_yes_is_no(
    edge: Edge, file: Path, answer: str
) -> None:
    status, output = at_terminal(edge, file, answer)
    assert status == 1
    assert f"  + {RULES[0]}" in output
    assert "2 rules come" in output or "3 rules come" in output
    assert "nothing was changed" in output
    assert list(edge.bpffs.glob("inet-lookup")) == []


@pytest.mark.parametrize("answer", ["y", "yes"])
def test_on_a_terminal_a_yes_is_enough(edge: Edge, file: Path, answer: str) -> None:
    status, _ = at_terminal(edge, file, answer)
    assert status == 0
    assert rules(edge) == RULES


def test_a_plan_that_is_no_longer_true_is_not_applied(edge: Edge, file: Path) -> None:
    other = "other tcp 198.51.100.0/24 80"
    status, output = at_terminal(edge, file, "y", meanwhile=lambda: edge.bind(other))
    assert status == 1
    assert "error: the ruleset of " in output
    assert "was changed by others meanwhile" in output
    assert rules(edge) == [other]


def at_terminal(
    edge: Edge, file: Path, answer: str, meanwhile: Callable[[], None] = lambda: None
) -> tuple[int, str]:
    """Run ``apply`` on a terminal, type an answer, and return the status and what is shown.

    :param meanwhile: done while it waits for the answer.
    """
    master, slave = pty.openpty()
    try:
        command = [*COMMAND, *edge.place, "apply", str(file)]
        with subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave) as process:
            os.close(slave)
            shown = _read_until(master, lambda text: "[y/N]" in text)
            meanwhile()
            os.write(master, f"{answer}\n".encode())
            shown += _read_until(master, lambda text: False)
        return process.returncode, shown.replace("\r\n", "\n")
    finally:
        os.close(master)


def _read_until(master: int, enough: Callable[[str], bool]) -> str:
    """Read a terminal until it shows enough, or the process behind it has ended."""
    shown = b""
    while not enough(shown.decode(errors="replace")):
        try:
            shown += os.read(master, 4096)
        except OSError:  # EIO: nobody has the other side open any more
            break
    return shown.decode(errors="replace")


def test_anyip_adds_the_routes_that_rules_need_and_removes_them_with_the_rules(
    edge: Edge, tmp_path: Path
) -> None:
    def local() -> str:
        with edge.hosts.server.popen(
            ["sh", "-c", "ip route show table local; ip -6 route show table local"],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            out, _ = process.communicate()
        return str(out)

    before = local()
    path = tmp_path / "edge.csv"
    header = "service,protocol,address,port\n"
    path.write_text(
        f"{header}web,tcp,10.1.0.0/16,80\nweb,tcp,10.1.2.3,80\nweb,udp,2001:db8:a::/48,53\n"
        "web,tcp,192.0.2.7,80\n"
    )
    edge("apply", "--yes", "--anyip", path).done()
    added = sorted(set(local().splitlines()) - set(before.splitlines()))
    assert [line.split()[1] for line in added] == ["10.1.0.0/16", "2001:db8:a::/48"]
    path.write_text(f"{header}web,udp,2001:db8:a::/48,53\n")
    edge("apply", "--yes", "--anyip", path).done()
    assert "10.1.0.0/16" not in local()
    assert "2001:db8:a::/48" in local()
    edge("unload").done()
    assert local() == before


def test_a_long_plan_is_shortened_before_it_is_asked_and_whole_in_plan(
    edge: Edge, tmp_path: Path
) -> None:
    path = tmp_path / "edge.csv"
    rows = [f"web,tcp,10.{n}.0.0/16,{n + 1}\n" for n in range(100)]
    path.write_text("service,protocol,address,port\n" + "".join(rows))
    whole = edge("plan", path).done().out
    assert all(f"  + web tcp 10.{n}.0.0/16 {n + 1}\n" in whole for n in range(100))
    shown = edge.process("apply", path).out
    assert f"inet-lookup plan {path} shows all" in shown
    assert len(shown.splitlines()) < len(whole.splitlines()) / 2


def test_ten_thousand_rules_are_applied(edge: Edge, tmp_path: Path) -> None:
    path = tmp_path / "edge.csv"
    rows = [f"s{n % 9},tcp,10.{n >> 8 & 255}.{n & 255}.0/24,80\n" for n in range(10_000)]
    path.write_text("service,protocol,address,port\n" + "".join(rows))
    edge("apply", "--yes", path).done()
    assert edge.status()["rules"] == 10_000
    assert "nothing changes" in edge("plan", path).done().out
