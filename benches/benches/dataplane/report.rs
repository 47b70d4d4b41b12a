//! The tables that a run prints and writes.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

/// One field of a table.
#[derive(Clone, Debug)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number, with so many decimals.
    Number(f64, usize),
    /// A share of 1, shown in per cent.
    Share(f64),
    /// Nanoseconds, and how many times the bare program of the same column they are.
    Cost(u32, f64),
}

impl Cell {
    fn shown(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Number(n, decimals) => number(*n, *decimals),
            Self::Share(share) => format!("{:.2} %", share * 100.0),
            Self::Cost(ns, ratio) => format!("{ns} ({ratio:.1})"),
        }
    }

    fn value(&self) -> Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Number(n, _) | Self::Share(n) => json!(n),
            Self::Cost(ns, ratio) => json!({ "ns": ns, "ratio": ratio }),
        }
    }
}

fn number(n: f64, decimals: usize) -> String {
    if n >= 1e6 {
        format!("{:.1} M", n / 1e6)
    } else {
        format!("{n:.decimals$}")
    }
}

/// A table, with what is to be known of it.
pub struct Table {
    title: String,
    note: String,
    columns: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    pub fn new(title: &str, columns: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            note: String::new(),
            columns: columns.iter().map(ToString::to_string).collect(),
            rows: Vec::new(),
        }
    }

    pub fn note(mut self, note: &str) -> Self {
        note.clone_into(&mut self.note);
        self
    }

    pub fn row(&mut self, name: &str, cells: impl IntoIterator<Item = Cell>) {
        let mut row = vec![Cell::Text(name.to_owned())];
        row.extend(cells);
        self.rows.push(row);
    }

    fn shown(&self) -> String {
        let mut text = format!("\n## {}\n\n", self.title);
        if !self.note.is_empty() {
            text.push_str(&self.note);
            text.push_str("\n\n");
        }
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        text.push_str(&line(&self.columns));
        let right = "---:|".repeat(self.columns.len().saturating_sub(1));
        text.push_str(&format!("|---|{right}\n"));
        for row in &self.rows {
            text.push_str(&line(&row.iter().map(Cell::shown).collect::<Vec<_>>()));
        }
        text
    }

    fn value(&self) -> Value {
        let rows: Vec<Vec<Value>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(Cell::value).collect())
            .collect();
        json!({ "title": self.title, "note": self.note, "columns": self.columns, "rows": rows })
    }
}

/// A goal, and what was reached.
struct Goal {
    what: String,
    limit: f64,
    at_least: bool,
    reached: Option<f64>,
}

impl Goal {
    fn met(&self) -> Option<bool> {
        let reached = self.reached?;
        Some(if self.at_least {
            reached >= self.limit
        } else {
            reached <= self.limit
        })
    }

    fn shown(&self) -> String {
        let sign = if self.at_least { '≥' } else { '≤' };
        let reached = self
            .reached
            .map_or("–".to_owned(), |reached| number(reached, 2));
        let met = match self.met() {
            Some(true) => "met",
            Some(false) => "**not met**",
            None => "not measured",
        };
        format!(
            "| {} | {sign} {} | {reached} | {met} |\n",
            self.what,
            number(self.limit, 2)
        )
    }
}

/// All that a run found.
pub struct Report {
    date: String,
    machine: String,
    tables: Vec<Table>,
    goals: Vec<Goal>,
    remarks: Vec<String>,
}

impl Report {
    pub fn new() -> Result<Self> {
        let cpu = fs::read_to_string("/proc/cpuinfo")?
            .lines()
            .find_map(|line| {
                Some(
                    line.strip_prefix("model name")?
                        .split_once(':')?
                        .1
                        .trim()
                        .to_owned(),
                )
            })
            .unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(Self {
            date: output("date", &["--utc", "+%Y-%m-%d"])?,
            machine: format!("Linux {}, {cpus} × {cpu}", output("uname", &["-r"])?),
            tables: Vec::new(),
            goals: Vec::new(),
            remarks: Vec::new(),
        })
    }

    pub fn at_most(&mut self, what: &str, limit: f64, reached: Option<f64>) {
        self.goals.push(Goal {
            what: what.to_owned(),
            limit,
            at_least: false,
            reached,
        });
    }

    pub fn at_least(&mut self, what: &str, limit: f64, reached: Option<f64>) {
        self.goals.push(Goal {
            what: what.to_owned(),
            limit,
            at_least: true,
            reached,
        });
    }

    /// Something to be known of the run, once.
    pub fn remark(&mut self, text: String) {
        if !self.remarks.contains(&text) {
            self.remarks.push(text);
        }
    }

    pub fn table(&mut self, table: Table) {
        eprint!("{}", table.shown());
        self.tables.push(table);
    }

    /// Prints everything, and writes it beside the others if it is complete.
    pub fn finish(self, complete: bool) -> Result<()> {
        let load = fs::read_to_string("/proc/loadavg")?;
        let load = load.split_whitespace().next().unwrap_or("?").to_owned();
        let mut text = format!(
            "# Data plane, {}\n\n{}, load {load} at the end. One pinned CPU, least of several samples. \
             By `cargo bench -p detector-benches`.\n\n| goal | limit | reached | |\n|---|---:|---:|---|\n",
            self.date, self.machine
        );
        for goal in &self.goals {
            text.push_str(&goal.shown());
        }
        for table in &self.tables {
            text.push_str(&table.shown());
        }
        if !self.remarks.is_empty() {
            text.push_str("\n## Remarks\n\n");
        }
        for remark in &self.remarks {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "- {remark}");
        }
        print!("{text}");
        if !complete {
            return Ok(());
        }
        let goals: Vec<Value> = self
            .goals
            .iter()
            .map(|goal| {
                json!({
                    "what": goal.what, "limit": goal.limit, "at_least": goal.at_least,
                    "reached": goal.reached, "met": goal.met(),
                })
            })
            .collect();
        let value = json!({
            "date": self.date,
            "machine": self.machine,
            "load": load,
            "goals": goals,
            "tables": self.tables.iter().map(Table::value).collect::<Vec<_>>(),
            "remarks": self.remarks,
        });
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        for (ending, content) in [("md", text), ("json", format!("{value:#}\n"))] {
            let path = folder.join(format!("dataplane-{}.{ending}", self.date));
            fs::write(&path, content).with_context(|| format!("writing {}", path.display()))?;
            eprintln!("written: {}", path.display());
        }
        Ok(())
    }
}

fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| program.to_owned())?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
