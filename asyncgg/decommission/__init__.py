"""Decommissions devices: certificates are deactivated and things disassociated first, deleted later."""
