//! Measurements only: see `benches/`, and `results/` for their dated tables.
