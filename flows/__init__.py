"""Order: what runs after what, with retries, progress and artifacts. The work itself is in `tasks`."""
