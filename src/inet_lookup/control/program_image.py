"""A program that is compiled and not loaded yet, whichever language it is written in."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Final

from ..bpf.handle import Resource
from ..bpf.uapi import INSN_SIZE, AttachType, MapType, ProgramType
from ..errors import ObjectFileError

if TYPE_CHECKING:
    from ..bpf.map_definitions import MapSpec
    from ..bpf.maps import Map
    from ..bpf.objects import ObjectFile
    from ..bpf.programs import Program
    from ..programs.function import ProgramFunction
    from ..programs.maps import ProgramMap

SOCKET_MAPS: Final = frozenset({MapType.SOCKMAP, MapType.SOCKHASH})
"""The types of map that a socket lookup program redirects to."""

_COOKIE_SIZE: Final = 8


class ProgramImage:
    """A socket lookup program as an ELF object, with what its maps hold at first.

    :ivar name: the name of its function.
    :ivar place: where it is defined, as messages say it: ``file:line`` or a file.
    """

    def __init__(
        self,
        object_file: ObjectFile,
        name: str,
        *,
        place: str,
        declared: Mapping[str, ProgramMap] | None = None,
    ) -> None:
        self._object = object_file
        self._declared = dict(declared or {})
        self.name = name
        self.place = place

    @classmethod
    def of_function(cls, function: ProgramFunction) -> ProgramImage:
        """Compile a program written in Python.

        :raises CompileError: it uses something that cannot be compiled.
        :raises InetLookupError: llvmlite, the extra ``compiler``, is not installed.
        """
        from ..bpf.objects import ObjectFile

        source = function.source
        object_file = ObjectFile.parse(function.compile(), name=source.filename)
        return cls(
            object_file,
            function.name,
            place=f"{source.filename}:{source.node.lineno}",
            declared=function.check().maps,
        )

    @classmethod
    def of_object(cls, object_file: ObjectFile, name: str) -> ProgramImage:
        """Take a program of an object file.

        :raises ObjectFileError: there is none of this name, or it is not of the type sk_lookup.
        """
        spec = object_file.programs.get(name)
        if spec is None:
            raise ObjectFileError(
                f"{object_file.name} has no program {name!r}",
                hint=f"it has {', '.join(object_file.programs)}" if object_file.programs else None,
            )
        if spec.type != ProgramType.SK_LOOKUP:
            raise ObjectFileError(
                f"program {name!r} of {object_file.name} is in section {spec.section!r}, and is not"
                " a socket lookup program",
                hint='put it in a section of that name: SEC("sk_lookup")',
            )
        return cls(object_file, name, place=object_file.name)

    @cached_property
    def maps(self) -> Mapping[str, MapSpec]:
        """The maps that the program uses, by name; sections of global variables are left out."""
        used = {each.map for each in self._object.programs[self.name].relocations}
        return {
            name: spec
            for name, spec in self._object.maps.items()
            if name in used and not spec.holds_variables
        }

    @property
    def instructions(self) -> int:
        """How many instructions it has before the verifier rewrites them; long ones count twice."""
        return len(self._object.programs[self.name].instructions) // INSN_SIZE

    def check_context(self) -> None:
        """Refuse what the verifier would refuse of the accesses to the context, without asking it.

        :raises ContextAccessError: an access is not allowed; the message has its source line.
        """
        from ..rfc.context_check import check_context_accesses
        from ..rfc.context_rules import SK_LOOKUP

        spec = self._object.programs[self.name]
        if spec.dialect is not None:
            spec.dialect.check(spec)
        else:
            check_context_accesses(
                spec.linked.instructions, SK_LOOKUP, name=self.name, source_of=spec.source_of
            )

    def load(self, reuse: Mapping[str, Map] | None = None) -> LoadedImage:
        """Have the kernel verify it, and make its maps.

        :param reuse: maps to go on with, by name, in place of new ones; they stay the caller's.
        :raises VerifierError: it is rejected.
        :raises ContextAccessError: it is one for the RFC, and the RFC forbids what it does.
        :raises PrivilegeError: ``CAP_BPF`` and ``CAP_NET_ADMIN`` are missing.
        """
        if self._object.programs[self.name].dialect is not None:
            self.check_context()  # before any map is made
        given = dict(reuse or {})
        with ExitStack() as owned:
            for name, spec in self._object.maps.items():
                if name in given:
                    continue
                if name in self._declared:
                    given[name] = self._declared[name].acquire(name)
                    owned.callback(self._declared[name].release)
                elif spec.type in SOCKET_MAPS and spec.value_size != _COOKIE_SIZE:
                    given[name] = owned.enter_context(_with_cookies(spec))
            loaded = owned.enter_context(
                self._object.load(
                    maps=given,
                    programs=[self.name],
                    expected_attach_type=AttachType.SK_LOOKUP,
                )
            )
            used = {name: loaded.maps[name] for name in self.maps}
            return LoadedImage(loaded.programs[self.name], used, owned.pop_all())

    def __repr__(self) -> str:
        return f"<ProgramImage {self.name} of {self.place}>"


class LoadedImage(Resource):
    """A program in the kernel with the maps that it uses; closed together.

    :ivar program: the kernel's program.
    :ivar maps: by name.
    """

    def __init__(self, program: Program, maps: Mapping[str, Map], owned: ExitStack) -> None:
        super().__init__()
        self.program = program
        self.maps = maps
        self._owned = owned

    def _release(self) -> None:
        self._owned.close()

    def __repr__(self) -> str:
        return f"<LoadedImage {self.program.name}{' closed' if self.closed else ''}>"


def same_shape(spec: MapSpec, existing: Map) -> bool:
    """Whether a program that declares a map can go on with an existing one."""
    info = existing.info()
    value_size = _COOKIE_SIZE if spec.type in SOCKET_MAPS else spec.value_size
    return (info.type, info.key_size, info.value_size, info.max_entries, info.flags) == (
        spec.type,
        spec.key_size,
        value_size,
        spec.max_entries,
        spec.flags,
    )


def _with_cookies(spec: MapSpec) -> Map:
    """A map of sockets whose slots user space can read, whatever the object declares."""
    from ..bpf.maps import Map

    return Map.create(
        spec.type,
        key_size=spec.key_size,
        value_size=_COOKIE_SIZE,
        max_entries=spec.max_entries,
        flags=spec.flags,
        name=spec.name,
    )
