"""The names of ``inet_lookup.rfc``: all there, and cheap until they are used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import inet_lookup.rfc as package

NAMES = {
    "AF_INET",
    "AF_INET6",
    "BPF_DROP",
    "BPF_OK",
    "BPF_REDIRECT",
    "IP4",
    "IPPROTO_TCP",
    "IPPROTO_UDP",
    "Attachment",
    "Context",
    "ContextAccessError",
    "InetLookupFunction",
    "SockArray",
    "attach",
    "bpf_htonl",
    "bpf_htons",
    "bpf_ntohl",
    "bpf_ntohs",
    "detach",
    "include_dir",
    "program",
    "query",
    "redirect_lookup",
}


def test_every_name_is_found() -> None:
    assert set(dir(package)) >= NAMES
    for name in NAMES:
        assert getattr(package, name) is not None


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = package.Nonsense  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "code",
    [
        "import inet_lookup.rfc",
        "from inet_lookup.rfc import include_dir",
        "from inet_lookup.rfc import attach, detach, query",
    ],
)
def test_what_needs_no_compiler_does_not_import_it(code: str) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps(list(sys.modules)))"],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = set(json.loads(shown.stdout))
    assert not [
        name for name in loaded if name.startswith(("llvmlite", "inet_lookup.programs.compiler"))
    ]
