"""Settings, the loop, tasks, tracking, checkpoints, hardware."""
