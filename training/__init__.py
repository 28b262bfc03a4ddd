"""The training step and its loop, optimizers, schedules, hardware, several processes."""
