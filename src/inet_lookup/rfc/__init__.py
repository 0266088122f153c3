"""The API of the RFC "Programming socket lookup with BPF" (RFCv2, August 2019), on today's kernels.

The RFC's idea went into Linux 5.9 as ``sk_lookup``, with other names and in part other rules. Here
are the RFC's own: a header for programs in C (``include/``, found with ``inet-lookup
include-dir``), what loads them so that they behave as the RFC says, the same in Python, and
attaching, detaching and querying its way. ``docs/rfc.md`` compares them point by point.
"""
