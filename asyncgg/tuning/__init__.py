"""Which settings suit a quota: tried out on the virtual clock, measured on the service itself, or read off a journal.

Rule: decisions here are pure functions of values; what is tried out is the real engine, never a model of it.
"""
