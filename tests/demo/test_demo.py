"""The demo: every request reaches the right server, and what it says is so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

import inet_lookup
from inet_lookup.demo.program_file import program_path
from inet_lookup.demo.requests import spread
from support.demo_runs import COMMAND

pytestmark = pytest.mark.kernel

CHECKOUT = Path(__file__).parents[2]
STAND_IN = CHECKOUT / "src/inet_lookup/demo/stand_in_server.py"


def run(
    *arguments: str, command: list[str] = COMMAND, **changes: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *arguments],
        env={**os.environ, **changes},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def report_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.stderr == ""
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def executable(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture(scope="module")
def done() -> subprocess.CompletedProcess[str]:
    """One run, for the tests that look at what it said."""
    return run("--json")


@pytest.mark.requires_command("nginx", "apache2")
def test_every_request_reaches_the_server_that_the_program_gives_its_prefix_to(
    done: subprocess.CompletedProcess[str],
) -> None:
    report = report_of(done)
    assert done.returncode == 0
    assert report["ok"] is True
    assert {row["prefix"]: (row["expected"], row["answers"]) for row in report["prefixes"]} == {
        "192.0.2.0/24": ("nginx", {"nginx": 64}),
        "198.51.100.0/24": ("Apache", {"Apache": 64}),
        "2001:db8:1::/48": ("nginx", {"nginx": 64}),
        "2001:db8:2::/48": ("Apache", {"Apache": 64}),
    }
    assert all(row["ok"] and row["requests"] == 64 for row in report["prefixes"])


def test_the_same_requests_are_refused_without_the_program(
    done: subprocess.CompletedProcess[str],
) -> None:
    assert report_of(done)["before"] == {"refused": 256}


@pytest.mark.requires_command("nginx", "apache2")
def test_nginx_and_apache_run_as_different_users_on_different_ports(
    done: subprocess.CompletedProcess[str],
) -> None:
    nginx, apache = report_of(done)["servers"]
    assert nginx["software"].startswith("nginx/")
    assert apache["software"].startswith("Apache/")
    assert not nginx["stand_in"]
    assert not apache["stand_in"]
    assert len(nginx["users"]) == len(apache["users"]) == 1
    assert nginx["users"] != apache["users"]
    assert nginx["endpoint"] == "[::]:8080"
    assert apache["endpoint"] == "[::]:8081"


def test_the_kernel_tells_of_the_program(done: subprocess.CompletedProcess[str]) -> None:
    program = report_of(done)["program"]
    assert program["name"] == "two_http_servers"
    assert program["file"] == str(CHECKOUT / "examples/two_http_servers.py")
    assert program["id"] > 0
    assert program["instructions"] > 10
    # One run for each new connection, and some more where packets are lost and sent again.
    assert program["runs"] >= 256
    assert 1 < program["mean_ns"] < 1_000_000


def test_a_person_reads_what_is_set_up_and_what_came_of_it() -> None:
    done = run()
    assert (done.returncode, done.stderr) == (0, "")
    sections = done.stdout.split("\n\n")
    assert [section.splitlines()[0].split(":")[0] for section in sections] == [
        "Two web servers share port 80, steered by a program written in Python.",
        "Set up, in network namespaces that end with the demo",
        "Before the program is attached",
        "The program",
        "With the program, asked by the client",
        "The program in the kernel",
        "256 of 256 requests reached the right server. Nothing is left behind.",
        "Next",
    ]
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert not any(line != line.rstrip() for line in done.stdout.splitlines())


def test_small_servers_stand_in_for_those_that_are_not_in_path(tmp_path: Path) -> None:
    done = run(PATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert "nginx is not in PATH: a small server in Python stands in" in done.stdout
    assert "apache2 is not in PATH: a small server in Python stands in" in done.stdout
    assert done.stdout.count("nginx-stand-in 64\n") == 2
    assert done.stdout.count("apache2-stand-in 64\n") == 2


@pytest.mark.requires_command("nginx")
def test_one_server_stands_in_where_only_the_other_is_installed(tmp_path: Path) -> None:
    nginx = shutil.which("nginx")
    assert nginx is not None
    (tmp_path / "nginx").symlink_to(nginx)
    nginx, apache = report_of(run("--json", PATH=str(tmp_path)))["servers"]
    assert (nginx["stand_in"], apache["stand_in"]) == (False, True)
    assert nginx["users"] != apache["users"]


def test_answers_of_another_server_than_the_right_one_fail_it(tmp_path: Path) -> None:
    stranger = f"exec {sys.executable} -I -S -B {STAND_IN} stranger 8080 65534 65534"
    executable(tmp_path / "nginx", f"#!/bin/sh\n{stranger}\n")
    done = run("--json", PATH=str(tmp_path))
    report = report_of(done)
    assert done.returncode == 1
    assert report["ok"] is False
    assert [row["ok"] for row in report["prefixes"]] == [False, True, False, True]
    assert report["prefixes"][0]["answers"] == {"stranger": 64}
    text = run(PATH=str(tmp_path))
    assert text.returncode == 1
    assert text.stdout.count("stranger 64  wrong: nginx should have") == 2
    assert "128 of 256 requests reached the right server." in text.stdout
    assert "Next" not in text.stdout


def test_a_server_that_does_not_start_is_told_with_what_it_wrote(tmp_path: Path) -> None:
    executable(tmp_path / "nginx", "#!/bin/sh\necho 'no such luck' >&2\nexit 3\n")
    done = run(PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert done.stderr == (
        "error: NGINX ended with status 3 before it answered\n    no such luck\n"
    )


def test_a_server_that_cannot_be_executed_is_told(tmp_path: Path) -> None:
    executable(tmp_path / "nginx", "#!/does/not/exist\n")
    done = run(PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: NGINX cannot be started: {tmp_path}/nginx: ")


def test_the_servers_cannot_write_to_the_machine(tmp_path: Path) -> None:
    paths = " ".join(f"{directory}/left" for directory in ("/etc", "/var", tmp_path))
    executable(tmp_path / "nginx", f"#!/bin/sh\ntouch {paths} ; exit 1\n")
    done = run(PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert done.stderr.count("Read-only file system") == 3
    assert [path.name for path in tmp_path.iterdir()] == ["nginx"]


@pytest.mark.requires_command("setpriv")
def test_without_privileges_it_says_which_are_missing() -> None:
    unprivileged = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *COMMAND]
    done = run(command=unprivileged)
    assert (done.returncode, done.stdout) == (1, "")
    first, second = done.stderr.splitlines()
    assert first.startswith("error: the demo cannot run here, for want of: ")
    for capability in ("CAP_BPF", "CAP_NET_ADMIN", "CAP_SYS_ADMIN", "CAP_SYS_PTRACE"):
        assert capability in first
    assert second == "hint: run it as root"
    assert "CAP_BPF" in json.loads(run("--json", command=unprivileged).stdout)["error"]


@pytest.mark.parametrize("option", ["--netns", "--bpffs"])
def test_options_that_mean_nothing_here_are_refused(option: str) -> None:
    done = run(option, "/somewhere")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the demo makes its own namespaces")


def test_a_checkout_attaches_the_example_itself() -> None:
    assert program_path() == CHECKOUT / "examples/two_http_servers.py"
    assert not (CHECKOUT / "src/inet_lookup/demo/two_http_servers.py").exists()


def test_an_installed_package_has_its_own_copy_of_the_example(tmp_path: Path) -> None:
    """Lay the package out as the wheel's configuration says, and run it from there."""
    configuration = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    wheel = configuration["tool"]["hatch"]["build"]["targets"]["wheel"]
    for source in wheel["only-include"]:
        top, _, rest = source.partition("/")
        target = tmp_path / wheel["sources"][top] / rest
        if (CHECKOUT / source).is_dir():
            shutil.copytree(CHECKOUT / source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(CHECKOUT / source, target)
    done = run("--json", PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")
    report = report_of(done)
    assert report["program"]["file"] == str(tmp_path / "inet_lookup/demo/two_http_servers.py")
    assert report["ok"] is True
    assert Path(inet_lookup.__file__).is_relative_to(CHECKOUT)


@pytest.mark.parametrize("prefix", ["192.0.2.0/24", "2001:db8:1::/48"])
def test_requests_go_to_different_addresses_from_end_to_end(prefix: str) -> None:
    from ipaddress import ip_address, ip_network

    addresses = spread(prefix, 64)
    network = ip_network(prefix)
    assert len(set(addresses)) == 64
    assert all(ip_address(each) in network for each in addresses)
    assert addresses[0] == str(network[1])
    assert addresses[-1] == str(network[-2])
