"""Lock files on a real disk."""
