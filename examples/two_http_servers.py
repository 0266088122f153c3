"""Two HTTP servers share port 80: each has its own prefixes, whatever it is bound to."""

from ipaddress import ip_network

from inet_lookup import IPPROTO_TCP, PASS, Context, SockArray, Verdict, program

servers = SockArray(max_entries=2)


@program
def two_http_servers(ctx: Context) -> Verdict:
    """192.0.2.0/24 tcp/80 belongs to server 0, 198.51.100.0/24 tcp/80 to server 1."""
    ip = ctx.local_ip
    if ctx.protocol != IPPROTO_TCP or ctx.local_port != 80:
        return PASS
    if ip in ip_network("192.0.2.0/24") or ip in ip_network("2001:db8:1::/48"):
        return servers.redirect(ctx, 0)
    if ip in ip_network("198.51.100.0/24") or ip in ip_network("2001:db8:2::/48"):
        return servers.redirect(ctx, 1)
    return PASS
