"""Rule: tests of the journal: what is written is what is read, whatever happens in between."""
