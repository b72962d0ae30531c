"""Evidence: what every verb returns besides its answer: numbers, intervals, plots, one self-contained HTML report."""
