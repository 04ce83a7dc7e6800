"""Rule: tests of the settings: where a value may come from, and what is said of a wrong one."""
