"""The simulator with real clients."""
