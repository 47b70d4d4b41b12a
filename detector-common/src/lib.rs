//! What the kernel programs and the agent share: one parser, one flow record and
//! its update, one set of verdict rules, one memory layout.
//!
//! Everything here is safe, allocates nothing, reads no clock (time is an
//! argument) and does no I/O, so that the BPF programs, the replay of captures and
//! the tests run the very same code.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]

pub mod abi;
pub mod addresses;
pub mod burst;
pub mod bytes;
pub mod config;
pub mod counters;
pub mod doorkeeper;
pub mod engine;
pub mod ensemble;
pub mod event;
pub mod frame;
pub mod key;
pub mod maps;
pub mod packet;
pub mod periods;
pub mod pod;
pub mod rate;
pub mod record;
pub mod returning;
pub mod service;
pub mod set;
pub mod signature;
pub mod transport;
pub mod verdict;
pub mod verdicts;
