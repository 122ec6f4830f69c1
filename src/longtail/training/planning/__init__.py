"""What is chosen before training, from what was asked and what the images are."""
