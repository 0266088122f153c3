"""Rules, services and rulesets as values: what belongs to whom, without a kernel."""

from inet_lookup.rules.diff import Diff, Move, diff
from inet_lookup.rules.lint import CoveredRule, Finding, NotLocal, UnusedService, lint
from inet_lookup.rules.lookup import Candidate, Decision, lookup, matches
from inet_lookup.rules.packet import Packet, format_endpoint, parse_endpoint
from inet_lookup.rules.ports import ANY_PORT, MAX_PORT, Ports, parse_ports
from inet_lookup.rules.precedence import (
    Ambiguity,
    precedence_key,
    specificity,
    why_it_loses,
)
from inet_lookup.rules.prefix import Family, Prefix
from inet_lookup.rules.problems import Problem, RulesError
from inet_lookup.rules.reading import FORMATS, parse, parse_rule, parse_rule_text, read
from inet_lookup.rules.regions import Block, Interfaces, Region
from inet_lookup.rules.rule import DROP, PASS, Protocol, Rule, Service, parse_protocol
from inet_lookup.rules.ruleset import AmbiguousRulesError, Ruleset
from inet_lookup.rules.writing import (
    rule_entries,
    rule_entry,
    service_entry,
    to_csv,
    to_json_lines,
    to_toml,
)

__all__ = [
    "ANY_PORT",
    "DROP",
    "FORMATS",
    "MAX_PORT",
    "PASS",
    "Ambiguity",
    "AmbiguousRulesError",
    "Block",
    "Candidate",
    "CoveredRule",
    "Decision",
    "Diff",
    "Family",
    "Finding",
    "Interfaces",
    "Move",
    "NotLocal",
    "Packet",
    "Ports",
    "Prefix",
    "Problem",
    "Protocol",
    "Region",
    "Rule",
    "RulesError",
    "Ruleset",
    "Service",
    "UnusedService",
    "diff",
    "format_endpoint",
    "lint",
    "lookup",
    "matches",
    "parse",
    "parse_endpoint",
    "parse_ports",
    "parse_protocol",
    "parse_rule",
    "parse_rule_text",
    "precedence_key",
    "read",
    "rule_entries",
    "rule_entry",
    "service_entry",
    "specificity",
    "to_csv",
    "to_json_lines",
    "to_toml",
    "why_it_loses",
]
