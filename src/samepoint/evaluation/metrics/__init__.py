"""Metrics: one file a family, each pure functions beside an accumulator whose state is sums.

Every score is a fraction (MTE is in pixels), NaN where nothing was counted: an empty denominator is never 0 or 1. What
a mean leaves out for that reason, ``left_out`` counts.
"""
