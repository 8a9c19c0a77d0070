"""What every stage shares: errors, table schemas, the workspace and its files, fingerprints."""
