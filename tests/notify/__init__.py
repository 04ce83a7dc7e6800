"""Rule: tests of notifications."""
