"""Protocols, baselines, metrics, intervals, tables, report and figures."""
