"""The engine, end to end in one process."""
