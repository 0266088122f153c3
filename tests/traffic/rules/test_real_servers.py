"""Servers as distributions ship them, which know nothing of this, registered by their pids."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

import pytest

from inet_lookup.net.namespaces import Namespace
from support.edge import Edge
from support.networks import TwoHosts
from support.real_servers import fetch, listens, nginx, running
from support.servers import Start, who_answers

pytestmark = pytest.mark.kernel


@pytest.mark.requires_command("nginx")
@pytest.mark.parametrize("listen", ["", "reuseport"])
def test_two_nginx_share_port_80_by_prefix(
    edge: Edge, two_hosts: TwoHosts, tmp_path: Path, listen: str
) -> None:
    tmp_path.chmod(0o755)
    with (
        running(
            two_hosts.server, nginx(tmp_path, 8080, "one", listen), listens("127.0.0.1", 8080)
        ) as one,
        running(
            two_hosts.server, nginx(tmp_path, 8081, "two", listen), listens("127.0.0.1", 8081)
        ) as two,
    ):
        for name, server, prefixes in (
            ("one", one, ["192.0.2.0/24", "2001:db8:1::/48"]),
            ("two", two, ["198.51.100.0/24", "2001:db8:2::/48"]),
        ):
            edge.bind(*(f"{name} tcp {prefix} 80" for prefix in prefixes))
            edge("register", name, "--pid", server.pid).done()
        for name, addresses in (
            ("one", ["192.0.2.7", "2001:db8:1::7"]),
            ("two", ["198.51.100.7", "2001:db8:2::7"]),
        ):
            for address in addresses:
                assert fetch(two_hosts.client, address) == f"{name} {address} 80"


@pytest.mark.requires_command("nginx")
def test_one_nginx_is_registered_by_address_and_port(
    edge: Edge, two_hosts: TwoHosts, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    command = nginx(tmp_path, 8080, "web")
    with running(two_hosts.server, command, listens("127.0.0.1", 8080)) as server:
        edge.bind("web tcp 192.0.2.0/24 any")
        edge("register", "web", "--pid", server.pid, "tcp", "0.0.0.0", 8080).done()
        assert fetch(two_hosts.client, "192.0.2.200", 8765) == "web 192.0.2.200 8765"


@pytest.mark.requires_command("haproxy", "nginx")
def test_haproxy_takes_every_port_of_a_prefix_in_front_of_nginx(
    edge: Edge, two_hosts: TwoHosts, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(
        """
        defaults
            mode tcp
            timeout connect 5s
            timeout client 5s
            timeout server 5s
        frontend all
            bind 127.0.0.1:3128
            default_backend web
        backend web
            server web 127.0.0.1:8080
        """.replace("\n        ", "\n")
    )
    with (
        running(two_hosts.server, nginx(tmp_path, 8080, "behind"), listens("127.0.0.1", 8080)),
        running(
            two_hosts.server,
            ["haproxy", "-db", "-f", str(configuration)],
            listens("127.0.0.1", 3128),
        ) as proxy,
    ):
        edge.bind("proxy tcp 198.51.100.0/24 any")
        edge("register", "proxy", "--pid", proxy.pid, "tcp", "127.0.0.1", 3128).done()
        for port in (1, 80, 4711, 65535):
            assert fetch(two_hosts.client, "198.51.100.9", port) == "behind 127.0.0.1 8080"


@pytest.mark.requires_command("unbound")
def test_unbound_serves_a_prefix_that_another_server_is_bound_to(
    edge: Edge, two_hosts: TwoHosts, echo_server: Start, tmp_path: Path
) -> None:
    configuration = tmp_path / "unbound.conf"
    configuration.write_text(
        f"""
        server:
            interface: 0.0.0.0@53
            interface: ::0@53
            interface-automatic: yes
            # Without it the kernel refuses an answer from an IPv6 address that no interface has.
            ip-freebind: yes
            access-control: 0.0.0.0/0 allow
            access-control: ::0/0 allow
            do-daemonize: no
            use-syslog: no
            username: ""
            chroot: ""
            directory: "{tmp_path}"
            pidfile: ""
            num-threads: 1
            module-config: "iterator"
            local-zone: "test." static
            local-data: "name.test. A 192.0.2.53"
        remote-control:
            control-enable: no
        """
    )
    for address in ("192.0.2.1", "2001:db8:1::1"):
        # In the regular lookup a socket that is bound to the address itself comes first.
        echo_server(two_hosts.server, "udp", address, 53, name="exact", freebind=True)
        assert who_answers(two_hosts.client, "udp", address, 53) == "exact"
    with running(
        two_hosts.server, ["unbound", "-d", "-c", str(configuration)], listens("127.0.0.1", 53)
    ) as unbound:
        for prefix in ("192.0.2.0/24", "2001:db8:1::/48"):
            edge.bind(f"dns udp {prefix} 53")
        edge("register", "dns", "--pid", unbound.pid, "udp").done()
        for address in ("192.0.2.1", "2001:db8:1::1"):
            assert resolve(two_hosts.client, address, "name.test") == "192.0.2.53"
        edge("unbind", "dns", "udp", "192.0.2.0/24", 53).done()
        assert who_answers(two_hosts.client, "udp", "192.0.2.1", 53) == "exact"


def resolve(namespace: Namespace, server: str, name: str) -> str:
    """Ask for an A record; see RFC 1035, 4."""
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    query = struct.pack("!6H", 4711, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 1, 1)

    def ask() -> bytes:
        family = socket.AF_INET6 if ":" in server else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.settimeout(5)
            sock.connect((server, 53))
            sock.send(query)
            return sock.recv(512)

    answer = namespace.run(ask)
    assert answer[:2] == query[:2]
    return socket.inet_ntoa(answer[-4:])
