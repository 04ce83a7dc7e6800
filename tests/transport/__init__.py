"""Rule: tests of the transport live here, each against real sockets of this machine or one mocked exchange."""
