"""Rule: tests of the testing aids."""
