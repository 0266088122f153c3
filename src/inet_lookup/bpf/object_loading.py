"""Makes the maps and programs of an object file in the kernel."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from ..errors import CapacityError, KernelError, ObjectFileError, PrivilegeError
from .btf_adaptation import simplify
from .cpus import possible_cpus
from .handle import Resource
from .kernel_btf import Btf
from .map_definitions import SOCKET_VALUES, MapSpec, Pinning
from .maps import Map
from .pins import unpin
from .programs import Program
from .section_names import known_names
from .uapi import ENOTSUPP, AttachType, MapType, ProgramType

if TYPE_CHECKING:
    from .objects import ObjectFile, ProgramSpec

_REFUSED_TYPES: Final = (errno.EINVAL, ENOTSUPP)


class LoadedObject(Resource):
    """The programs and maps of an object file in the kernel, closed together.

    :ivar programs: by the name of the function.
    :ivar maps: by name. A map that was handed to the load is the caller's, and stays open.
    :ivar btf_refusal: why the kernel took the programs without their type information and source
        lines; None where it took these, or there were none.
    """

    def __init__(
        self,
        name: str,
        programs: dict[str, Program],
        maps: dict[str, Map],
        btf_refusal: KernelError | None,
        owned: ExitStack,
    ) -> None:
        super().__init__()
        self.name = name
        self.programs = programs
        self.maps = maps
        self.btf_refusal = btf_refusal
        self._owned = owned

    def _release(self) -> None:
        self._owned.close()

    def __repr__(self) -> str:
        return f"<LoadedObject {self.name!r}{' closed' if self.closed else ''}>"


def load_object(
    object_file: ObjectFile,
    *,
    maps: Mapping[str, Map],
    programs: Collection[str] | None,
    variables: Mapping[str, int | bytes],
    program_type: ProgramType | None,
    expected_attach_type: AttachType | None,
    license: str,
    pin_directory: str | os.PathLike[str] | None,
) -> LoadedObject:
    """See :meth:`inet_lookup.bpf.objects.ObjectFile.load`."""
    if sys.byteorder != "little":
        raise ObjectFileError(
            f"{object_file.name}: a little-endian object, and this machine is not"
        )
    chosen = _choose(object_file, programs, program_type)
    for program in chosen:
        if program.dialect is not None:
            program.dialect.check(program)
    contents = _contents(object_file, maps, variables)
    _check_given(object_file, maps)
    if pin_directory is None:
        _check_pinning(object_file, maps)
    with ExitStack() as owned, ExitStack() as pinned, ExitStack() as until_loaded:
        btf, refusal = _load_btf(object_file)
        if btf is not None:
            # Maps and programs hold what they need of it.
            until_loaded.enter_context(btf)
        made = dict(maps)
        for spec in object_file.maps.values():
            if spec.name not in maps:
                made[spec.name] = owned.enter_context(
                    _make_map(object_file, spec, btf, contents, pin_directory, pinned)
                )
        loaded = {
            spec.name: owned.enter_context(
                Program.load(
                    program_type or spec.type or ProgramType.UNSPEC,
                    spec.linked.with_maps(lambda name: made[name].fd),
                    expected_attach_type=expected_attach_type
                    if expected_attach_type is not None
                    else spec.expected_attach_type,
                    name=spec.name,
                    license=license,
                    btf=btf,
                    func_info=spec.func_info if btf else b"",
                    line_info=spec.line_info if btf else b"",
                    flags=spec.flags,
                    source_of=spec.source_of,
                )
            )
            for spec in chosen
        }
        for spec in object_file.maps.values():
            if spec.name not in maps:
                _fill_slots(object_file, spec, made, loaded)
        pinned.pop_all()
        return LoadedObject(object_file.name, loaded, made, refusal, owned.pop_all())


def _choose(
    object_file: ObjectFile, names: Collection[str] | None, program_type: ProgramType | None
) -> list[ProgramSpec]:
    if names is None:
        chosen = [spec for spec in object_file.programs.values() if spec.autoload]
    else:
        for name in names:
            if name not in object_file.programs:
                raise _no_such(object_file, "program", name, object_file.programs)
        chosen = [spec for name, spec in object_file.programs.items() if name in names]
    for spec in chosen:
        if program_type is None and spec.type is None:
            raise ObjectFileError(
                f"{object_file.name}: the section {spec.section!r} of program {spec.name!r}"
                " does not say what type of program it is",
                hint=f"known are {', '.join(known_names())}; or give the type",
            )
    return chosen


def _contents(
    object_file: ObjectFile, maps: Mapping[str, Map], variables: Mapping[str, int | bytes]
) -> dict[str, bytes]:
    """Put the variables' values into what their sections hold."""
    found: dict[str, bytearray] = {}
    for name, value in variables.items():
        variable = object_file.variables.get(name)
        if variable is None:
            raise _no_such(object_file, "variable", name, object_file.variables)
        if variable.map in maps:
            raise ObjectFileError(
                f"{object_file.name}: variable {name!r} is in {variable.map!r}, which is given"
                " as a map",
                hint="write it into that map",
            )
        spec = object_file.maps[variable.map]
        if spec.name not in found:
            found[spec.name] = (
                bytearray(spec.value_size) if spec.contents is None else bytearray(spec.contents)
            )
        data = variable.encode(value)
        found[spec.name][variable.offset : variable.offset + len(data)] = data
    contents = {name: bytes(data) for name, data in found.items()}
    for spec in object_file.maps.values():
        if spec.contents is not None and spec.name not in maps:
            contents.setdefault(spec.name, bytes(spec.contents))
    return contents


def _check_given(object_file: ObjectFile, maps: Mapping[str, Map]) -> None:
    for name, given in maps.items():
        spec = object_file.maps.get(name)
        if spec is None:
            raise _no_such(object_file, "map", name, object_file.maps)
        _check_map(object_file, spec, given)


def _check_map(object_file: ObjectFile, spec: MapSpec, given: Map) -> None:
    """Refuse a map that the program would misread."""
    info = given.info()
    value_sizes = {spec.value_size} | ({4, 8} if spec.type in SOCKET_VALUES else set())
    wrong = [
        f"{what} {found} instead of {wanted}"
        for what, wanted, found, fits in (
            ("type", spec.type.label, info.type.label, info.type == spec.type),
            ("key_size", spec.key_size, info.key_size, info.key_size == spec.key_size),
            ("value_size", spec.value_size, info.value_size, info.value_size in value_sizes),
            (
                "max_entries",
                spec.max_entries,
                info.max_entries,
                spec.max_entries in (0, info.max_entries),
            ),
        )
        if not fits
    ]
    if wrong:
        raise ObjectFileError(
            f"{object_file.name}: map {info.name!r} does not fit the declaration of"
            f" {spec.name!r}: {', '.join(wrong)}"
        )


def _check_pinning(object_file: ObjectFile, maps: Mapping[str, Map]) -> None:
    for spec in object_file.maps.values():
        if spec.pinning == Pinning.BY_NAME and spec.name not in maps:
            raise ObjectFileError(
                f"{object_file.name}: map {spec.name!r} is declared to be pinned by name",
                hint="say in which directory, or give the map",
            )


def _no_such(
    object_file: ObjectFile, what: str, name: str, existing: Collection[str]
) -> ObjectFileError:
    return ObjectFileError(
        f"{object_file.name} has no {what} {name!r}",
        hint=f"it has {', '.join(existing)}" if existing else None,
    )


def _load_btf(object_file: ObjectFile) -> tuple[Btf | None, KernelError | None]:
    """Load the type information as it is, or else simplified for older kernels, or else not.

    Programs run without it: only source lines and names of types are lost.
    """
    if object_file.btf is None or not len(object_file.btf):
        return None, None
    refusal: KernelError | None = None
    for simpler in (False, True):
        types = simplify(object_file.btf, object_file.name) if simpler else object_file.btf
        try:
            return Btf.load(bytes(types.data)), None
        except (PrivilegeError, CapacityError):
            raise
        except KernelError as error:
            refusal = refusal or error
    return None, refusal


def _make_map(
    object_file: ObjectFile,
    spec: MapSpec,
    btf: Btf | None,
    contents: Mapping[str, bytes],
    pin_directory: str | os.PathLike[str] | None,
    pinned: ExitStack,
) -> Map:
    path = None
    if spec.pinning == Pinning.BY_NAME and pin_directory is not None:
        path = os.path.join(os.fspath(pin_directory), spec.name)
        existing = _open_pinned(object_file, spec, path)
        if existing is not None:
            return existing
    with ExitStack() as on_failure:
        inner = None
        if spec.inner is not None:
            inner = _create(spec.inner, btf)
        try:
            made = on_failure.enter_context(_create(spec, btf, inner))
        finally:
            if inner is not None:
                inner.close()
        data = contents.get(spec.name)
        if data is not None:
            made.update(0, data)
        if spec.frozen:
            made.freeze()
        if path is not None:
            made.pin(path)
            pinned.callback(unpin, path)
        on_failure.pop_all()
        return made


def _open_pinned(object_file: ObjectFile, spec: MapSpec, path: str) -> Map | None:
    try:
        existing = Map.open_pinned(path)
    except KernelError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    try:
        _check_map(object_file, spec, existing)
    except BaseException:
        existing.close()
        raise
    return existing


def _create(spec: MapSpec, btf: Btf | None, inner: Map | None = None) -> Map:
    max_entries = spec.max_entries
    if not max_entries and spec.type == MapType.PERF_EVENT_ARRAY:
        max_entries = possible_cpus()

    def create(btf: Btf | None) -> Map:
        return Map.create(
            spec.type,
            key_size=spec.key_size,
            value_size=spec.value_size,
            max_entries=max_entries,
            flags=spec.flags,
            name=spec.name,
            inner=inner,
            btf=btf,
            btf_key_type_id=spec.btf_key_type_id if btf else 0,
            btf_value_type_id=spec.btf_value_type_id if btf else 0,
        )

    if btf is not None and spec.btf_value_type_id:
        # Many types of maps take no BTF, and some take only some types: an array, integers as
        # keys. It serves listings alone, so that the map is made without it then.
        try:
            return create(btf)
        except KernelError as error:
            if error.errno not in _REFUSED_TYPES:
                raise
    return create(None)


def _fill_slots(
    object_file: ObjectFile,
    spec: MapSpec,
    maps: Mapping[str, Map],
    programs: Mapping[str, Program],
) -> None:
    targets: Mapping[str, Map] | Mapping[str, Program] = (
        programs if spec.type == MapType.PROG_ARRAY else maps
    )
    for index, name in spec.slots:
        target = targets.get(name)
        if target is None:
            raise ObjectFileError(
                f"{object_file.name}: slot {index} of map {spec.name!r} is to hold {name!r},"
                " which is not loaded"
            )
        maps[spec.name].update(index, target)
