"""Image sources, augmentation and batches that live on the device."""
