"""``union bpf_attr`` of ``bpf(2)``, a structure a command, and the structures of object info.

Field names and order are those of ``include/uapi/linux/bpf.h``. A structure here may be longer than
the running kernel knows: the kernel takes it as long as what it does not know is zero, and it
fills an info structure only as far as both sides know it.
"""

from __future__ import annotations

from ctypes import Structure, c_char, c_char_p, c_size_t, c_uint8, c_uint32, c_uint64
from typing import Any

from .uapi import OBJ_NAME_LEN


class MapCreate(Structure):
    """``BPF_MAP_CREATE``."""

    _fields_ = (
        ("map_type", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("inner_map_fd", c_uint32),
        ("numa_node", c_uint32),
        ("map_name", c_char * OBJ_NAME_LEN),
        ("map_ifindex", c_uint32),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("map_extra", c_uint64),
    )


class MapElement(Structure):
    """``BPF_MAP_*_ELEM``, ``BPF_MAP_FREEZE``, ``BPF_MAP_GET_NEXT_KEY`` (into ``value``)."""

    _fields_ = (
        ("map_fd", c_uint32),
        ("key", c_uint64),
        ("value", c_uint64),
        ("flags", c_uint64),
    )


class MapBatch(Structure):
    """``BPF_MAP_*_BATCH``; ``count`` goes both ways."""

    _fields_ = (
        ("in_batch", c_uint64),
        ("out_batch", c_uint64),
        ("keys", c_uint64),
        ("values", c_uint64),
        ("count", c_uint32),
        ("map_fd", c_uint32),
        ("elem_flags", c_uint64),
        ("flags", c_uint64),
    )


class ProgLoad(Structure):
    """``BPF_PROG_LOAD``; ``log_true_size`` is written by Linux 6.4 and newer."""

    _fields_ = (
        ("prog_type", c_uint32),
        ("insn_cnt", c_uint32),
        ("insns", c_uint64),
        ("license", c_uint64),
        ("log_level", c_uint32),
        ("log_size", c_uint32),
        ("log_buf", c_uint64),
        ("kern_version", c_uint32),
        ("prog_flags", c_uint32),
        ("prog_name", c_char * OBJ_NAME_LEN),
        ("prog_ifindex", c_uint32),
        ("expected_attach_type", c_uint32),
        ("prog_btf_fd", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_uint64),
        ("func_info_cnt", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("line_info", c_uint64),
        ("line_info_cnt", c_uint32),
        ("attach_btf_id", c_uint32),
        ("attach_prog_fd", c_uint32),
        ("core_relo_cnt", c_uint32),
        ("fd_array", c_uint64),
        ("core_relos", c_uint64),
        ("core_relo_rec_size", c_uint32),
        ("log_true_size", c_uint32),
    )


class Obj(Structure):
    """``BPF_OBJ_PIN`` and ``BPF_OBJ_GET``."""

    _fields_ = (
        ("pathname", c_uint64),
        ("bpf_fd", c_uint32),
        ("file_flags", c_uint32),
    )


class ProgTestRun(Structure):
    """``BPF_PROG_TEST_RUN``."""

    _fields_ = (
        ("prog_fd", c_uint32),
        ("retval", c_uint32),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("data_in", c_uint64),
        ("data_out", c_uint64),
        ("repeat", c_uint32),
        ("duration", c_uint32),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("ctx_in", c_uint64),
        ("ctx_out", c_uint64),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


class GetId(Structure):
    """``BPF_*_GET_NEXT_ID`` (``id`` is where to start) and ``BPF_*_GET_FD_BY_ID``."""

    _fields_ = (
        ("id", c_uint32),
        ("next_id", c_uint32),
        ("open_flags", c_uint32),
    )


class GetInfo(Structure):
    """``BPF_OBJ_GET_INFO_BY_FD``; ``info_len`` goes both ways."""

    _fields_ = (
        ("bpf_fd", c_uint32),
        ("info_len", c_uint32),
        ("info", c_uint64),
    )


class ProgQuery(Structure):
    """``BPF_PROG_QUERY``; ``prog_cnt`` goes both ways."""

    _fields_ = (
        ("target_fd", c_uint32),
        ("attach_type", c_uint32),
        ("query_flags", c_uint32),
        ("attach_flags", c_uint32),
        ("prog_ids", c_uint64),
        ("prog_cnt", c_uint32),
    )


class BtfLoad(Structure):
    """``BPF_BTF_LOAD``; ``btf_log_true_size`` is written by Linux 6.4 and newer."""

    _fields_ = (
        ("btf", c_uint64),
        ("btf_log_buf", c_uint64),
        ("btf_size", c_uint32),
        ("btf_log_size", c_uint32),
        ("btf_log_level", c_uint32),
        ("btf_log_true_size", c_uint32),
    )


class LinkCreate(Structure):
    """``BPF_LINK_CREATE``, as far as a network namespace needs it."""

    _fields_ = (
        ("prog_fd", c_uint32),
        ("target_fd", c_uint32),
        ("attach_type", c_uint32),
        ("flags", c_uint32),
    )


class LinkCreateOnInterface(Structure):
    """``BPF_LINK_CREATE``, as XDP needs it."""

    _fields_ = (
        ("prog_fd", c_uint32),
        ("target_ifindex", c_uint32),  # in a union with target_fd
        ("attach_type", c_uint32),
        ("flags", c_uint32),
    )


class LinkUpdate(Structure):
    """``BPF_LINK_UPDATE``."""

    _fields_ = (
        ("link_fd", c_uint32),
        ("new_prog_fd", c_uint32),
        ("flags", c_uint32),
        ("old_prog_fd", c_uint32),
    )


class LinkDetach(Structure):
    """``BPF_LINK_DETACH``."""

    _fields_ = (("link_fd", c_uint32),)


class EnableStats(Structure):
    """``BPF_ENABLE_STATS``."""

    _fields_ = (("type", c_uint32),)


class MapInfoStruct(Structure):
    """``struct bpf_map_info``."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", c_char * OBJ_NAME_LEN),
        ("ifindex", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("btf_id", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_id", c_uint32),
        ("map_extra", c_uint64),
    )


class ProgInfoStruct(Structure):
    """``struct bpf_prog_info``."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", c_uint8 * 8),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64),
        ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", c_char * OBJ_NAME_LEN),
        ("ifindex", c_uint32),
        ("gpl_compatible", c_uint32, 1),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("nr_jited_ksyms", c_uint32),
        ("nr_jited_func_lens", c_uint32),
        ("jited_ksyms", c_uint64),
        ("jited_func_lens", c_uint64),
        ("btf_id", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_uint64),
        ("nr_func_info", c_uint32),
        ("nr_line_info", c_uint32),
        ("line_info", c_uint64),
        ("jited_line_info", c_uint64),
        ("nr_jited_line_info", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("jited_line_info_rec_size", c_uint32),
        ("nr_prog_tags", c_uint32),
        ("prog_tags", c_uint64),
        ("run_time_ns", c_uint64),
        ("run_cnt", c_uint64),
        ("recursion_misses", c_uint64),
        ("verified_insns", c_uint32),
        ("attach_btf_obj_id", c_uint32),
        ("attach_btf_id", c_uint32),
    )


class LinkInfoStruct(Structure):
    """``struct bpf_link_info``, its union read as that of a link to a network namespace.

    ``rest`` keeps room for the union's other members, so that a link of another type can be told
    apart and skipped.
    """

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("padding", c_uint32),  # the union begins at a multiple of 8
        ("netns_ino", c_uint32),
        ("attach_type", c_uint32),
        ("rest", c_uint8 * 40),
    )


class XdpLinkInfoStruct(Structure):
    """``struct bpf_link_info``, its union read as that of a link to an interface."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("padding", c_uint32),  # the union begins at a multiple of 8
        ("ifindex", c_uint32),
        ("rest", c_uint8 * 44),
    )


class BtfInfoStruct(Structure):
    """``struct bpf_btf_info``."""

    _fields_ = (
        ("btf", c_uint64),
        ("btf_size", c_uint32),
        ("id", c_uint32),
        ("name", c_uint64),
        ("name_len", c_uint32),
        ("kernel_btf", c_uint32),
    )


def address(data: bytes) -> int:
    """Where the content of ``data`` lies in memory, without copying it.

    The kernel may only read there, and the caller keeps ``data`` alive through the call.
    """
    return c_size_t.from_buffer(c_char_p(data)).value


def buffer(size: int) -> Any:
    """Zeroed memory for the kernel to write to: ``addressof()`` it, then ``bytes()`` it."""
    return (c_char * size)()


def object_name(name: str) -> bytes:
    """``name`` as the kernel takes it: at most 15 of the characters A-Z, a-z, 0-9, ``_`` and ``.``.

    Other characters become ``_``, what is longer is cut. A name serves people only: nothing is
    found by it.
    """
    ascii_name = "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in name)
    return ascii_name.encode()[: OBJ_NAME_LEN - 1]
