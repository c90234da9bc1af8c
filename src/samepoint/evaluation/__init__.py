"""Metrics: one file a family, each a pure function beside a small accumulator of counts."""
