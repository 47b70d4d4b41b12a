//! Where frames come from: live interfaces (the kernel programs) and capture files.
pub mod capture;
