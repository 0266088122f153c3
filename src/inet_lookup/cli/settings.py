"""The global options, which may stand before or behind a command's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..net.namespaces import Namespace

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class Settings:
    """What the global options say.

    :ivar netns: name, path or pid of a network namespace; None for that of this process.
    :ivar bpffs: directory in a BPF file system; None for the machine's.
    :ivar json: whether to print JSON.
    :ivar debug: whether errors are shown with their traceback.
    """

    netns: str | None = None
    bpffs: str | None = None
    json: bool = False
    debug: bool = False

    def namespace(self) -> Namespace:
        """Open the namespace; the caller closes it.

        :raises NamespaceError: there is none.
        """
        from ..net.namespaces import Namespace

        return Namespace.open(self.netns)


def settings_of(context: click.Context) -> Settings:
    """The settings of the whole command line."""
    root = context.find_root()
    if not isinstance(root.obj, Settings):
        root.obj = Settings()
    return root.obj


def _remember(context: click.Context, option: click.Parameter, value: object) -> object:
    # Both the group and its command have the option: what is not given does not undo the other's.
    if value and option.name is not None:
        setattr(settings_of(context), option.name, value)
    return value


def global_options(hidden: bool) -> Callable[[F], F]:
    """Give a command or group the global options; its function does not get them as arguments.

    :param hidden: whether its help leaves them out.
    """

    def decorate(function: F) -> F:
        for option in reversed(
            (
                click.option(
                    "--netns",
                    metavar="NAME|PATH|PID",
                    help="The network namespace; that of this process by default.",
                    hidden=hidden,
                    expose_value=False,
                    callback=_remember,
                ),
                click.option(
                    "--bpffs",
                    metavar="DIR",
                    help="Directory in a BPF file system for the pins; /sys/fs/bpf by default.",
                    hidden=hidden,
                    expose_value=False,
                    callback=_remember,
                ),
                click.option(
                    "--json",
                    is_flag=True,
                    help="Print one JSON object.",
                    hidden=hidden,
                    expose_value=False,
                    callback=_remember,
                ),
                click.option(
                    "--debug",
                    is_flag=True,
                    envvar="INET_LOOKUP_DEBUG",
                    help="Show errors with their traceback.",
                    hidden=hidden,
                    expose_value=False,
                    callback=_remember,
                ),
            )
        ):
            function = option(function)
        return function

    return decorate


pass_settings = click.make_pass_decorator(Settings, ensure=True)
"""Decorate a command's function: its first argument is the :class:`Settings`."""
