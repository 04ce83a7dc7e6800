"""Rule: tests of the decisions: functions of values, without a loop, a clock or a file."""
