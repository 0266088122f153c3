"""The compiler: from a Python function to a BPF object.

``source`` reads the function; ``statements`` and ``expressions`` walk its syntax tree along the
paths of ``flow``, with what ``values`` and ``arithmetic`` know of each number; ``membership``,
``context_access`` and ``map_access`` compile the operations that mean something to the kernel;
``ir`` and ``debug_info`` write LLVM IR, which ``llvm`` assembles.
"""
