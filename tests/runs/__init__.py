"""Rule: tests of whole runs besides the plain one: undo, verification."""
