"""Rule: tests of clean-up policies: the logic of rules, the file, the questions to AWS IoT, the selection."""
