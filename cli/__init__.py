"""The commands, the group that imports them when called, and settings as Click options."""
