"""The dispatcher of a namespace: its rules, its services' sockets, and what they come to."""

from __future__ import annotations

import contextlib
import difflib
import os
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final, Self, TypeAlias

from ..bpf.handle import Resource
from ..errors import (
    DispatcherMissingError,
    InetLookupError,
    KernelError,
    NamespaceError,
    PrivilegeError,
)
from ..net.namespaces import Namespace
from ..rules import Ruleset
from .dispatcher_pins import DispatcherPins
from .interfaces import named_in, resolve
from .namespace_home import NamespaceHome
from .pin_directories import GONE
from .pinned_generation import PinnedGeneration
from .privileges import require_privileges
from .service_sockets import KINDS, ServiceSockets

if TYPE_CHECKING:
    from ..net.sockets import HasFileno
    from ..rules import Diff, Family, Packet, Prefix, Protocol, Rule, Service
    from .changing import Progress
    from .explaining import Explanation
    from .registration import Registration
    from .status import DispatcherStatus

NamespaceSpec: TypeAlias = str | int | os.PathLike[str] | Namespace | None

PATIENCE_SECONDS: Final = 60.0
"""How long a change waits for others to end."""

_READ_ATTEMPTS: Final = 200
_READ_INTERVAL_SECONDS: Final = 0.005


@dataclass(frozen=True)
class Change:
    """What a change of the ruleset did. It is true if the ruleset is another one now.

    :ivar before: the ruleset that was in force.
    :ivar after: the ruleset that is in force.
    :ivar generation: the number of the generation in force.
    :ivar routes_added: the prefixes that were made local.
    :ivar routes_removed: the prefixes that are no longer local, for no rule needed them any more.
    """

    before: Ruleset
    after: Ruleset
    generation: int
    routes_added: tuple[Prefix, ...] = ()
    routes_removed: tuple[Prefix, ...] = ()

    @cached_property
    def diff(self) -> Diff:
        """The difference of the rulesets, worked out when it is first asked for."""
        from ..rules import diff

        return diff(self.before, self.after)

    def __bool__(self) -> bool:
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade did. It is true if another program runs now.

    :ivar before: the version of the package that made what was in force.
    :ivar after: the version that made what is in force.
    :ivar replaced: whether the program had to be replaced.
    """

    before: str
    after: str
    replaced: bool

    def __bool__(self) -> bool:
        return self.replaced


class Dispatcher(Resource):
    """The dispatcher of a network namespace, which carries out a ruleset.

    It lives in the kernel: this object is a way to it, and closing it changes nothing. Any number
    of processes may have one; what one changes, the others see.

    ::

        with Dispatcher.load("edge") as dispatcher:
            dispatcher.bind(parse_rule("web", "tcp", "192.0.2.0/24", 80))
            dispatcher.register("web", [listener])

    A change takes effect as a whole, in one moment, or not at all; a process that is killed while
    it makes one leaves the old ruleset or the new one.
    """

    def __init__(self, namespace: Namespace, home: NamespaceHome, *, owned: bool) -> None:
        super().__init__()
        self._namespace = namespace
        self._owned = owned
        self._home = home
        self._pins = DispatcherPins(home)
        self._known: PinnedGeneration | None = None

    @classmethod
    def open(
        cls,
        netns: NamespaceSpec = None,
        *,
        bpffs: str | os.PathLike[str] | None = None,
        must_exist: bool = True,
    ) -> Self:
        """Open the dispatcher of a namespace.

        :param netns: a namespace's name, path or pid, an open :class:`Namespace` (which stays the
            caller's to close), or None for that of the calling thread.
        :param bpffs: a directory in a BPF file system; None for the machine's.
        :param must_exist: whether it has to be loaded. Where it need not be, an unloaded dispatcher
            has an empty ruleset, and :meth:`bind` and :meth:`apply` load it together with their
            rules, in one step.
        :raises DispatcherMissingError: none is loaded.
        :raises NamespaceError: there is no such namespace.
        :raises BpffsError: there is no such BPF file system.
        :raises NewerLayoutError: a newer version of this package made it.
        :raises PrivilegeError: its pins may not be read.
        """
        namespace = netns if isinstance(netns, Namespace) else Namespace.open(netns)
        try:
            home = NamespaceHome.at(bpffs, namespace.inode)
            found = cls(namespace, home, owned=namespace is not netns)
        except BaseException:
            if namespace is not netns:
                namespace.close()
            raise
        if must_exist:
            with found._closed_on_failure():
                found._current()
        return found

    @classmethod
    def load(
        cls,
        netns: NamespaceSpec = None,
        *,
        bpffs: str | os.PathLike[str] | None = None,
        group: int | None = None,
    ) -> Self:
        """Open the dispatcher of a namespace; where none is loaded, load one without rules.

        :param netns: as for :meth:`open`.
        :param bpffs: likewise.
        :param group: id of the group whose members may read its status and rules; also where it is
            loaded already. None leaves that as it is: at first the group of the process. Members
            also need a way to the pins: systemd mounts ``/sys/fs/bpf`` for root alone
            (``chmod o+x /sys/fs/bpf`` opens it).
        :raises PrivilegeError: ``CAP_BPF`` or ``CAP_NET_ADMIN`` is missing.
        :raises NewerLayoutError: a newer version of this package made what is loaded.
        """
        found = cls.open(netns, bpffs=bpffs, must_exist=False)
        with found._closed_on_failure():
            found._load(-1 if group is None else group)
        return found

    def _load(self, group: int) -> None:
        with self._changing("load the dispatcher", group=group) as current:
            if current is None:
                self._change(current, Ruleset(), group=group)
            elif group != -1:
                self._pins.set_group(group)

    # Reading

    @property
    def namespace(self) -> Namespace:
        """The namespace."""
        return self._namespace

    @property
    def path(self) -> str:
        """The directory of its pins."""
        return self._pins.path

    @property
    def loaded(self) -> bool:
        """Whether there is a dispatcher in the namespace now."""
        return self._find() is not None

    @property
    def ruleset(self) -> Ruleset:
        """The ruleset in force now; an empty one where no dispatcher is loaded."""
        current = self._find()
        return current.state.ruleset if current is not None else Ruleset()

    def plan(self, new: Ruleset) -> Diff:
        """What would change if a ruleset replaced the one in force."""
        from ..rules import diff

        return diff(self.ruleset, new)

    def rules(self) -> Iterator[tuple[Rule, int]]:
        """The rules in force in the order of precedence, with the look-ups that each decided.

        :raises DispatcherMissingError: no dispatcher is loaded.
        """
        from .counters import Counts

        current = self._current()
        counts = Counts.read(current.maps["counters"], current.maps["bases"])
        state = current.state
        for rule, index in zip(state.ruleset.rules, state.counters, strict=True):
            yield rule, counts.of(index)

    def status(self) -> DispatcherStatus:
        """What the dispatcher is and does now.

        :raises DispatcherMissingError: no dispatcher is loaded.
        """
        from .status import read_status

        return read_status(self.path, self._current(), self._namespace)

    def explain(self, packet: Packet) -> Explanation:
        """What becomes of a packet: as the kernel answers it, and as the rules say it.

        Counters do not move, and nobody receives anything.

        :raises DispatcherMissingError: no dispatcher is loaded.
        :raises PrivilegeError: ``CAP_BPF`` or ``CAP_NET_ADMIN`` is missing, or ``CAP_SYS_ADMIN`` to
            enter the namespace.
        """
        from .explaining import explain

        require_privileges(f"explain {packet}")
        return explain(self._current(), packet, self._namespace)

    # Changing

    def bind(
        self,
        rules: Iterable[Rule],
        *,
        services: Iterable[Service] = (),
        anyip: bool = False,
        missing_interfaces: bool = False,
        progress: Progress | None = None,
    ) -> Change:
        """Add rules to those in force. Those that are in force already stay as they are.

        :param services: services to add, or to give another ``on_miss``.
        :param anyip: also make these rules' addresses local, by a route each that is removed when
            no rule needs it any more.
        :param missing_interfaces: take rules that name an interface that does not exist now. They
            match nothing until rules are changed or applied again while it exists.
        :param progress: told how far the work is.
        :raises AmbiguousRulesError: which of two rules wins would be open for some packet.
        :raises InetLookupError: a rule names an interface that does not exist.
        :raises CapacityError: there are too many services, or the rules overlap too much.
        :raises PrivilegeError: ``CAP_BPF`` or ``CAP_NET_ADMIN`` is missing.
        """
        added = tuple(rules)
        with self._changing("bind rules") as current:
            ruleset = _ruleset_of(current)
            for service in services:
                ruleset = ruleset.with_service(service)
            return self._replace(
                current,
                ruleset.with_rules(added),
                made_local=added if anyip else (),
                missing_interfaces=missing_interfaces,
                progress=progress,
            )

    def unbind(self, rules: Iterable[Rule], *, progress: Progress | None = None) -> Change:
        """Remove rules from those in force. Their services and these' sockets stay.

        :raises RulesError: a rule is not in force; all that are not are named, and none is removed.
        :raises DispatcherMissingError: no dispatcher is loaded.
        :raises PrivilegeError: ``CAP_BPF`` or ``CAP_NET_ADMIN`` is missing.
        """
        removed = tuple(rules)
        with self._changing("unbind rules") as current:
            if current is None:
                raise self._missing()
            ruleset = _ruleset_of(current)
            _require_rules(removed, ruleset)
            return self._replace(current, ruleset.without_rules(removed), progress=progress)

    def apply(
        self,
        new: Ruleset,
        *,
        expected: Ruleset | None = None,
        anyip: bool = False,
        missing_interfaces: bool = False,
        progress: Progress | None = None,
    ) -> Change:
        """Replace the ruleset in force by another one, in one step.

        Sockets stay with their services. Services that the new ruleset does not have get no packets
        any more, but keep their sockets until these close: a ruleset that names them again finds
        them.

        :param expected: the ruleset that is to be replaced, as :attr:`ruleset` was when a plan was
            made; None for whatever is in force.
        :param anyip: as for :meth:`bind`; likewise the other parameters and errors.
        :raises InetLookupError: another ruleset than the expected one is in force.
        """
        with self._changing("apply a ruleset") as current:
            if expected is not None and _ruleset_of(current) != expected:
                raise InetLookupError(
                    f"the ruleset of {self._namespace.label} was changed by others meanwhile",
                    hint="nothing was done: look at the plan anew",
                )
            return self._replace(
                current,
                new,
                made_local=new.rules if anyip else (),
                missing_interfaces=missing_interfaces,
                progress=progress,
            )

    def register(self, service: str, sockets: Sequence[HasFileno | int]) -> Registration:
        """Give a service its sockets, in place of those that it has of the same kinds, in one step.

        A kind is a protocol and a family. Of each a service has one socket or one reuseport group,
        among which the kernel balances. An IPv6 socket that is not V6ONLY also takes IPv4 packets,
        where the service has no IPv4 socket. The sockets stay the caller's to close, which is when
        they also leave the service.

        :param sockets: sockets, their descriptors, or sockets taken of processes.
        :raises SocketError: one is closed, does not listen, is connected, is in another namespace;
            or two of a kind are no group.
        :raises InetLookupError: the ruleset has no such service.
        :raises DispatcherMissingError: no dispatcher is loaded.
        :raises PrivilegeError: ``CAP_BPF`` or ``CAP_NET_ADMIN`` is missing.
        """
        from .registration import Registration, held, sort_sockets

        with self._changing(f"register sockets of {service!r}") as current:
            if current is None:
                raise self._missing()
            number = _number_of(service, current, among=_names(current.state.ruleset))
            sorted_ = sort_sockets(service, sockets, self._namespace)
            _sockets_of(current).put(
                number, {kind: held(members) for kind, members in sorted_.items()}
            )
        taken = [each for members in sorted_.values() for each in held(members)]
        everything = [each for members in sorted_.values() for each in members]
        return Registration(
            service,
            tuple(each.info for each in taken),
            tuple(each.info for each in everything if each not in taken),
        )

    def unregister(
        self, service: str, protocol: Protocol | None = None, family: Family | None = None
    ) -> int:
        """Take sockets away from a service, in one step.

        :param protocol: only those of this protocol.
        :param family: only those of this family.
        :return: how many it had.
        :raises InetLookupError: there is no such service.
        :raises DispatcherMissingError: no dispatcher is loaded.
        :raises PrivilegeError: ``CAP_BPF`` or ``CAP_NET_ADMIN`` is missing.
        """
        from ..rules import Family, Protocol

        kinds = [
            kind
            for kind in KINDS
            if protocol in (None, Protocol.UDP if kind.udp else Protocol.TCP)
            and family in (None, Family.IPV6 if kind.ipv6 else Family.IPV4)
        ]
        with self._changing(f"unregister sockets of {service!r}") as current:
            if current is None:
                raise self._missing()
            number = _number_of(service, current, among=list(current.state.numbers))
            sockets = _sockets_of(current)
            had = sum(len(sockets.cookies(number, kind)) for kind in kinds)
            sockets.put(number, dict.fromkeys(kinds, ()))
        return had

    def upgrade(self) -> Upgrade:
        """Put this version's program in place of another one's; rules, sockets and counters stay.

        :raises NewerLayoutError: a newer version of the package, with another layout, made it.
        :raises DispatcherMissingError: no dispatcher is loaded.
        :raises PrivilegeError: ``CAP_BPF`` or ``CAP_NET_ADMIN`` is missing.
        """
        with self._changing("upgrade the dispatcher") as current:
            if current is None:
                raise self._missing()
            before = current.state.version
            tag = current.program.info().tag
            state = current.state
            new = self._change(current, state.ruleset, routes=state.routes)
            return Upgrade(before, new.state.version, new.program.info().tag != tag)

    def unload(self) -> None:
        """Take the dispatcher out of the namespace, with its rules, pins, routes and counters.

        Sockets stay open with their owners, and connections go on. Where none is loaded, leftovers
        are removed.

        :raises DispatcherMissingError: no dispatcher is loaded.
        :raises PrivilegeError: ``CAP_BPF`` or ``CAP_NET_ADMIN`` is missing.
        """
        from .changing import end

        # What is pinned need not be readable for that.
        with self._writing("unload the dispatcher") as number:
            if number is None:
                raise self._missing()
            self._forget()
            end(self._pins, self._namespace)

    # Below: how.

    def _replace(
        self,
        current: PinnedGeneration | None,
        new: Ruleset,
        *,
        made_local: Iterable[Rule] = (),
        missing_interfaces: bool = False,
        progress: Progress | None = None,
    ) -> Change:
        from .anyip import not_local, still_needed

        before = _ruleset_of(current)
        interfaces = resolve(named_in(new), self._namespace)
        if not missing_interfaces:
            self._require_interfaces(new, before, interfaces)
        had = current.state.routes if current is not None else ()
        kept = still_needed(had, new)
        added = not_local(made_local, self._namespace)
        change = Change(
            before,
            new,
            current.number if current is not None else 0,
            tuple(added),
            tuple(sorted(set(had).difference(kept))),
        )
        if current is not None and not (
            change
            or change.routes_added
            or change.routes_removed
            or interfaces != current.state.interfaces
        ):
            return change
        routes = tuple(sorted({*kept, *added}))
        made = self._change(current, new, interfaces=interfaces, routes=routes, progress=progress)
        return Change(before, new, made.number, change.routes_added, change.routes_removed)

    def _change(
        self,
        current: PinnedGeneration | None,
        ruleset: Ruleset,
        *,
        interfaces: dict[str, int] | None = None,
        routes: tuple[Prefix, ...] = (),
        group: int = -1,
        progress: Progress | None = None,
    ) -> PinnedGeneration:
        from .changing import change

        if interfaces is None:
            interfaces = resolve(named_in(ruleset), self._namespace)
        made = change(
            self._pins,
            self._namespace,
            current,
            ruleset,
            interfaces=interfaces,
            routes=routes,
            group=group,
            progress=progress,
        )
        self._remember(made)
        return made

    @contextlib.contextmanager
    def _changing(
        self, operation: str, *, group: int = -1
    ) -> Generator[PinnedGeneration | None, None, None]:
        """Hold the lock, and give the generation in force as nobody else can change it."""
        with self._writing(operation, group=group) as number:
            if number is None:
                self._forget()
                yield None
                return
            known = self._known
            if known is None or known.number != number or not self._runs(known):
                known = PinnedGeneration.open(self._pins, number)
                self._remember(known)
            yield known

    @contextlib.contextmanager
    def _writing(self, operation: str, *, group: int = -1) -> Generator[int | None, None, None]:
        """Hold the lock, and give the number of the generation in force."""
        from .changing import settle

        require_privileges(f"{operation} in {self._namespace.label}")
        with self._home.writing(patience=PATIENCE_SECONDS, group=group):
            yield settle(self._pins, self._namespace)

    def _runs(self, known: PinnedGeneration) -> bool:
        with self._pins.open_link() as link:
            return link.info().program_id == known.program.id

    def _current(self) -> PinnedGeneration:
        found = self._find()
        if found is None:
            raise self._missing()
        return found

    def _find(self) -> PinnedGeneration | None:
        """The generation in force, without a lock; None where no dispatcher is loaded."""
        for _ in range(_READ_ATTEMPTS):
            try:
                found = self._look()
            except KernelError as error:
                if error.errno not in GONE:
                    raise
            except _ChangedMeanwhileError:
                pass
            else:
                if found is None:
                    self._forget()
                elif found is not self._known:
                    self._remember(found)
                return found
            time.sleep(_READ_INTERVAL_SECONDS)
        raise InetLookupError(
            f"the dispatcher of {self._namespace.label} is being changed all the time, or a change"
            " of it was interrupted",
            hint="try again; what an interrupted change left is removed by the next change",
        )

    def _look(self) -> PinnedGeneration | None:
        self._pins.require_known_layout()
        try:
            link = self._pins.open_link()
        except PrivilegeError:
            return self._look_as_reader()
        except KernelError as error:
            if error.errno in GONE:
                return None
            raise
        with link:
            info = link.info()
            if info.netns_ino != self._home.namespace:
                return None
            if self._known is not None and self._known.program.id == info.program_id:
                return self._known
            number = self._pins.number_of(info.program_id)
            if number is not None:
                return PinnedGeneration.open(self._pins, number)
            if link.info().program_id != info.program_id:
                raise _ChangedMeanwhileError
            return None

    def _look_as_reader(self) -> PinnedGeneration | None:
        """Find the generation in force without the link, which only the owner may open.

        What it does not see is that a writer was killed while it loaded or unloaded the dispatcher,
        which the link alone tells; the next writer removes what is left of it.
        """
        numbers = self._pins.numbers()
        if not numbers:
            return None
        if len(numbers) > 1:  # which of them is in force the link alone tells
            raise _ChangedMeanwhileError
        if self._known is not None and self._known.number == numbers[0]:
            with self._pins.open_program(numbers[0]) as program:
                if program.id == self._known.program.id:
                    return self._known
        found = PinnedGeneration.open(self._pins, numbers[0], read_only=True)
        with contextlib.suppress(NamespaceError):
            if found.state.namespace_cookie not in (None, self._namespace.cookie):
                found.close()
                return None
        return found

    def _remember(self, generation: PinnedGeneration) -> None:
        self._forget()
        self._known = generation

    def _forget(self) -> None:
        if self._known is not None:
            self._known.close()
            self._known = None

    def _release(self) -> None:
        self._forget()
        if self._owned:
            self._namespace.close()

    @contextlib.contextmanager
    def _closed_on_failure(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise

    def _missing(self) -> DispatcherMissingError:
        return DispatcherMissingError(
            f"no dispatcher is loaded in {self._namespace.label}",
            hint="'inet-lookup bind' and 'inet-lookup apply' load one with their rules",
        )

    def _require_interfaces(self, new: Ruleset, before: Ruleset, indexes: dict[str, int]) -> None:
        """Refuse new rules for interfaces that do not exist; an old one may have lost its own."""
        if all(indexes.values()):
            return
        in_force = set(before.rules)
        for rule in new.rules:
            if rule.interface is not None and not indexes[rule.interface] and rule not in in_force:
                raise InetLookupError(
                    f"there is no interface '{rule.interface}' in {self._namespace.label}, which"
                    f' the rule "{rule}" names',
                    hint="make it first, or leave the rule out: it could match nothing",
                )

    def __repr__(self) -> str:
        return f"<Dispatcher of {self._namespace.label}{', closed' if self.closed else ''}>"


class _ChangedMeanwhileError(Exception):
    """What was read does not fit together: a change came in between."""


def _ruleset_of(current: PinnedGeneration | None) -> Ruleset:
    return current.state.ruleset if current is not None else Ruleset()


def _sockets_of(current: PinnedGeneration) -> ServiceSockets:
    return ServiceSockets(current.maps["services"], current.maps["sockets"])


def _names(ruleset: Ruleset) -> list[str]:
    return [service.name for service in ruleset.services]


def _number_of(service: str, current: PinnedGeneration, among: Sequence[str]) -> int:
    if service in among:
        return current.state.numbers[service]
    close = difflib.get_close_matches(service, among, n=1)
    if close:
        hint = f"did you mean '{close[0]}'?"
    elif among:
        hint = f"there are {', '.join(among[:8])}" + (", …" if len(among) > 8 else "")
    else:
        hint = "bind a rule to it first"
    raise InetLookupError(f"there is no service {service!r}", hint=hint)


def _require_rules(rules: Iterable[Rule], ruleset: Ruleset) -> None:
    from ..rules import Problem, RulesError

    known = set(ruleset.rules)
    problems = []
    for rule in rules:
        if rule not in known:
            close = difflib.get_close_matches(str(rule), map(str, ruleset.rules[:10_000]), n=1)
            hint = f'did you mean "{close[0]}"?' if close else "'inet-lookup rules' shows all"
            problems.append(Problem(f'the rule "{rule}" is not in force', hint))
    if problems:
        raise RulesError(problems)
