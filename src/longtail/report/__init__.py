"""Tables, plots and pages: they read run folders and know nothing of training."""
