"""Run as a process of its own: steers tcp/80 to another process's socket, pins that, and ends.

``python steer_and_leave.py SELECTOR PIN``, in the namespace to steer in.
"""

from __future__ import annotations

import sys

from inet_lookup import PASS, Context, SockArray, Verdict, attach, program
from inet_lookup.net import SocketSelector, take_one

servers = SockArray(max_entries=1)


@program
def left_behind(ctx: Context) -> Verdict:
    return servers.redirect(ctx, 0) if ctx.local_port == 80 else PASS


def main() -> None:
    selector, pin = sys.argv[1:]
    with take_one(SocketSelector.parse(selector)) as servers[0], attach(left_behind) as link:
        link.pin(pin)


if __name__ == "__main__":
    main()
