//! Where frames come from: live interfaces (the kernel programs) and capture files.
pub mod attach;
pub mod capture;
pub mod clock;
pub mod follow;
pub mod health;
pub mod holder;
mod hooks;
pub mod interface;
pub mod link;
pub mod load;
pub mod mapping;
pub mod nic;
pub mod object;
pub mod pins;
pub mod preflight;
pub mod replace;
pub mod tables;
pub mod testrun;
