"""``inet-lookup demo``."""

from __future__ import annotations

import click

from inet_lookup.cli.output import show
from inet_lookup.cli.settings import Settings, global_options, pass_settings
from inet_lookup.demo.interruptions import Interruptions


@click.command()
@global_options(hidden=True)
@pass_settings
@click.pass_context
def demo(context: click.Context, settings: Settings) -> None:
    """Two web servers share a port, steered by a program written in Python.

    In network namespaces of its own, starts NGINX and Apache as different users, each bound to
    another port, attaches the program of examples/two_http_servers.py, sends requests from a second
    namespace to many addresses of two IPv4 and two IPv6 prefixes on port 80, and shows which server
    answered, and the program as the kernel has it. Where NGINX or Apache is not installed, a small
    server written in Python stands in.

    It needs root, touches nothing of the machine and leaves nothing behind. The exit status is 0
    only if every request reached the right server.
    """
    if settings.netns or settings.bpffs:
        raise click.UsageError(
            "the demo makes its own namespaces and pins nothing: it takes no --netns or --bpffs",
            context,
        )
    with Interruptions() as interruptions:
        from inet_lookup.demo.narration import Narration
        from inet_lookup.demo.scenario import play

        narration = Narration((lambda line: None) if settings.json else click.echo)
        report = play(narration, interruptions)
    if settings.json:
        show(settings, report.to_json(), ())
    if not report.ok:
        context.exit(1)
