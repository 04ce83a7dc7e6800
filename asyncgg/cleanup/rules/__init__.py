"""Rules of clean-up policies: pure functions of a candidate, lookup results and a point in time."""
