//! The screen: keys, and what is drawn.

use std::time::{Duration, Instant};

use ratatui::{
    Frame,
    crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers},
    layout::{Constraint, Layout},
    style::{Color, Style, Stylize as _},
    text::Line,
    widgets::{Cell, Paragraph, Row, Table, TableState},
};
use serde_json::{Value, json};

use super::{
    Rates,
    look::{Look, SORTS, View},
};
use crate::cli::{
    client::{Client, ClientError},
    failure::Failure,
};

/// How long a source is blocked by a key, s.
const BLOCK_S: u64 = 600;
const KEYS: &str = "Tab view  s sort  / filter  ↑↓ select  b block source  l lift verdict  q quit";

/// What a key asks for that is done only when it is said again.
struct Pending {
    question: String,
    method: &'static str,
    path: String,
    body: Option<Value>,
}

/// What is on the screen.
#[derive(Default)]
struct Screen {
    view: View,
    sort: usize,
    filter: String,
    /// The filter is being written.
    typing: bool,
    pending: Option<Pending>,
    said: String,
    look: Look,
    rates: Option<(f64, f64)>,
    selected: TableState,
}

/// Runs until it is left.
pub(super) fn run(client: &Client, interval: Duration) -> Result<(), Failure> {
    let mut terminal = ratatui::try_init()?;
    let result = follow(client, interval, &mut terminal);
    ratatui::restore();
    result
}

fn follow(
    client: &Client,
    interval: Duration,
    terminal: &mut ratatui::DefaultTerminal,
) -> Result<(), Failure> {
    let mut screen = Screen::default();
    let mut rates = Rates::default();
    let mut due = Instant::now();
    loop {
        if Instant::now() >= due {
            due = Instant::now() + interval;
            match Look::take(client, screen.view, SORTS[screen.sort]) {
                Ok(look) => {
                    screen.rates = rates.of(&look);
                    screen.look = look;
                }
                Err(error) => screen.said = error.to_string(),
            }
        }
        terminal.draw(|frame| screen.draw(frame))?;
        if !event::poll(due.saturating_duration_since(Instant::now()))? {
            continue;
        }
        let Event::Key(key) = event::read()? else {
            continue;
        };
        if key.kind != KeyEventKind::Press {
            continue;
        }
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Ok(());
        }
        match screen.key(key.code) {
            Asked::Nothing => {}
            Asked::Look => due = Instant::now(),
            Asked::Leave => return Ok(()),
            Asked::Do(pending) => {
                screen.said = done(client, &pending);
                due = Instant::now();
            }
        }
    }
}

fn done(client: &Client, pending: &Pending) -> String {
    let result: Result<Value, ClientError> =
        client.ask(pending.method, &pending.path, pending.body.as_ref());
    match result {
        Ok(_) => format!("done: {}", pending.question),
        Err(error) => error.to_string(),
    }
}

/// What a key asks for.
enum Asked {
    Nothing,
    Look,
    Leave,
    Do(Pending),
}

impl Screen {
    fn key(&mut self, key: KeyCode) -> Asked {
        if let Some(pending) = self.pending.take() {
            self.said.clear();
            return match key {
                KeyCode::Char('y') => Asked::Do(pending),
                _ => Asked::Nothing,
            };
        }
        if self.typing {
            match key {
                KeyCode::Enter => self.typing = false,
                KeyCode::Esc => {
                    self.typing = false;
                    self.filter.clear();
                }
                KeyCode::Backspace => {
                    self.filter.pop();
                }
                KeyCode::Char(c) => self.filter.push(c),
                _ => {}
            }
            return Asked::Nothing;
        }
        match key {
            KeyCode::Char('q') | KeyCode::Esc => return Asked::Leave,
            KeyCode::Tab => {
                self.view = match self.view {
                    View::Flows => View::Verdicts,
                    View::Verdicts => View::Alerts,
                    View::Alerts => View::Flows,
                };
                self.selected = TableState::default();
                return Asked::Look;
            }
            KeyCode::Char('s') => {
                self.sort = (self.sort + 1) % SORTS.len();
                return Asked::Look;
            }
            KeyCode::Char('/') => self.typing = true,
            KeyCode::Down | KeyCode::Char('j') => self.selected.select_next(),
            KeyCode::Up | KeyCode::Char('k') => self.selected.select_previous(),
            KeyCode::Char('b') => self.pending = self.block(),
            KeyCode::Char('l') => self.pending = self.lift(),
            _ => {}
        }
        Asked::Nothing
    }

    /// What is selected.
    fn chosen(&self) -> Option<Value> {
        let rows = self.look.rows(self.view, &self.filter);
        let (_, item) = rows.get(self.selected.selected()?)?;
        Some(item.clone())
    }

    fn block(&self) -> Option<Pending> {
        let chosen = self.chosen()?;
        let source = match self.view {
            View::Flows => chosen["source_address"].as_str()?,
            View::Alerts => chosen["src_ip"].as_str()?,
            View::Verdicts => return None,
        };
        Some(Pending {
            question: format!("drop all of {source} for {} min", BLOCK_S / 60),
            method: "POST",
            path: "/api/v1/verdicts".to_owned(),
            body: Some(json!({
                "address": source, "action": "drop", "ttl_s": BLOCK_S, "reason": "by hand, in detector top",
            })),
        })
    }

    fn lift(&self) -> Option<Pending> {
        let chosen = (self.view == View::Verdicts)
            .then(|| self.chosen())
            .flatten()?;
        let (slot, target) = (chosen["slot"].as_u64()?, chosen["target"].as_str()?);
        let escaped: String = target
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' => {
                    char::from(byte).to_string()
                }
                byte => format!("%{byte:02X}"),
            })
            .collect();
        Some(Pending {
            question: format!("lift the verdict on {target}"),
            method: "DELETE",
            path: format!("/api/v1/verdicts/{slot}?target={escaped}"),
            body: None,
        })
    }

    fn draw(&mut self, frame: &mut Frame<'_>) {
        let head = self.look.head(self.rates);
        let areas = Layout::vertical([
            Constraint::Length(head.len() as u16),
            Constraint::Length(1),
            Constraint::Min(1),
            Constraint::Length(1),
        ])
        .split(frame.area());
        let lines = head.into_iter().map(|line| {
            if line.starts_with('!') {
                Line::from(line).fg(Color::Red)
            } else {
                Line::from(line)
            }
        });
        frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), areas[0]);
        frame.render_widget(Paragraph::new(self.bar()).dim(), areas[1]);
        let rows = self.look.rows(self.view, &self.filter);
        let titles = Look::titles(self.view);
        let width = |n: usize| {
            let cells = rows.iter().map(|(cells, _)| cells[n].chars().count());
            let widest = cells.chain([titles[n].len()]).max().unwrap_or(0) as u16;
            if n + 1 == titles.len() {
                Constraint::Min(widest.min(20))
            } else {
                Constraint::Length(widest.min(48))
            }
        };
        let widths: Vec<Constraint> = (0..titles.len()).map(width).collect();
        let body = rows.iter().map(|(cells, _)| {
            let colour = match cells.get(1..3) {
                Some(words) if words.iter().any(|word| word == "drop") => Color::Red,
                Some(words) if words.iter().any(|word| word == "rate-limit") => Color::Yellow,
                _ => Color::Reset,
            };
            Row::new(cells.iter().map(|cell| Cell::new(cell.as_str()))).fg(colour)
        });
        let table = Table::new(body, widths)
            .header(Row::new(titles.iter().copied()).bold())
            .row_highlight_style(Style::new().reversed());
        frame.render_stateful_widget(table, areas[2], &mut self.selected);
        let foot = match (&self.pending, self.said.as_str()) {
            (Some(pending), _) => format!("{}? y: yes, any other key: no", pending.question),
            (None, "") => KEYS.to_owned(),
            (None, said) => said.to_owned(),
        };
        frame.render_widget(Paragraph::new(foot).reversed(), areas[3]);
    }

    fn bar(&self) -> String {
        let views = [
            (View::Flows, "flows"),
            (View::Verdicts, "verdicts"),
            (View::Alerts, "alerts"),
        ];
        let views = views.map(|(view, name)| {
            if view == self.view {
                format!("[{name}]")
            } else {
                name.to_owned()
            }
        });
        let cursor = if self.typing { "_" } else { "" };
        format!(
            "{}   sort {}   filter {}{cursor}",
            views.join(" "),
            SORTS[self.sort],
            self.filter
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::{Terminal, backend::TestBackend};

    fn screen() -> Screen {
        Screen {
            look: Look {
                status: json!({"mode": "enforce", "version": "1", "complaints": ["a cable is out"],
                    "drift": {"state": "drifted", "score_psi": 0.4, "top": [{"feature": "fwd_bytes", "psi": 2.0}]}}),
                flows: json!({"flows": [
                    {"source_address": "10.0.0.9", "source_port": 4711, "destination_address": "10.0.0.1",
                     "destination_port": 80, "protocol": 6, "state": "new", "forward_packets": 3, "forward_bytes": 180},
                    {"source_address": "10.0.0.8", "destination_address": "10.0.0.1", "protocol": 1, "state": "new",
                     "source_pod": "shop/cart-0"},
                ]}),
                verdicts: json!({"verdicts": [{"slot": 4, "target": "to 10.0.0.1/32 udp", "action": "drop",
                    "reason": "evil \u{1b}[2J"}]}),
                alerts: json!([]),
            },
            ..Screen::default()
        }
    }

    fn drawn(screen: &mut Screen) -> String {
        let mut terminal = Terminal::new(TestBackend::new(110, 14)).unwrap();
        terminal.draw(|frame| screen.draw(frame)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn flows_are_shown_filtered_and_blocked_after_a_question() {
        let mut screen = screen();
        let text = drawn(&mut screen);
        for part in [
            "enforcing",
            "10.0.0.9:4711",
            "10.0.0.8 shop/cart-0",
            "a cable is out",
            "drift drifted (PSI 0.40): fwd_bytes",
            "[flows]",
            "tcp",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        for key in ['/', '4', '7'] {
            screen.key(KeyCode::Char(key));
        }
        screen.key(KeyCode::Enter);
        let text = drawn(&mut screen);
        assert!(
            text.contains("10.0.0.9:4711") && !text.contains("10.0.0.8"),
            "{text}"
        );
        screen.key(KeyCode::Down);
        screen.key(KeyCode::Char('b'));
        assert!(drawn(&mut screen).contains("drop all of 10.0.0.9 for 10 min? y"));
        // Any other key is a no.
        assert!(matches!(screen.key(KeyCode::Char('n')), Asked::Nothing));
        screen.key(KeyCode::Char('b'));
        let Asked::Do(pending) = screen.key(KeyCode::Char('y')) else {
            panic!("it is not done");
        };
        assert_eq!(pending.body.unwrap()["address"], "10.0.0.9");
        assert!(matches!(screen.key(KeyCode::Char('q')), Asked::Leave));
    }

    #[test]
    fn a_verdict_is_lifted_by_slot_and_target_and_no_reason_moves_the_cursor() {
        let mut screen = screen();
        assert!(matches!(screen.key(KeyCode::Tab), Asked::Look));
        let text = drawn(&mut screen);
        assert!(
            text.contains("[verdicts]") && !text.contains('\u{1b}'),
            "{text:?}"
        );
        screen.key(KeyCode::Down);
        screen.key(KeyCode::Char('l'));
        let Asked::Do(pending) = screen.key(KeyCode::Char('y')) else {
            panic!("it is not done");
        };
        assert_eq!(
            pending.path,
            "/api/v1/verdicts/4?target=to%2010.0.0.1%2F32%20udp"
        );
        screen.key(KeyCode::Char('b'));
        assert!(screen.pending.is_none(), "a verdict is no source");
    }
}
