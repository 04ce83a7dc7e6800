"""Logs, metrics and traces of runs and scans."""
