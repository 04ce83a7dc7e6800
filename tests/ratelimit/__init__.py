"""Rule: tests of the token bucket and of the rate policy; time is virtual or simulated, never real."""
