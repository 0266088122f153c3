"""What ``docs/quickstart-rules.md`` says is true, with real servers and traffic."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from support.edge import Edge
from support.networks import TwoHosts
from support.real_servers import fetch, listens, nginx, running

pytestmark = [pytest.mark.kernel, pytest.mark.requires_command("nginx")]

TEXT = (Path(__file__).parents[3] / "docs" / "quickstart-rules.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of the document in one language."""
    found = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


def commands(values: dict[str, object]) -> list[list[str]]:
    """The words behind ``inet-lookup`` in each line of the document's command blocks.

    :param values: what takes the place of what.
    """
    text = "".join(blocks(""))
    for what, value in values.items():
        assert what in text
        text = text.replace(what, str(value))
    lines = [shlex.split(line) for line in text.splitlines()]
    assert {line[0] for line in lines} == {"inet-lookup"}
    return [line[1:] for line in lines]


def test_its_commands_do_what_it_says(edge: Edge, two_hosts: TwoHosts, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    file = tmp_path / "edge.toml"
    (toml,) = blocks("toml")
    file.write_text(toml)
    with (
        running(two_hosts.server, nginx(tmp_path, 8080, "nginx"), listens("::1", 8080)) as one,
        running(two_hosts.server, nginx(tmp_path, 8081, "apache"), listens("::1", 8081)) as other,
    ):
        values = {
            "edge.toml": file,
            "$(cat /run/nginx.pid)": one.pid,
            "$(cat /run/apache2/apache2.pid)": other.pid,
        }
        for words in commands(values):
            edge(*words).done()
        for server, addresses in (
            ("nginx", ["192.0.2.1", "2001:db8:1::1"]),
            ("apache", ["198.51.100.1"]),
        ):
            for address in addresses:
                assert fetch(two_hosts.client, address) == f"{server} {address} 80"
        assert edge.status()["warnings"] == []
        # The way back.
        edge("unload").done()
        with pytest.raises(OSError, match="refused"):
            fetch(two_hosts.client, "192.0.2.1")


def test_its_units_name_commands_that_exist() -> None:
    lines = [
        line for unit in blocks("ini") for line in unit.splitlines() if "/inet-lookup " in line
    ]
    assert len(lines) == 3
    for line in lines:
        words = shlex.split(line.partition("=")[2])[1:]
        _parse([word.replace("$MAINPID", "1") for word in words])


def _parse(words: list[str]) -> None:
    """Have the command line read, and nothing done."""
    from inet_lookup.cli.application import inet_lookup

    name, *rest = words
    command = inet_lookup.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None
    command.make_context(name, rest)
