"""Programs as users name them: ``FILE.py:NAME`` or ``FILE.o:NAME``."""

from __future__ import annotations

import contextlib
import difflib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Final

from ..bpf.uapi import ProgramType
from ..errors import InetLookupError, ObjectFileError
from .program_image import ProgramImage

if TYPE_CHECKING:
    from ..bpf.objects import ObjectFile

_ELF_MAGIC: Final = b"\x7fELF"
_MAX_SIZE: Final = 256 << 20


class ProgramFile:
    """A file with programs, read, and the name that the user gave.

    :ivar path: of the file.
    :ivar name: of the program asked for, or None.
    """

    def __init__(self, path: str, name: str | None, programs: _Programs) -> None:
        self.path = path
        self.name = name
        self._programs = programs

    @classmethod
    def open(cls, reference: str) -> ProgramFile:
        """Read a file: a Python file is run, as ``import`` does, an ELF object is parsed.

        What a Python file prints goes to the standard error output.

        :param reference: ``FILE`` or ``FILE:NAME``.
        :raises CompileError: a function in it uses something that cannot be compiled.
        :raises ObjectFileError: an object is malformed, or uses what is not supported.
        :raises InetLookupError: the file cannot be read, fails when it is run, or is of neither
            kind.
        """
        path, name = _split(reference)
        data = _read(path)
        if data.startswith(_ELF_MAGIC):
            from ..bpf.objects import ObjectFile

            return cls(path, name, _ObjectPrograms(ObjectFile.parse(data, name=path)))
        if path.endswith(".py"):
            return cls(path, name, _PythonPrograms(_run(path), path))
        raise InetLookupError(
            f"{path} is neither a Python file nor an ELF object",
            hint="give a file that ends in .py, or an object that clang made with --target=bpf",
        )

    @property
    def names(self) -> list[str]:
        """The names of its programs, in the order of the file."""
        return list(self._programs.names)

    def images(self) -> list[ProgramImage]:
        """Compile the program asked for, or all where none was.

        :raises InetLookupError: there is none of that name, or none at all.
        """
        if self.name is None and self.names:
            return [self._programs.image(name) for name in self.names]
        return [self.image()]

    def image(self) -> ProgramImage:
        """Compile the program asked for, or the only one.

        :raises InetLookupError: there is none of that name, or several and no name.
        """
        names = self.names
        if not names:
            raise InetLookupError(f"{self.path} has no program", hint=self._programs.how)
        if self.name is None and len(names) == 1:
            return self._programs.image(names[0])
        if self.name is None:
            raise InetLookupError(
                f"{self.path} has {len(names)} programs: {', '.join(names)}",
                hint=f"say which: {self.path}:{names[0]}",
            )
        if self.name not in self._programs.known:
            close = difflib.get_close_matches(self.name, names, n=1)
            raise InetLookupError(
                f"{self.path} has no program '{self.name}'",
                hint=f"did you mean '{close[0]}'?" if close else f"it has {', '.join(names)}",
            )
        return self._programs.image(self.name)


class _Programs:
    """The programs of a file of either kind.

    :ivar names: those that are offered; ``known`` has others that may be named.
    """

    names: list[str]
    known: list[str]
    how: str

    def image(self, name: str) -> ProgramImage:
        raise NotImplementedError


class _PythonPrograms(_Programs):
    how = "decorate a function with @program"

    def __init__(self, module: ModuleType, path: str) -> None:
        from ..programs.function import ProgramFunction

        found: dict[str, ProgramFunction] = {}
        for name, value in vars(module).items():
            # One that has two names goes by the first.
            if isinstance(value, ProgramFunction) and value not in found.values():
                found[name] = value
        # What the file only imports is not offered, as long as it has programs of its own.
        own = [
            name
            for name, value in found.items()
            if os.path.realpath(value.source.filename) == os.path.realpath(path)
        ]
        self._found = found
        self.known = list(found)
        self.names = own or self.known

    def image(self, name: str) -> ProgramImage:
        return ProgramImage.of_function(self._found[name])


class _ObjectPrograms(_Programs):
    how = 'put a function in the section of socket lookup programs: SEC("sk_lookup")'

    def __init__(self, object_file: ObjectFile) -> None:
        self._object = object_file
        self.known = list(object_file.programs)
        # Objects often hold programs of other types beside; one that has no other is told so.
        lookups = [
            name
            for name, spec in object_file.programs.items()
            if spec.type == ProgramType.SK_LOOKUP
        ]
        self.names = lookups or self.known

    def image(self, name: str) -> ProgramImage:
        return ProgramImage.of_object(self._object, name)


def _split(reference: str) -> tuple[str, str | None]:
    path, colon, name = reference.rpartition(":")
    if not colon or os.path.exists(reference):
        return reference, None
    if not path or not name.isidentifier():
        raise InetLookupError(
            f"'{reference}' does not name a program",
            hint="write FILE.py:NAME or FILE.o:NAME, where NAME is the function",
        )
    return path, name


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_SIZE + 1)
    except OSError as error:
        raise InetLookupError(f"cannot read {path}: {os.strerror(error.errno or 0)}") from error
    if len(data) > _MAX_SIZE:
        raise ObjectFileError(f"{path} has more than {_MAX_SIZE >> 20} MiB")
    return data


def _run(path: str) -> ModuleType:
    """Run a Python file as a module of its own, which no import finds by accident."""
    absolute = os.path.abspath(path)
    name = f"inet_lookup_program_{abs(hash(absolute)):x}"
    spec = importlib.util.spec_from_file_location(name, absolute)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look a class's module up by its name
    try:
        with _as_a_script(os.path.dirname(absolute)):
            spec.loader.exec_module(module)
    except InetLookupError:
        raise
    except (Exception, SystemExit) as error:
        raise _user_error(error, path, absolute) from error
    return module


@contextlib.contextmanager
def _as_a_script(directory: str) -> Iterator[None]:
    """Let the file import its neighbours, write no caches beside it, keep our output clean."""
    wrote_bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    sys.path.insert(0, directory)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        sys.dont_write_bytecode = wrote_bytecode
        with contextlib.suppress(ValueError):
            sys.path.remove(directory)


def _user_error(error: BaseException, path: str, absolute: str) -> InetLookupError:
    """Say in one message where the user's file failed, and how."""
    what = type(error).__name__
    text = str(error)
    if isinstance(error, SyntaxError) and error.filename:
        line = error.text.rstrip("\n") if error.text else ""
        stripped = line.lstrip()
        shown = f"\n    {stripped}" if stripped else ""
        if stripped and error.offset:
            shown += "\n    " + " " * max(error.offset - 1 - len(line) + len(stripped), 0) + "^"
        file = path if error.filename == absolute else error.filename
        return InetLookupError(f"{file}:{error.lineno}: {what}: {error.msg}{shown}")
    hint = None
    if isinstance(error, ModuleNotFoundError) and error.name:
        hint = (
            f"install it into the environment of {sys.executable}, or put it beside the file"
            if error.name.partition(".")[0] != "inet_lookup"
            else None
        )
    if isinstance(error, SystemExit):
        text = f"the file ends the program ({error.code!r})"
        hint = 'put what runs it under: if __name__ == "__main__":'
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename == absolute and frame.lineno is not None
    ]
    place = f"{path}:{frames[-1].lineno}" if frames else path
    shown = f"\n    {frames[-1].line}" if frames and frames[-1].line else ""
    return InetLookupError(f"{place}: {what}: {text}".removesuffix(": ") + shown, hint=hint)
