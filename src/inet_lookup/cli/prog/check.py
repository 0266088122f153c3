"""``inet-lookup prog check``: does a program compile, and does the verifier take it?"""

from __future__ import annotations

from typing import Any, NamedTuple

import click

from ...bpf.programs import ProgramInfo
from ...bpf.uapi import MapType
from ...control.program_files import ProgramFile
from ...control.program_image import ProgramImage
from ...errors import PrivilegeError
from ..output import show
from ..settings import Settings, global_options, pass_settings
from .verifier import log_option, verifier_log


@click.command(short_help="Compile and verify, change nothing.")
@click.argument("program", metavar="FILE[:NAME]")
@log_option
@global_options(hidden=True)
@pass_settings
def check(settings: Settings, program: str, log: bool) -> None:
    """Compile a program, or all of a file, and have the kernel's verifier check it.

    Nothing is attached. Without the privilege to ask the verifier, only compilation and accesses
    to the context are checked.
    """
    with verifier_log(log):
        checked = [_check(each) for each in ProgramFile.open(program).images()]
    lines = [line for each in checked for line in _lines(each)]
    show(settings, {"programs": [_json(each) for each in checked]}, lines)


class _Checked(NamedTuple):
    image: ProgramImage
    info: ProgramInfo | None
    obstacle: PrivilegeError | None


def _check(image: ProgramImage) -> _Checked:
    try:
        with image.load() as loaded:
            return _Checked(image, loaded.program.info(), None)
    except PrivilegeError as error:
        image.check_context()
        return _Checked(image, None, error)


def _json(checked: _Checked) -> dict[str, Any]:
    image, info, obstacle = checked
    return {
        "name": image.name,
        "place": image.place,
        "instructions": image.instructions,
        "verified": info is not None,
        "not_verified_because": obstacle.message if obstacle else None,
        "kernel_instructions": info.xlated_insns if info else None,
        "machine_code_bytes": info.jited_size if info else None,
        "maps": [
            {
                "name": spec.name,
                "type": MapType(spec.type).label,
                "key_size": spec.key_size,
                "value_size": spec.value_size,
                "max_entries": spec.max_entries,
            }
            for spec in image.maps.values()
        ],
    }


def _lines(checked: _Checked) -> list[str]:
    image, info, obstacle = checked
    lines = [f"{image.name}  {image.place}", f"  compiled: {image.instructions} instructions"]
    if info is not None:
        machine_code = f", {info.jited_size} bytes of machine code" if info.jited else ""
        lines.append(f"  verified: {info.xlated_insns} instructions in the kernel{machine_code}")
    elif obstacle is not None:
        lines.append(f"  not verified: {obstacle.meaning or obstacle.message}")
    lines += [
        f"  map: {spec.name} ({spec.type.label} of {spec.max_entries})"
        for spec in image.maps.values()
    ]
    return lines
