"""The command line as a tree: the global options and where each command is."""

from __future__ import annotations

import click

from .lazy_group import Lazy, LazyGroup
from .settings import global_options


def _print_version(context: click.Context, option: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from .._version import __version__

        click.echo(f"inet-lookup {__version__}")
        context.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    lazy={
        "demo": Lazy("inet_lookup.demo.command:demo", "Two web servers share a port, steered."),
        "check": Lazy("inet_lookup.cli.check:check", "What this machine can do."),
        "prog": Lazy("inet_lookup.cli.prog:prog", "Programs: check, attach, list, detach."),
        "include-dir": Lazy("inet_lookup.cli.include_dir:include_dir", "Where inet_lookup.h is."),
        "load": Lazy("inet_lookup.cli.load:load", "Load the dispatcher, with no rules yet."),
        "unload": Lazy("inet_lookup.cli.unload:unload", "Remove the dispatcher and all it has."),
        "upgrade": Lazy("inet_lookup.cli.upgrade:upgrade", "Replace an older version's program."),
        "bind": Lazy("inet_lookup.cli.bind:bind", "Give packets to a service."),
        "unbind": Lazy("inet_lookup.cli.unbind:unbind", "Undo a bind."),
        "plan": Lazy("inet_lookup.cli.plan:plan", "What apply would change."),
        "apply": Lazy("inet_lookup.cli.apply:apply", "Replace the ruleset, in one step."),
        "register": Lazy("inet_lookup.cli.register:register", "Give sockets to a service."),
        "unregister": Lazy("inet_lookup.cli.unregister:unregister", "Undo a register."),
        "status": Lazy("inet_lookup.cli.status:status", "Services, sockets, processes, counters."),
        "rules": Lazy("inet_lookup.cli.rules:rules", "The rules, in the order of precedence."),
        "explain": Lazy("inet_lookup.cli.explain:explain", "Where a packet goes, and why."),
    },
)
@global_options(hidden=False)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
def inet_lookup() -> None:
    """Decide which socket a connection or datagram goes to, whatever the socket is bound to.

    The global options may also follow the name of a command.
    """
