"""Rule: end to end: the real command line in processes of its own, against a simulator in one of its own."""
