"""Tables only: duplicates, near-duplicates, label conflicts. No pixel is read again."""
