//! Tables of labelled rows: what models are made from.

pub mod labels;
pub mod snapshots;
