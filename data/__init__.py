"""Image sources, erasing, augmentation and batches that live on the device."""
