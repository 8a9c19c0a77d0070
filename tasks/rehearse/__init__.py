"""A loopback photo site that speaks the sources' languages and misbehaves like the web."""
