"""``inet-lookup prog check``: compile, verify, change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from inet_lookup.net.namespaces import Namespace
from support.clang import build
from support.command import EXAMPLE, WITHOUT_PRIVILEGES, inet_lookup

pytestmark = pytest.mark.kernel


def test_a_python_program_is_compiled_and_verified() -> None:
    ended = inet_lookup("--json", "prog", "check", f"{EXAMPLE}:two_http_servers").done()
    (checked,) = ended.json["programs"]
    assert checked["name"] == "two_http_servers"
    assert checked["place"] == f"{EXAMPLE}:11"
    assert checked["verified"] is True
    assert checked["instructions"] > 10
    assert checked["kernel_instructions"] > 10
    assert [(each["name"], each["max_entries"]) for each in checked["maps"]] == [("servers", 2)]


def test_its_text_has_the_same() -> None:
    ended = inet_lookup("prog", "check", EXAMPLE).done()
    for text in ("two_http_servers", f"{EXAMPLE}:11", "verified", "servers (sockmap of 2)"):
        assert text in ended.out


def test_without_privileges_it_says_that_only_compilation_was_checked(netns: Namespace) -> None:
    ended = inet_lookup("prog", "check", EXAMPLE, prefix=WITHOUT_PRIVILEGES, inside=netns).done()
    assert "compiled: " in ended.out
    assert "not verified: the process lacks CAP_BPF" in ended.out
    ended = inet_lookup(
        "prog", "check", EXAMPLE, "--json", prefix=WITHOUT_PRIVILEGES, inside=netns
    ).done()
    assert ended.json["programs"][0]["verified"] is False
    assert "CAP_BPF" in ended.json["programs"][0]["not_verified_because"]


def test_a_rejection_is_reported_at_its_source_line_and_the_log_on_request(tmp_path: Path) -> None:
    path = tmp_path / "rejected.o"
    path.write_bytes(build("rejected"))
    ended = inet_lookup("prog", "check", f"{path}:in_program").failed(
        "the verifier says:", "rejected.c:", "*value = 1;", "hint: --log"
    )
    assert "R0" not in ended.out
    longer = inet_lookup("prog", "check", f"{path}:in_program", "--log").failed("rejected.c:")
    assert "processed" in longer.err
    assert len(longer.err.splitlines()) > len(ended.err.splitlines()) + 5


def test_all_programs_of_an_object_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "steering.o"
    path.write_bytes(build("steering"))
    result = inet_lookup("--json", "prog", "check", path).done().json
    assert {"drop_wanted", "pass_wanted"} <= {each["name"] for each in result["programs"]}


def test_a_program_of_another_type_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dissect.o"
    path.write_bytes(build("dissect"))
    inet_lookup("prog", "check", path).failed("is not a socket lookup program", "sk_lookup")


def test_without_the_compiler_objects_are_checked_and_python_says_what_to_install(
    tmp_path: Path,
) -> None:
    (tmp_path / "llvmlite.py").write_text("raise ImportError('not installed here')\n")
    without = {"PYTHONPATH": str(tmp_path)}
    inet_lookup("prog", "check", EXAMPLE, environment=without).failed(
        "needs llvmlite, which is not installed", "pip install 'inet-lookup[compiler]'"
    )
    path = tmp_path / "steering.o"
    path.write_bytes(build("steering"))
    inet_lookup("prog", "check", path, environment=without).done()
