"""Clean-up policies: data model, TOML loader, diagnostics."""
