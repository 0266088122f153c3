"""The two web servers of the demo: how each is configured and started, in files of its own."""

from __future__ import annotations

import grp
import pwd
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from inet_lookup.errors import InetLookupError

PORTS: Final = (8080, 8081)
"""What NGINX and Apache are bound to, on every address of both families."""

# The users that distributions make for web servers, then those that every system has.
_USERS: Final = ("www-data", "nginx", "http", "apache", "wwwrun", "daemon", "nobody", "bin")

# A command with the directory of its modules: Debian and Ubuntu, Fedora, Alpine, Arch.
_APACHES: Final = (
    ("apache2", "/usr/lib/apache2/modules"),
    ("httpd", "/usr/lib64/httpd/modules"),
    ("httpd", "/usr/lib/apache2"),
    ("httpd", "/usr/lib/httpd/modules"),
)


class User(NamedTuple):
    """The user that a server's workers run as, with its group."""

    name: str
    uid: int
    gid: int
    group: str


class WebServer(NamedTuple):
    """A server that is to be started.

    :ivar name: what people call it.
    :ivar software: how its ``Server`` header begins.
    :ivar user: the user that its workers run as.
    :ivar port: the port that it is bound to.
    :ivar directory: its own directory, to be made.
    :ivar files: texts by path below its directory.
    :ivar command: what starts it in the foreground.
    :ivar missing: the command that was not found, where a small server of Python stands in.
    """

    name: str
    software: str
    user: User
    port: int
    directory: str
    files: dict[str, str]
    command: Sequence[str]
    missing: str | None = None


def web_servers(directory: str) -> list[WebServer]:
    """NGINX and Apache as the demo runs them, with a stand-in for one that is not in ``PATH``.

    :param directory: where each gets a directory of its own.
    :raises InetLookupError: there are no two system users to run them as.
    """
    nginx_user, apache_user = _two_users()
    return [_nginx(nginx_user, f"{directory}/nginx"), _apache(apache_user, f"{directory}/apache")]


def _two_users() -> tuple[User, User]:
    found: list[User] = []
    for name in _USERS:
        try:
            entry = pwd.getpwnam(name)
            group = grp.getgrgid(entry.pw_gid).gr_name
        except KeyError:
            continue
        if entry.pw_uid not in [0, *(each.uid for each in found)]:
            found.append(User(name, entry.pw_uid, entry.pw_gid, group))
        if len(found) == 2:
            return found[0], found[1]
    raise InetLookupError(
        "the servers are to run as two different users, and this machine has no two of "
        + ", ".join(_USERS),
        hint="useradd --system www-data",
    )


def _nginx(user: User, directory: str) -> WebServer:
    port = PORTS[0]
    command = shutil.which("nginx")
    if command is None:
        return _stand_in("NGINX", "nginx", user, port, directory)
    configuration = f"""\
daemon off;
user {user.name} {user.group};
worker_processes 1;
pid {directory}/nginx.pid;
error_log stderr;
events {{ worker_connections 256; }}
http {{
    access_log off;
    keepalive_timeout 0;
    client_body_temp_path {directory}/client_body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen [::]:{port} ipv6only=off;
        root {directory}/pages;
    }}
}}
"""
    return WebServer(
        name="NGINX",
        software="nginx",
        user=user,
        port=port,
        directory=directory,
        files={"nginx.conf": configuration, "pages/index.html": "NGINX\n"},
        # -e: before it has read the configuration it would open the log that it was built with.
        command=[command, "-e", "stderr", "-p", directory, "-c", f"{directory}/nginx.conf"],
    )


def _apache(user: User, directory: str) -> WebServer:
    port = PORTS[1]
    found = [
        (command, Path(modules))
        for name, modules in _APACHES
        if (command := shutil.which(name)) and Path(modules).is_dir()
    ]
    if not found:
        return _stand_in("Apache", "apache2", user, port, directory)
    command, modules = found[0]
    configuration = f"""\
ServerRoot {directory}
ServerName demo
ServerTokens Min
DefaultRuntimeDir {directory}
PidFile {directory}/apache.pid
ErrorLog /dev/stderr
{_load_modules(modules)}
User #{user.uid}
Group #{user.gid}
Listen [::]:{port}
StartServers 1
KeepAlive Off
DocumentRoot {directory}/pages
<Directory {directory}/pages>
    Require all granted
</Directory>
"""
    return WebServer(
        name="Apache",
        software="Apache",
        user=user,
        port=port,
        directory=directory,
        files={"apache.conf": configuration, "pages/index.html": "Apache\n"},
        command=[command, "-DFOREGROUND", "-d", directory, "-f", f"{directory}/apache.conf"],
    )


def _load_modules(directory: Path) -> str:
    """Lines that load what the configuration needs; what is no file is built in."""
    processing = ["mpm_event", "mpm_worker", "mpm_prefork"]
    present = [name for name in processing if (directory / f"mod_{name}.so").exists()][:1]
    present += [
        name for name in ("authz_core", "unixd", "dir") if (directory / f"mod_{name}.so").exists()
    ]
    return "\n".join(f"LoadModule {name}_module {directory}/mod_{name}.so" for name in present)


def _stand_in(name: str, command: str, user: User, port: int, directory: str) -> WebServer:
    script = Path(__file__).with_name("stand_in_server.py")
    software = f"{command}-stand-in"
    return WebServer(
        name=f"{name} (stand-in)",
        software=software,
        user=user,
        port=port,
        directory=directory,
        files={},
        command=[
            *(sys.executable, "-I", "-S", "-B", str(script)),
            *(software, str(port), str(user.uid), str(user.gid)),
        ],
        missing=command,
    )
