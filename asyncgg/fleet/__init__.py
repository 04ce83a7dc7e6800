"""Campaigns: one ordinary run for each of many accounts and Regions, side by side."""
