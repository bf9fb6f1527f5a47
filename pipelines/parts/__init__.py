"""What pipelines share: presets, batches, publishing, cards and pictures."""
