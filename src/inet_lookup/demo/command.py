"""``inet-lookup demo``."""

from __future__ import annotations

import json

import click

from inet_lookup.demo.interruptions import Interrupted, Interruptions


@click.command()
@click.pass_context
def demo(context: click.Context) -> None:
    """Two web servers share a port, steered by a program written in Python.

    In network namespaces of its own, starts NGINX and Apache as different users, each bound to
    another port, attaches the program of examples/two_http_servers.py, sends requests from a second
    namespace to many addresses of two IPv4 and two IPv6 prefixes on port 80, and shows which server
    answered, and the program as the kernel has it. Where NGINX or Apache is not installed, a small
    server written in Python stands in.

    It needs root, leaves nothing behind, and exits with 0 only if every request reached the right
    server.
    """
    from inet_lookup.demo.narration import Narration
    from inet_lookup.demo.scenario import play

    as_json = bool(context.find_root().params.get("json"))
    narration = Narration((lambda line: None) if as_json else click.echo)
    try:
        with Interruptions() as interruptions:
            report = play(narration, interruptions)
    except Interrupted as interrupted:
        click.echo(f"ended by {interrupted}; nothing is left behind", err=True)
        interrupted.die()
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    if not report.ok:
        context.exit(1)
