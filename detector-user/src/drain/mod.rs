//! Reading the flow table and the counters that the kernel writes.
pub mod account;
pub mod native;
pub mod reader;
