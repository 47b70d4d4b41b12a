//! The table that a run writes, and prints.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use anyhow::{Context as _, Result};

/// A goal, and what was reached.
pub struct Goal {
    name: String,
    limit: f64,
    at_least: bool,
    reached: Option<f64>,
}

impl Goal {
    pub fn at_most(name: &str, limit: f64, reached: Option<f64>) -> Self {
        Self { name: name.to_owned(), limit, at_least: false, reached }
    }

    pub fn at_least(name: &str, limit: f64, reached: Option<f64>) -> Self {
        Self { name: name.to_owned(), limit, at_least: true, reached }
    }

    fn line(&self) -> String {
        let sign = if self.at_least { '≥' } else { '≤' };
        let Some(reached) = self.reached else {
            return format!("| {} | {sign} {} | – | not measured |", self.name, number(self.limit));
        };
        let met = if self.at_least { reached >= self.limit } else { reached <= self.limit };
        let verdict = if met { "met" } else { "**not met**" };
        format!("| {} | {sign} {} | {} | {verdict} |", self.name, number(self.limit), number(reached))
    }
}

fn number(n: f64) -> String {
    if n >= 1e6 {
        format!("{:.1} M", n / 1e6)
    } else if n >= 100.0 {
        format!("{n:.0}")
    } else {
        format!("{n:.2}")
    }
}

/// The run's report, in Markdown.
pub struct Report {
    body: String,
    goals: Vec<Goal>,
    remarks: Vec<String>,
}

impl Report {
    pub fn new() -> Self {
        Self { body: String::new(), goals: Vec::new(), remarks: Vec::new() }
    }

    pub fn goal(&mut self, goal: Goal) {
        self.goals.push(goal);
    }

    pub fn remark(&mut self, text: &str) {
        if !self.remarks.iter().any(|remark| remark == text) {
            self.remarks.push(text.to_owned());
        }
    }

    fn line(&mut self, text: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.body, "{text}");
    }

    pub fn packets(&mut self, sets: &[&str], rows: &[(&str, Vec<Option<u32>>)]) {
        self.line("\n## A packet, ns (× bare drop behind the same harness)\n");
        self.line(&format!("| program | {} |", sets.join(" | ")));
        self.line(&format!("|---|{}", "---|".repeat(sets.len())));
        let Some((_, bare)) = rows.first() else { return };
        for (name, costs) in rows {
            let cells: Vec<String> = costs
                .iter()
                .zip(bare)
                .map(|(cost, bare)| match (cost, bare) {
                    (Some(cost), Some(bare)) => {
                        format!("{cost} ({:.1})", f64::from(*cost) / f64::from(*bare))
                    }
                    _ => "–".to_owned(),
                })
                .collect();
            self.line(&format!("| {name} | {} |", cells.join(" | ")));
        }
        self.line("\nFrom 1 k flows on a mutator in front gives each packet its source; it is in the bare drop too.");
    }

    pub fn flood(&mut self, rows: &[(&str, f64, f64)]) {
        self.line("\n## Legitimate packet counts kept in a flood\n");
        self.line("50 spoofed packets to one legitimate, 2 M sources, 131,072 slots or entries, 10,000 flows of 20 packets.\n");
        self.line("| flows | detector | LRU_HASH |\n|---|---|---|");
        for (name, detector, lru) in rows {
            self.line(&format!("| {name} | {:.2} % | {:.2} % |", detector * 100.0, lru * 100.0));
        }
    }

    pub fn drain(&mut self, rows: &[(&str, u32, f64, f64)]) {
        self.line("\n## Reading every live flow, ns a flow\n");
        self.line("| flows | live | mapped table | BPF_MAP_LOOKUP_BATCH on LRU_HASH | × |\n|---|---|---|---|---|");
        for (name, live, ns, batch) in rows {
            self.line(&format!("| {name} | {live} | {ns:.1} | {batch:.1} | {:.0} |", batch / ns));
        }
    }

    pub fn replay(&mut self, rows: &[(&str, f64)]) {
        self.line("\n## Native replay from memory, 64-byte frames, one core\n");
        self.line("| flows | packets a second |\n|---|---|");
        for (name, rate) in rows {
            self.line(&format!("| {name} | {} |", number(*rate)));
        }
    }

    /// Prints the report, and writes it beside the others.
    pub fn write(mut self) -> Result<()> {
        let date = output("date", &["--utc", "+%Y-%m-%d"])?;
        let kernel = output("uname", &["-r"])?;
        let cpu = fs::read_to_string("/proc/cpuinfo")?
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| name.trim().to_owned()))
            .unwrap_or_default();

        let load = fs::read_to_string("/proc/loadavg")?;
        let load = load.split_whitespace().next().unwrap_or("?");
        let mut text = format!(
            "# Data plane, {date}\n\nLinux {kernel}, {cpu}, load {load} at the end. One pinned CPU; least of several samples. \
             `cargo bench -p detector-benches`.\n\n## Goals\n\n| what | goal | reached | |\n|---|---|---|---|\n"
        );
    
        for goal in &self.goals {
            let _ = writeln!(text, "{}", goal.line());
        }
        for remark in std::mem::take(&mut self.remarks) {
            self.line(&format!("\n- {remark}"));
        }
        text.push_str(&self.body);
        print!("{text}");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("results/dataplane-{date}.md"));
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        eprintln!("written: {}", path.display());
        Ok(())
    }
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| program.to_owned())?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
