//! Tests on crafted files, on broken ones, and on the shared captures where they are.
#![allow(clippy::unwrap_used, clippy::expect_used)] // A test's way to fail.

mod broken;
mod corpus;
mod craft;
mod links;
mod pcap;
mod pcapng;
mod storage;
