"""What goes wrong without a kernel: misuse, bad files, and being interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from support.command import COMMAND, EXAMPLE, inet_lookup


@pytest.mark.parametrize(
    ("arguments", "texts"),
    [
        (["frobnicate"], ["there is no command 'frobnicate'", "demo, check, prog"]),
        (["chekc"], ["did you mean 'check'?"]),
        (["prog", "lst"], ["there is no command 'lst'", "did you mean 'list'?"]),
        (["prog", "attach"], ["missing argument", "hint: inet-lookup prog attach --help"]),
        (["prog", "list", "--frob"], ["--frob", "hint: inet-lookup prog list --help"]),
        (["--netns"], ["--netns"]),
        (["prog", "check", "a.py", "b.py"], ["b.py"]),
    ],
)
def test_misuse_ends_with_status_2_and_one_error(arguments: list[str], texts: list[str]) -> None:
    inet_lookup(*arguments).failed(*texts, status=2)


@pytest.mark.parametrize("arguments", [[], ["prog"]])
def test_without_a_command_the_help_is_shown(arguments: list[str]) -> None:
    ended = inet_lookup(*arguments)
    assert ended.status == 2
    assert ended.err.startswith("Usage: inet-lookup")
    assert not ended.out


def test_misuse_is_reported_as_json_where_json_was_asked() -> None:
    ended = inet_lookup("prog", "attach", "--json").failed("missing argument", status=2)
    assert set(ended.json) == {"error", "hint", "kind", "location"}
    assert ended.json["kind"] == "UsageError"


SOURCE = "from inet_lookup import DROP, PASS, Context, Verdict, program\n\n"


@pytest.mark.parametrize(
    ("source", "texts"),
    [
        ("x = 1\ndef f(:\n    pass\n", ["{path}:2: SyntaxError", "def f(:", "^"]),
        ("import no_such_module\n", ["{path}:1: ModuleNotFoundError", "hint: install it"]),
        ("def f():\n    raise ValueError('bad')\n\nf()\n", ["{path}:2: ValueError: bad", "raise"]),
        ("import sys\nsys.exit(3)\n", ["{path}:2: SystemExit", "__main__"]),
        ("raise KeyError\n", ["{path}:1: KeyError"]),
        ("x = 1\n", ["{path} has no program", "@program"]),
        (
            SOURCE + "@program\ndef p(ctx: Context) -> Verdict:\n    a = [1]\n    return PASS\n",
            ["{path}:5:9: ", "a = [1]", "    ^", "hint: "],
        ),
        (
            SOURCE + "@program\ndef p(ctx: Context) -> Verdict:\n    return MISSING\n",
            ["{path}:5:12: ", "MISSING"],
        ),
    ],
)
def test_a_file_that_fails_is_reported_at_the_users_line(
    tmp_path: Path, source: str, texts: list[str]
) -> None:
    path = tmp_path / "steer.py"
    path.write_text(source)
    ended = inet_lookup("prog", "check", path)
    ended.failed(*(text.format(path=path) for text in texts))
    assert not ended.out


def test_a_compile_error_has_its_location_in_json(tmp_path: Path) -> None:
    path = tmp_path / "steer.py"
    path.write_text(SOURCE + "@program\ndef p(ctx: Context) -> Verdict:\n    return 1.5\n")
    ended = inet_lookup("--json", "prog", "check", path).failed()
    assert ended.json["kind"] == "CompileError"
    assert ended.json["location"] == f"{path}:5:12"


@pytest.mark.parametrize(
    ("reference", "texts"),
    [
        ("{dir}/missing.py", ["cannot read {dir}/missing.py", "No such file"]),
        ("{dir}", ["cannot read {dir}", "directory"]),
        ("{dir}/notes.txt", ["neither a Python file nor an ELF object"]),
        ("{dir}/broken.o", ["{dir}/broken.o"]),
        ("{dir}/two.py:secnd", ["has no program 'secnd'", "did you mean 'second'?"]),
        ("{dir}/two.py:zzz", ["has no program 'zzz'", "it has first, second"]),
        ("{dir}/two.py:a.b", ["does not name a program"]),
    ],
)
def test_a_bad_reference_is_one_clear_error(
    tmp_path: Path, reference: str, texts: list[str]
) -> None:
    (tmp_path / "notes.txt").write_text("some text\n")
    (tmp_path / "broken.o").write_bytes(b"\x7fELF and nothing that belongs to it")
    (tmp_path / "two.py").write_text(
        SOURCE
        + "@program\ndef first(ctx: Context) -> Verdict:\n    return PASS\n\n"
        + "@program\ndef second(ctx: Context) -> Verdict:\n    return DROP\n"
    )
    filled = [text.format(dir=tmp_path) for text in texts]
    inet_lookup("prog", "check", reference.format(dir=tmp_path)).failed(*filled)


def test_what_a_file_prints_does_not_mix_with_the_json(tmp_path: Path) -> None:
    path = tmp_path / "steer.py"
    path.write_text(
        "print('hello')\n" + SOURCE + "@program\ndef p(ctx: Context) -> Verdict:\n    return PASS\n"
    )
    ended = inet_lookup("prog", "check", path, "--json").done()
    assert ended.json["programs"][0]["name"] == "p"
    assert "hello" in ended.err


def test_a_file_may_import_its_neighbours_and_gets_no_cache_beside_it(tmp_path: Path) -> None:
    (tmp_path / "ports.py").write_text("HTTP = 80\n")
    (tmp_path / "steer.py").write_text(
        SOURCE
        + "import ports\n\n@program\ndef p(ctx: Context) -> Verdict:\n"
        + "    return DROP if ctx.local_port == ports.HTTP else PASS\n"
    )
    inet_lookup("prog", "check", tmp_path / "steer.py").done()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["ports.py", "steer.py"]


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_an_interrupted_command_ends_quietly(
    tmp_path: Path, number: signal.Signals, status: int
) -> None:
    path = tmp_path / "slow.py"
    path.write_text("import sys, time\nprint('started', flush=True)\ntime.sleep(60)\n")
    with subprocess.Popen(
        [*COMMAND, "prog", "check", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "started\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out, err) == (status, "", "")


def test_a_reader_that_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = inet_lookup("prog", "check", EXAMPLE, stdout=writer)
    finally:
        os.close(writer)
    assert (ended.status, ended.err) == (141, "")


def test_a_full_disk_is_reported() -> None:
    with open("/dev/full", "w") as full:
        ended = inet_lookup("prog", "check", EXAMPLE, stdout=full)
    ended.failed("cannot write the output: No space left on device")


def test_the_traceback_is_shown_on_request(tmp_path: Path) -> None:
    missing = tmp_path / "missing.py"
    for ended in (
        inet_lookup("--debug", "prog", "check", missing),
        inet_lookup("prog", "check", missing, "--debug"),
        inet_lookup("prog", "check", missing, environment={"INET_LOOKUP_DEBUG": "1"}),
    ):
        assert ended.status == 1
        assert ended.err.startswith("Traceback")


@pytest.mark.parametrize("before", [True, False])
def test_global_options_stand_before_or_behind_the_command(before: bool) -> None:
    command = ["prog", "check", str(EXAMPLE)]
    arguments = ["--json", *command] if before else [*command, "--json"]
    assert json.loads(inet_lookup(*arguments).done().out)["programs"][0]["name"]
