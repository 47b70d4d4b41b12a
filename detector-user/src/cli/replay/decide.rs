//! `detector replay --decide`: captures through the agent's stations, out as alerts and verdicts.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write as _,
    path::Path,
    sync::Arc,
};

use super::{Args, ReplayError, captures::Captures};
use crate::{
    agent::{config::Config, replay::ReplayAgent},
    decide::{
        alert::{Decision, Kind},
        family::Family,
        policy::{Policy, Step},
    },
    output::{Destination, Format, OutputError, eve::Event},
    score::Scorer,
    wire::capture::{CaptureError, CaptureReader},
};

/// What was decided about one capture.
#[derive(Default)]
struct Summary {
    frames: u64,
    dropped: u64,
    /// By family: the gravest step, and the sources told of.
    families: BTreeMap<Family, (Reached, BTreeSet<String>)>,
    verdicts: usize,
}

/// A step, or none.
type Reached = Option<Step>;

impl Summary {
    fn add(&mut self, decision: &Decision) {
        let Some(alert) = &decision.alert else {
            return;
        };
        if let Kind::Attack(step) = alert.kind {
            let family = self.families.entry(alert.family).or_default();
            family.0 = family.0.max(Some(step));
            if let Some((address, _)) = alert.source {
                family.1.insert(address.to_string());
            }
            self.verdicts += usize::from(decision.act.is_some());
        }
    }

    fn line(&self, path: &Path) -> String {
        let found: Vec<String> = self
            .families
            .iter()
            .map(|(family, (step, sources))| {
                let first = sources.iter().next().cloned().unwrap_or_default();
                let more = match sources.len() {
                    0 | 1 => String::new(),
                    n => format!(" and {} more", n - 1),
                };
                let step = step.map_or("alert", Step::name);
                format!("{family} ({step}) {first}{more}")
            })
            .collect();
        let found = if found.is_empty() {
            "nothing".to_owned()
        } else {
            found.join("; ")
        };
        format!(
            "{}: {} frames, {} dropped; {} verdicts; {found}",
            path.display(),
            self.frames,
            self.dropped,
            self.verdicts
        )
    }
}

/// Runs it.
///
/// # Errors
/// [`ReplayError`].
pub(super) fn run(args: &Args) -> Result<(), ReplayError> {
    let scorer = if args.no_model {
        None
    } else {
        Some(Arc::new(Scorer::of(args.model.as_deref())?))
    };
    let config = Config::read(args.config.as_deref())?;
    let policy = config.decide;
    let format = args.output.format();
    if !matches!(format, Format::Table | Format::Json | Format::Jsonl) {
        return Err(ReplayError::Format);
    }
    let captures = Captures::of(&args.files);
    let mut out = Destination::open(args.output.output.as_deref())?;
    let mut separator = if format == Format::Json { "[\n" } else { "" };
    let (mut read, mut failed) = (0, captures.failed.len());
    for (path, cause) in &captures.failed {
        eprintln!("error: cannot read directory {}: {cause}", path.display());
    }
    for capture in &captures.files {
        let mut summary = Summary::default();
        let mut result = Ok(());
        match one(
            args,
            &policy,
            scorer.clone(),
            &capture.path,
            &mut summary,
            |line| {
                if format != Format::Table && result.is_ok() {
                    result = write!(out, "{separator}{}", line.trim_end());
                    separator = if format == Format::Json { ",\n" } else { "\n" };
                }
            },
        ) {
            Ok(()) => read += 1,
            Err(_) if capture.may_be_other => continue,
            Err(error) => {
                eprintln!("error: {error}");
                failed += 1;
            }
        }
        if format == Format::Table {
            result = writeln!(out, "{}", summary.line(&capture.path));
        } else {
            eprintln!("{}", summary.line(&capture.path));
        }
        result.map_err(|cause| OutputError::write(out.place(), cause))?;
    }
    let end = match (format, separator) {
        (Format::Json, "[\n") => "[]\n",
        (Format::Json, _) => "\n]\n",
        (_, separator) => separator,
    };
    out.write_all(end.as_bytes())
        .map_err(|cause| OutputError::write(out.place(), cause))?;
    out.finish()?;
    match (read, failed) {
        (0, 0) => Err(ReplayError::NoCaptures),
        (_, 0) => Ok(()),
        (read, failed) => Err(ReplayError::Captures {
            failed,
            total: read + failed,
        }),
    }
}

fn one(
    args: &Args,
    policy: &Policy,
    scorer: Option<Arc<Scorer>>,
    path: &Path,
    summary: &mut Summary,
    mut tell: impl FnMut(&str),
) -> Result<(), CaptureError> {
    let mut reader = CaptureReader::open(path)?;
    let name = path.to_string_lossy().into_owned();
    let told = std::cell::RefCell::new((summary, &mut tell));
    let mut agent = ReplayAgent::new(
        args.flows_max,
        policy.clone(),
        scorer,
        args.enforce,
        |decision: &Decision| {
            let mut told = told.borrow_mut();
            told.0.add(decision);
            if let Some(alert) = &decision.alert {
                let event = Event::of(decision, alert, args.enforce, 0, Some(&name));
                (told.1)(&event.line());
            }
        },
    );
    let result = loop {
        match reader.next_frame() {
            Ok(Some(frame)) => agent.frame(frame.time_ns, frame.bytes),
            Ok(None) => break Ok(()),
            Err(error) if error.is_cut_off() => {
                eprintln!("warning: {error}");
                break Ok(());
            }
            Err(error) => break Err(error),
        }
    };
    let (packets, _) = agent.finish();
    let told = told.into_inner();
    told.0.frames = packets.seen;
    told.0.dropped = packets.dropped;
    result
}
