"""LLVM IR as text: blocks of instructions, each with the source line that it came from."""

from __future__ import annotations

from dataclasses import dataclass, field

from .debug_info import DebugInfo


@dataclass(eq=False, slots=True)
class Block:
    """A basic block: its label, its instructions, and whether a terminator has ended it."""

    label: str
    lines: list[str] = field(default_factory=list)
    ended: bool = False


class FunctionBuilder:
    """Builds one LLVM function, block by block, in static single assignment form.

    :param name: the function's symbol.
    :param section: the ELF section that it goes to.
    :param debug_info: where the metadata of source locations is kept.
    :ivar size: how much has been compiled so far: instructions, arms of jumps, and statements.
    """

    def __init__(self, name: str, section: str, debug_info: DebugInfo) -> None:
        self.name = name
        self.section = section
        self.debug_info = debug_info
        self.location: int | None = None
        self.size = 0
        self._blocks: list[Block] = []
        self._values = 0
        self._slots: dict[str, int] = {}
        self._declarations: dict[str, str] = {}
        self.entry = self.new_block("entry")

    def new_block(self, hint: str) -> Block:
        """Return a new, empty block whose label starts with ``hint``."""
        block = Block(f"{hint}{len(self._blocks)}")
        self._blocks.append(block)
        return block

    def emit(self, block: Block, instruction: str) -> None:
        """Append an instruction without a result."""
        assert not block.ended, f"block {block.label} has ended"
        suffix = f", !dbg !{self.location}" if self.location is not None else ""
        block.lines.append(f"  {instruction}{suffix}")
        self.size += 1

    def value(self, block: Block, instruction: str) -> str:
        """Append an instruction and return the name of its result."""
        self._values += 1
        name = f"%v{self._values}"
        self.emit(block, f"{name} = {instruction}")
        return name

    def jump(self, block: Block, target: Block) -> None:
        """End a block with a jump."""
        self.emit(block, f"br label %{target.label}")
        block.ended = True

    def branch(self, block: Block, condition: str, if_true: Block, if_false: Block) -> None:
        """End a block with a jump on an ``i1``."""
        self.emit(block, f"br i1 {condition}, label %{if_true.label}, label %{if_false.label}")
        block.ended = True

    def switch(
        self, block: Block, ref: str, cases: list[tuple[int, Block]], default: Block
    ) -> None:
        """End a block with a jump by an ``i64``; LLVM makes bit tests and search trees of it."""
        arms = " ".join(f"i64 {value}, label %{target.label}" for value, target in cases)
        self.emit(block, f"switch i64 {ref}, label %{default.label} [{arms}]")
        self.size += len(cases)
        block.ended = True

    def unreachable(self, block: Block) -> None:
        """End a block that the bounds of its values prove to be never entered."""
        self.emit(block, "unreachable")
        block.ended = True

    def phi(self, block: Block, type_: str, incoming: list[tuple[str, Block]]) -> str:
        """Return the value that depends on which block control came from."""
        arms = ", ".join(f"[ {ref}, %{source.label} ]" for ref, source in incoming)
        self.size += len(incoming)
        return self.value(block, f"phi {type_} {arms}")

    def is_set(self, block: Block, pointer: str) -> str:
        """Return whether a pointer is not null, as an ``i1`` that is kept as a number.

        LLVM takes two tests of pointers for null as one test of their bits together; the verifier
        allows no arithmetic with pointers. An empty piece of assembly hides where the bit is from.
        """
        return self.hidden(block, self.value(block, f"icmp ne ptr {pointer}, null"))

    def hidden(self, block: Block, bit: str) -> str:
        """Return an ``i1`` of which LLVM does not know what it was computed from."""
        wide = self.value(block, f"zext i1 {bit} to i64")
        held = self.value(block, f'call i64 asm "", "=r,0"(i64 {wide})')
        return self.value(block, f"icmp ne i64 {held}, 0")

    def stack_slot(self, name: str, size: int) -> str:
        """Return a pointer to ``size`` bytes of stack, the same for every use of ``name``.

        Slots are shared because the kernel gives a program 512 bytes of stack in all. What one
        holds is good until its name is used again.
        """
        self._slots[name] = max(size, self._slots.get(name, 0))
        return f"%slot.{name}"

    def declare(self, name: str, signature: str) -> None:
        """Declare an LLVM intrinsic; ``signature`` has ``{}`` where the name goes."""
        self._declarations[name] = "declare " + signature.format(f"@{name}")

    def text(self, subprogram: int) -> str:
        """Return the function and the declarations it needs as LLVM IR."""
        lines = list(self._declarations.values())
        lines.append(
            f"define i32 @{self.name}(ptr %ctx) nounwind "
            f'"no-jump-tables"="true" section "{self.section}" !dbg !{subprogram} {{'
        )
        for block in self._blocks:
            lines.append(f"{block.label}:")
            if block is self.entry:
                for name, size in self._slots.items():
                    lines.append(f"  %slot.{name} = alloca [{size} x i8], align 8")
            lines.extend(block.lines)
        lines.append("}")
        return "\n".join(lines) + "\n"
