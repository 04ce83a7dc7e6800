"""Rule: tests of asyncgg.inventory."""
