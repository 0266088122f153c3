"""Packages whose names are imported from their modules when they are first used (PEP 562).

A command then pays only for the modules that it needs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping


def exports(
    package: str, homes: Mapping[str, tuple[str, ...]]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return what a package takes as its ``__getattr__`` and ``__dir__``.

    :param package: the package's ``__name__``.
    :param homes: the names that each module gives, by the module's name below the package.
    """
    home = {name: module for module, names in homes.items() for name in names}

    def get(name: str) -> object:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *home})

    return get, names
