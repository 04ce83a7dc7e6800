"""Journal files on a real disk."""
