"""Random changes of training images, as functions of where they are drawn."""
