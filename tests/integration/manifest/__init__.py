"""Manifests from services."""
