//! Project tasks: `cargo xtask TASK`.
mod bpf;
mod captures;
mod deb;
mod default_model;
mod demo;
mod flood;
mod kernels;
mod lab;
mod lint;
mod setup;
mod test;
mod tool;
mod trials;
mod venv;

use clap::{Parser, Subcommand};

/// Project tasks.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Build the checked-in BPF objects from their source, or check that they stem from it
    Bpf(bpf::Args),
    /// Make the model that is built in, from the shared captures
    DefaultModel(default_model::Args),
    /// Tell what is decided about every shared capture
    Captures(captures::Args),
    /// Build the Debian package
    Deb(deb::Args),
    /// Install what the tests and the laboratory need
    Setup,
    /// Show it at work: real attacks in an isolated laboratory, found and dropped, benign traffic served
    Demo(demo::Args),
    /// Try scenarios of attacks in the laboratory, as often as asked for, and measure
    Lab(trials::Args),
    /// Send the laboratory's SYN flood out of this network namespace's `eth0`, until ended
    #[command(hide = true)]
    Flood,
    /// Run every test
    Test(test::Args),
    /// Formatting, clippy, and the references that are generated
    Lint,
    /// Run the kernel tests on Debian's kernels under qemu
    Kernels(kernels::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().task {
        Task::Bpf(args) => bpf::run(&args),
        Task::DefaultModel(args) => default_model::run(&args),
        Task::Captures(args) => captures::run(&args),
        Task::Deb(args) => deb::run(&args),
        Task::Setup => setup::run(),
        Task::Demo(args) => demo::run(&args),
        Task::Lab(args) => trials::run(&args),
        Task::Flood => flood::run(),
        Task::Test(args) => test::run(&args),
        Task::Lint => lint::run(),
        Task::Kernels(args) => kernels::run(args),
    }
}
