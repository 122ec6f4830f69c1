"""The papers, each a function of a few lines: class counts and hyper-parameters in, a criterion out."""
