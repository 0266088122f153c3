"""The compiler: from a Python function to a BPF object.

``source`` reads the function; ``statements`` and ``expressions`` walk its syntax tree along the
paths of ``flow``, with what ``values`` and ``arithmetic`` know of each number, and ``constants`` of
what is known before the program runs; ``membership``, ``context_access`` and ``map_access`` compile
the operations that mean something to the kernel; ``interface`` says what the program is written
against; ``ir`` and ``debug_info`` write LLVM IR, which ``llvm`` assembles and ``stack`` measures.
"""
