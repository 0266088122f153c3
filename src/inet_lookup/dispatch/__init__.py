"""Rulesets in the kernel: tables, the dispatcher program, generations and counters."""
