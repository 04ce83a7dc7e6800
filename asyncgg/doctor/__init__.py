"""Checks credentials, connection, permissions, quota, state and machine before a run."""

from asyncgg.doctor.checks import run_checks
from asyncgg.doctor.outcomes import CheckOutcome, CheckStatus, exit_code

__all__ = ["CheckOutcome", "CheckStatus", "exit_code", "run_checks"]
