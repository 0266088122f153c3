"""Rules, services and rulesets as values: what belongs to whom, without a kernel.

A ruleset is read from a file (:func:`read`) or made of rules (:class:`Ruleset`), asked about a
packet (:func:`lookup`), compared with another (:func:`diff`), checked for what is of no use
(:func:`lint`) and written (:func:`to_toml`). Nothing here knows the kernel.

Names are imported from their modules when they are first used, so that a command pays only for
what it needs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._lazy import exports

if TYPE_CHECKING:
    from .difference import Diff as Diff
    from .difference import Move as Move
    from .difference import diff as diff
    from .entries import RULE_KEYS as RULE_KEYS
    from .entries import SERVICE_KEYS as SERVICE_KEYS
    from .linting import CoveredRule as CoveredRule
    from .linting import Finding as Finding
    from .linting import NotLocal as NotLocal
    from .linting import UnusedService as UnusedService
    from .linting import lint as lint
    from .packet import Packet as Packet
    from .packet import format_endpoint as format_endpoint
    from .packet import parse_endpoint as parse_endpoint
    from .ports import ANY_PORT as ANY_PORT
    from .ports import MAX_PORT as MAX_PORT
    from .ports import Ports as Ports
    from .ports import parse_ports as parse_ports
    from .precedence import Ambiguity as Ambiguity
    from .precedence import precedence_key as precedence_key
    from .precedence import specificity as specificity
    from .precedence import why_it_loses as why_it_loses
    from .prefix import Family as Family
    from .prefix import Prefix as Prefix
    from .prefix import format_address as format_address
    from .prefix import parse_address as parse_address
    from .problems import Problem as Problem
    from .problems import RulesError as RulesError
    from .reading import FORMATS as FORMATS
    from .reading import parse as parse
    from .reading import parse_rule as parse_rule
    from .reading import parse_rule_text as parse_rule_text
    from .reading import read as read
    from .reference import Candidate as Candidate
    from .reference import Decision as Decision
    from .reference import lookup as lookup
    from .reference import matches as matches
    from .regions import Block as Block
    from .regions import Interfaces as Interfaces
    from .regions import Region as Region
    from .rule import DROP as DROP
    from .rule import MAX_INTERFACE_NAME as MAX_INTERFACE_NAME
    from .rule import MAX_SERVICE_NAME as MAX_SERVICE_NAME
    from .rule import PASS as PASS
    from .rule import Protocol as Protocol
    from .rule import Rule as Rule
    from .rule import Service as Service
    from .rule import checked_interface_name as checked_interface_name
    from .rule import checked_service_name as checked_service_name
    from .rule import parse_protocol as parse_protocol
    from .ruleset import AmbiguousRulesError as AmbiguousRulesError
    from .ruleset import Ruleset as Ruleset
    from .writing import rule_entries as rule_entries
    from .writing import rule_entry as rule_entry
    from .writing import service_entry as service_entry
    from .writing import to_csv as to_csv
    from .writing import to_json_lines as to_json_lines
    from .writing import to_toml as to_toml

# Which module has which of the names above.
_HOMES = {
    "difference": (
        "Diff",
        "Move",
        "diff",
    ),
    "entries": ("RULE_KEYS", "SERVICE_KEYS"),
    "linting": (
        "CoveredRule",
        "Finding",
        "NotLocal",
        "UnusedService",
        "lint",
    ),
    "packet": (
        "Packet",
        "format_endpoint",
        "parse_endpoint",
    ),
    "ports": (
        "ANY_PORT",
        "MAX_PORT",
        "Ports",
        "parse_ports",
    ),
    "precedence": (
        "Ambiguity",
        "precedence_key",
        "specificity",
        "why_it_loses",
    ),
    "prefix": (
        "Family",
        "Prefix",
        "format_address",
        "parse_address",
    ),
    "problems": (
        "Problem",
        "RulesError",
    ),
    "reading": (
        "FORMATS",
        "parse",
        "parse_rule",
        "parse_rule_text",
        "read",
    ),
    "reference": (
        "Candidate",
        "Decision",
        "lookup",
        "matches",
    ),
    "regions": (
        "Block",
        "Interfaces",
        "Region",
    ),
    "rule": (
        "DROP",
        "MAX_INTERFACE_NAME",
        "MAX_SERVICE_NAME",
        "PASS",
        "Protocol",
        "Rule",
        "Service",
        "checked_interface_name",
        "checked_service_name",
        "parse_protocol",
    ),
    "ruleset": (
        "AmbiguousRulesError",
        "Ruleset",
    ),
    "writing": (
        "rule_entries",
        "rule_entry",
        "service_entry",
        "to_csv",
        "to_json_lines",
        "to_toml",
    ),
}

if not TYPE_CHECKING:  # a type checker shall find the names above, and no others
    __getattr__, __dir__ = exports(__name__, _HOMES)
