"""Train, validation and test without leaks, published atomically."""
