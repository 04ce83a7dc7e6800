"""Rule: tests of the manifest: what is read, what is refused and in which words, the protect list, the rejects file."""
