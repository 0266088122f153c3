"""How the parts of the compiler say no before it is known where in the source."""

from __future__ import annotations


class Refused(Exception):
    """Something cannot be compiled; the expression being compiled gives it a place.

    :param problem: what is not possible.
    :param hint: what to write instead.
    :param undefined: whether the reason is a name that has no value yet.
    """

    def __init__(self, problem: str, hint: str, *, undefined: bool = False) -> None:
        super().__init__(problem)
        self.undefined = undefined
        self.problem = problem
        self.hint = hint
