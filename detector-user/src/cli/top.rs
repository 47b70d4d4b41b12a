//! `detector top`: what goes on, live, over the agent's Unix socket.

mod look;
mod screen;

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use super::{
    client::{AgentArgs, Client},
    failure::Failure,
    quantity,
    stop::Stop,
};
use look::{Look, View};

/// Rows that are printed where there is no screen.
const ROWS: usize = 15;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    agent: AgentArgs,
    /// Look again every so often (2, 500ms, 1m)
    #[arg(long, value_parser = quantity::interval, default_value = "1", value_name = "SECONDS")]
    interval: Duration,
    /// Look once, and print what is seen
    #[arg(long)]
    once: bool,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let client = args.agent.client()?;
    // Whether there is an agent is told before the screen changes.
    client.get("/api/v1/status")?;
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    if args.once || dumb || !io::stdout().is_terminal() {
        return print(&client, args);
    }
    screen::run(&client, args.interval)
}

/// Prints one look after another, for terminals without a cursor, and pipes.
fn print(client: &Client, args: &Args) -> Result<(), Failure> {
    let stop = Stop::hold();
    let mut rates = Rates::default();
    loop {
        let mut text = String::new();
        for view in [View::Flows, View::Verdicts, View::Alerts] {
            let look = Look::take(client, view, look::SORTS[0])?;
            if view == View::Flows {
                let rates = rates.of(&look);
                look.head(rates)
                    .iter()
                    .for_each(|line| text.push_str(&format!("{line}\n")));
            }
            text.push_str(&format!("\n{}\n", Look::titles(view).join("  ")));
            for (cells, _) in look.rows(view, "").iter().take(ROWS) {
                text.push_str(&format!("{}\n", cells.join("  ")));
            }
        }
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()?;
        drop(out);
        if args.once || stop.within(args.interval) {
            return Ok(());
        }
    }
}

/// Packets a second, from one look to the next.
#[derive(Default)]
struct Rates {
    before: Option<(Instant, (u64, u64))>,
    last: Option<(f64, f64)>,
}

impl Rates {
    /// Seen and dropped a second; nothing at the first look.
    fn of(&mut self, look: &Look) -> Option<(f64, f64)> {
        let (now, packets) = (Instant::now(), look.packets());
        if let Some((at, before)) = self.before {
            let seconds = now.duration_since(at).as_secs_f64();
            // Counters are read once a second at most: a look in between says nothing.
            if packets == before && seconds < 1.0 {
                return self.last;
            }
            let rate = |now: u64, before: u64| now.saturating_sub(before) as f64 / seconds;
            self.last = Some((rate(packets.0, before.0), rate(packets.1, before.1)));
        }
        self.before = Some((now, packets));
        self.last
    }
}
