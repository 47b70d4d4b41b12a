//! Tables of labelled rows: what models are made from.

pub mod flows;
pub mod labels;
pub mod rows;
pub mod snapshots;
pub mod tables;
mod weights;
