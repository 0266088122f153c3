"""What ``docs/rfc.md`` tells to do works as it is written there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from inet_lookup.net import Namespace
from inet_lookup.rfc import query
from support import rfc_objects
from support.servers import Start

pytestmark = [pytest.mark.kernel, pytest.mark.requires_command("clang-19")]

DOCUMENT = (Path(__file__).parents[2] / "docs" / "rfc.md").read_text()


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    return [text for its_language, text in found if its_language == language]


def run(command: list[str], directory: Path) -> str:
    done = subprocess.run(
        command,
        cwd=directory,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_commands_and_programs_work(
    named_netns: str, bpffs: Path, tmp_path: Path, echo_server: Start
) -> None:
    demo = (rfc_objects.SOURCES / "cover_letter.c").read_text()
    (tmp_path / "demo.c").write_text(demo[demo.index("#define NET1") : demo.rindex("}") + 2])
    with Namespace.open(named_netns) as edge:
        nginx = echo_server(edge, "tcp", "0.0.0.0", 8080)
        apache = echo_server(edge, "tcp", "0.0.0.0", 8081)
        (commands,) = blocks("sh")
        script = (
            commands.replace("clang ", "clang-19 ")
            .replace("NGINX", str(nginx.pid))
            .replace("APACHE", str(apache.pid))
            .replace("--netns edge", f"--netns {named_netns} --bpffs {bpffs}")
        )
        shown = run(["sh", "-ec", script], tmp_path)
        assert "verified: " in shown
        assert "redir_map[0]  tcp 0.0.0.0:8080" in shown
        assert query(edge).program_count == 0

        loading, program = blocks("python")
        shown = run([sys.executable, "-c", loading.replace('"edge"', f'"{named_netns}"')], tmp_path)
        assert re.fullmatch(r"Attachment\(attach_flags=0, program_ids=\(\d+,\)\)\n", shown)

        (tmp_path / "demo.py").write_text(program)
        options = f"--netns {named_netns} --bpffs {bpffs}"
        run(["sh", "-ec", f"inet-lookup {options} prog attach demo.py --exclusive"], tmp_path)
        assert query(edge).program_count == 1
        run(["sh", "-ec", f"inet-lookup {options} prog detach demo_two_http_servers"], tmp_path)


def test_the_message_is_the_one_that_is_shown(tmp_path: Path) -> None:
    (shown,) = blocks("")
    source = tmp_path / "steer.c"
    source.write_text(
        "\n" * 8
        + 'SEC("inet_lookup/steer")\n'
        + "int steer(struct bpf_inet_lookup *ctx)\n{\n"
        + "    ctx->local_port = 81;\n    return BPF_OK;\n}\n"
    )
    command = (
        'clang-19 -O2 -g -target bpf -I"$(inet-lookup include-dir)" -include inet_lookup.h'
        " -c steer.c -o steer.o; inet-lookup prog check steer.o 2>&1 || true"
    )
    printed = run(["sh", "-ec", command], tmp_path)
    assert printed.strip() == shown.strip().replace("steer.c", f"{tmp_path}/steer.c")
