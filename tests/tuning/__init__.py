"""Rule: tests of tuning; time is virtual, but for the few that hold a real socket."""
