//! Where frames come from: live interfaces (the kernel programs) and capture files.
pub mod attach;
pub mod capture;
pub mod clock;
pub mod holder;
pub mod interface;
pub mod load;
pub mod mapping;
pub mod object;
pub mod pins;
pub mod tables;
pub mod testrun;
