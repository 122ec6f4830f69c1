"""From images to batches: workers, memory, and what is kept on disk."""
