"""Debug metadata of the LLVM IR, from which LLVM's BPF backend makes BTF and line info.

The source text is embedded in the file entries, so that the kernel and ``bpftool`` show the Python
line of an instruction wherever the program was compiled.
"""

from __future__ import annotations

from collections.abc import Sequence


def quoted(text: str) -> str:
    """Return ``text`` as a string literal of LLVM IR."""
    plain = text.encode("utf-8", "replace")
    return (
        '"'
        + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:02X}" for b in plain)
        + '"'
    )


def _column(column: int) -> int:
    # BTF keeps ten bits of it; LLVM would let the others run over into the line.
    return column if column < 1024 else 0


class DebugInfo:
    """Collects metadata nodes; a node is named by its number.

    :param context: the name of the structure that a program's argument points to.
    """

    def __init__(self, context: str) -> None:
        self._nodes: list[str] = []
        self._memo: dict[str, int] = {}
        self._globals: list[int] = []
        self._unit = self._reserve()
        self._unit_file: int | None = None
        self.int32 = self.node('!DIBasicType(name: "int", size: 32, encoding: DW_ATE_signed)')
        structure = self.node(
            f"!DICompositeType(tag: DW_TAG_structure_type, name: {quoted(context)}, "
            "flags: DIFlagFwdDecl)"
        )
        pointer = self._pointer(structure)
        self._signature = self.node(
            f"!DISubroutineType(types: !{self._tuple([self.int32, pointer])})"
        )

    def file(self, filename: str, source: str) -> int:
        """Return the node of a source file with its text embedded."""
        number = self.node(
            f'!DIFile(filename: {quoted(filename)}, directory: "", source: {quoted(source)})'
        )
        if self._unit_file is None:
            self._unit_file = number
        return number

    def subprogram(self, name: str, file: int, line: int) -> int:
        """Return a new node for a function whose definition starts at ``line``."""
        return self._append(
            f"distinct !DISubprogram(name: {quoted(name)}, scope: !{file}, file: !{file}, "
            f"line: {line}, scopeLine: {line}, type: !{self._signature}, unit: !{self._unit}, "
            "spFlags: DISPFlagDefinition | DISPFlagOptimized)"
        )

    def location(self, line: int, column: int, scope: int, inlined_at: int | None) -> int:
        """Return the node of a place in the source, with the call that it was inlined at."""
        text = f"line: {line}, column: {_column(column)}, scope: !{scope}"
        if inlined_at is None:
            return self.node(f"!DILocation({text})")
        return self.node(f"!DILocation({text}, inlinedAt: !{inlined_at})")

    def call_site(self, line: int, column: int, scope: int, inlined_at: int | None) -> int:
        """Return a new node for one inlined call; calls of one place must stay apart."""
        outer = "" if inlined_at is None else f", inlinedAt: !{inlined_at}"
        return self._append(
            f"distinct !DILocation(line: {line}, column: {_column(column)}, scope: !{scope}{outer})"
        )

    def map_definition(self, name: str, line: int, attributes: Sequence[tuple[str, int]]) -> int:
        """Return the node of a map variable as libbpf's ``.maps`` convention describes it.

        Each attribute is a pointer to an array whose length is the attribute's value.
        """
        assert self._unit_file is not None
        members = []
        for position, (attribute, value) in enumerate(attributes):
            subrange = self.node(f"!DISubrange(count: {value})")
            array = self.node(
                f"!DICompositeType(tag: DW_TAG_array_type, baseType: !{self.int32}, "
                f"size: {32 * value}, elements: !{self._tuple([subrange])})"
            )
            members.append(
                self.node(
                    f"!DIDerivedType(tag: DW_TAG_member, name: {quoted(attribute)}, "
                    f"baseType: !{self._pointer(array)}, size: 64, offset: {64 * position})"
                )
            )
        struct = self._append(
            f"distinct !DICompositeType(tag: DW_TAG_structure_type, file: !{self._unit_file}, "
            f"line: {line}, size: {64 * len(members)}, elements: !{self._tuple(members)})"
        )
        variable = self._append(
            f"distinct !DIGlobalVariable(name: {quoted(name)}, scope: !{self._unit}, "
            f"file: !{self._unit_file}, line: {line}, type: !{struct}, "
            "isLocal: false, isDefinition: true)"
        )
        expression = self._append(
            f"!DIGlobalVariableExpression(var: !{variable}, expr: !DIExpression())"
        )
        self._globals.append(expression)
        return expression

    def text(self, producer: str) -> str:
        """Return all metadata as LLVM IR."""
        # Fetched first: it may append nodes of its own.
        global_list = self._tuple(self._globals)
        version = self.node('!{i32 2, !"Debug Info Version", i32 3}')
        dwarf = self.node('!{i32 7, !"Dwarf Version", i32 5}')
        self._nodes[self._unit] = (
            f"distinct !DICompileUnit(language: DW_LANG_C11, file: !{self._unit_file}, "
            f"producer: {quoted(producer)}, isOptimized: true, runtimeVersion: 0, "
            f"emissionKind: FullDebug, globals: !{global_list})"
        )
        lines = [f"!{number} = {node}" for number, node in enumerate(self._nodes)]
        lines.append(f"!llvm.dbg.cu = !{{!{self._unit}}}")
        lines.append(f"!llvm.module.flags = !{{!{version}, !{dwarf}}}")
        return "\n".join(lines) + "\n"

    def node(self, text: str) -> int:
        """Return the number of the node with this text, made on first use."""
        if text not in self._memo:
            self._memo[text] = self._append(text)
        return self._memo[text]

    def _append(self, text: str) -> int:
        self._nodes.append(text)
        return len(self._nodes) - 1

    def _reserve(self) -> int:
        return self._append("")

    def _tuple(self, numbers: Sequence[int]) -> int:
        return self.node("!{" + ", ".join(f"!{number}" for number in numbers) + "}")

    def _pointer(self, base: int) -> int:
        return self.node(f"!DIDerivedType(tag: DW_TAG_pointer_type, baseType: !{base}, size: 64)")
