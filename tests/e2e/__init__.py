"""End-to-end tests: the command line and the simulator, each in its own process."""
