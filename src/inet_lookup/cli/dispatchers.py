"""The dispatcher of the namespace that a command is for, to look at it or to change it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import PrivilegeError
from .settings import Settings

if TYPE_CHECKING:
    from ..control import Dispatcher
    from ..net.namespaces import Namespace


@contextlib.contextmanager
def reading(settings: Settings, *, must_exist: bool = True) -> Iterator[Dispatcher]:
    """Open the dispatcher to look at it.

    :param must_exist: see :meth:`inet_lookup.control.Dispatcher.open`.
    :raises PrivilegeError: it may not be read; the message says what that takes.
    """
    with settings.namespace() as namespace:
        try:
            with _open(settings, namespace, must_exist=must_exist) as dispatcher:
                yield dispatcher
        except PrivilegeError as error:
            raise PrivilegeError(
                f"read the dispatcher of {namespace.label}",
                error.errno,
                "it needs CAP_BPF and CAP_NET_ADMIN as the owner of the pins,"
                " or CAP_BPF as a member of their group",
                hint="run it as root; 'inet-lookup load --group NAME' lets a group read",
            ) from error


@contextlib.contextmanager
def opened(settings: Settings) -> Iterator[Dispatcher]:
    """Open the dispatcher, whether it is loaded or not.

    Nothing is read of it yet: what is done with it tells itself which privilege it lacks.
    """
    with (
        settings.namespace() as namespace,
        _open(settings, namespace, must_exist=False) as dispatcher,
    ):
        yield dispatcher


def _open(settings: Settings, namespace: Namespace, *, must_exist: bool) -> Dispatcher:
    from ..control import Dispatcher

    return Dispatcher.open(namespace, bpffs=settings.bpffs, must_exist=must_exist)
