"""BTF in the kernel: the type information that maps and programs are loaded with."""

from __future__ import annotations

import errno
import os
from ctypes import addressof
from typing import Final, Self

from . import attr
from .failures import Failure, Since, failure
from .kernel_object import KernelObject, read_info
from .privileges import Capability
from .syscall import bpf
from .uapi import Command

_LOG_SIZES: Final = (1 << 16, 1 << 20, (1 << 24) - 1)


class Btf(KernelObject):
    """A BTF object in the kernel (Linux 4.18). Make one with :meth:`load`."""

    kind = "BTF object"
    fd_by_id = Command.BTF_GET_FD_BY_ID
    inode_names = ("btf",)

    id: int

    @classmethod
    def load(cls, raw: bytes) -> Self:
        """Have the kernel check and load type information (``BPF_BTF_LOAD``).

        :param raw: the content of a ``.BTF`` section (``Documentation/bpf/btf.rst``).
        :raises PrivilegeError: without CAP_BPF.
        :raises KernelError: ``EINVAL`` where the kernel finds it malformed, or is older than a kind
            of type in it; the message has the kernel's reason.
        """
        request = attr.BtfLoad(btf=attr.address(raw), btf_size=len(raw))
        try:
            fd = bpf(Command.BTF_LOAD, request)
        except OSError as error:
            reason = _reason(request)
            meanings = {
                errno.E2BIG: Failure("the type information is larger than the kernel takes"),
            }
            if reason:
                meanings[error.errno or errno.EINVAL] = Failure(f"the kernel says: {reason}")
            raise failure(
                error,
                "load BTF",
                meanings=meanings,
                capabilities=(Capability.CAP_BPF,),
                since=Since("BTF", (4, 18)),
                charges_memory=True,
            ) from error
        return cls(fd)

    def _describe(self) -> None:
        self.id = read_info(self.fd, attr.BtfInfoStruct(), "read a BTF object's info").id

    def raw(self) -> bytes:
        """The type information as it was loaded."""
        operation = f"read BTF object {self.id}"
        size = read_info(self.fd, attr.BtfInfoStruct(), operation).btf_size
        room = attr.buffer(size)
        read_info(self.fd, attr.BtfInfoStruct(btf=addressof(room), btf_size=size), operation)
        return bytes(room)


def _reason(request: attr.BtfLoad) -> str:
    """Load once more for the log, and take its last line; empty where there is none."""
    for size in _LOG_SIZES:
        room = attr.buffer(size)
        request.btf_log_level = 1
        request.btf_log_size = size
        request.btf_log_buf = addressof(room)
        try:
            os.close(bpf(Command.BTF_LOAD, request))
        except OSError as error:
            if error.errno == errno.ENOSPC:
                continue
            lines = [line for line in room.value.decode(errors="replace").splitlines() if line]
            return lines[-1].strip() if lines else ""
        break
    return ""
