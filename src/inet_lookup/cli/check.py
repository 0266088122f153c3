"""``inet-lookup check``: what this machine can do."""

from __future__ import annotations

from itertools import groupby

import click

from ..control.checks import Check, Status, run_checks
from .output import show
from .settings import Settings, global_options, pass_settings
from .tables import table


@click.command(short_help="What this machine can do.")
@global_options(hidden=True)
@pass_settings
@click.pass_context
def check(context: click.Context, settings: Settings) -> None:
    """Say what this machine can do, and what to do about the rest.

    Features of the kernel are tried, not guessed from its version; nothing stays of it. The exit
    status is 0 when all is there that steering with pinned programs needs, and 1 otherwise.
    """
    checks = run_checks(bpffs=settings.bpffs)
    missing = [each for each in checks if each.needed and each.status is not Status.OK]
    result = {
        "steering": not missing,
        "checks": [{**each._asdict(), "status": each.status.value} for each in checks],
    }
    show(settings, result, _lines(checks, missing))
    if missing:
        context.exit(1)


_WORDS = {Status.OK: "ok", Status.MISSING: "no", Status.UNKNOWN: "?"}


def _lines(checks: list[Check], missing: list[Check]) -> list[str]:
    rows = []
    for group, members in groupby(checks, key=lambda each: each.group):
        rows.append([f"{group}:"])
        for each in members:
            needed = "needed" if each.needed else ""
            rows.append([f"  {each.name}", _WORDS[each.status], needed, each.detail])
            if each.mend:
                rows.append(["", "", "", f"-> {each.mend}"])
    lines = table([row for row in rows if len(row) > 1])
    # The group's name stands alone on its line and sets no column's width.
    aligned = iter(lines)
    lines = [row[0] if len(row) == 1 else next(aligned) for row in rows]
    if missing:
        names = ", ".join(each.name for each in missing)
        return [*lines, "", f"steering does not work here, for want of: {names}"]
    return [*lines, "", "steering works here"]
