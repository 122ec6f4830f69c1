"""Which images are trained on and which measured: long tails made, parts taken out, groups kept together."""
