"""Clean-up policies: the data model, the TOML loader and its diagnostics."""
