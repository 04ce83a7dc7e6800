"""Tuning with the real engine and service clients."""
