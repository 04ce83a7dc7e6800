"""Find the rate, burst and concurrency that suit a quota."""
