"""Calls of AWS operations outside of a run: each within its own quota, with retries and renewed credentials."""
