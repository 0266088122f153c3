"""``inet-lookup include-dir``: where the header for programs in C is."""

from __future__ import annotations

import click

from ..rfc.headers import include_dir as directory
from .output import show
from .settings import Settings, global_options, pass_settings


@click.command("include-dir", short_help="Where inet_lookup.h is, for clang -I.")
@global_options(hidden=True)
@pass_settings
def include_dir(settings: Settings) -> None:
    """Print the directory of inet_lookup.h, the header for programs in C written for the RFC.

    \b
    clang -O2 -g -target bpf -I"$(inet-lookup include-dir)" -include inet_lookup.h -c FILE.c
    """
    path = str(directory())
    show(settings, {"include_dir": path}, [path])
