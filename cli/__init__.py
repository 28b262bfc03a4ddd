"""Settings to Click options, and how errors are shown."""
