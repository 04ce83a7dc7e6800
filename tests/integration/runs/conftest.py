"""Rule: the surroundings of a command are those of the command line's own tests."""

from tests.integration.cli.conftest import cli, serve, surroundings

__all__ = ["cli", "serve", "surroundings"]
