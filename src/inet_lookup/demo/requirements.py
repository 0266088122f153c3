"""What the demo needs of the machine, looked at before anything is made."""

from __future__ import annotations

from inet_lookup.bpf.privileges import in_initial_user_namespace
from inet_lookup.control.checks import Status, missing_for_steering
from inet_lookup.errors import InetLookupError


def require_all() -> None:
    """Refuse to start where something is missing.

    :raises InetLookupError: it names all that is missing, as ``inet-lookup check`` does.
    """
    lacking = missing_for_steering(pins=False, compiler=True)
    if not lacking:
        return
    # Without privileges features cannot be tried: the privileges are what there is to tell.
    told = [each for each in lacking if each.status is Status.MISSING] or lacking
    if all(each.group == "privileges" for each in told) and in_initial_user_namespace():
        hint = "run it as root"
    else:
        hint = "; ".join(dict.fromkeys(each.mend for each in told if each.mend))
    names = ", ".join(each.name for each in told)
    raise InetLookupError(f"the demo cannot run here, for want of: {names}", hint=hint or None)
