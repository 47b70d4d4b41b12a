//! The `detector` command.
fn main() {}
