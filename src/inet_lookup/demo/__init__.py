"""``inet-lookup demo``: two web servers share a port, steered by a program written in Python.

All that the demo makes lives in namespaces without names: network namespaces of a server and a
client, and for the servers a process and a mount namespace too. The kernel takes them down with
the processes that use them, so nothing is left behind, however the demo ends.
"""
