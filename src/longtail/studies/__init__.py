"""Many runs: comparisons on one split."""
