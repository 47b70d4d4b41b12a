//! The pages for people speak of what there is: commands that can be given, every alert, messages that the program says.

use std::{fs, path::Path};

use clap::{Parser as _, error::ErrorKind};

use super::Cli;
use crate::decide::family::Family;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Pages, none of them generated.
fn pages() -> Vec<(String, String)> {
    let docs = fs::read_dir(Path::new(ROOT).join("docs")).unwrap();
    let names = docs.map(|one| format!("docs/{}", one.unwrap().file_name().display()));
    let written = names
        .filter(|name| name.ends_with(".md") && !read(name).contains("This file is generated"));
    let pages = written.chain(["README.md".to_owned()]);
    pages.map(|name| (name.clone(), read(&name))).collect()
}

/// Commands in a page: those of its blocks, and those between backticks that are whole.
fn commands(page: &str) -> Vec<String> {
    let mut commands = Vec::new();
    for (n, part) in page.split("```").enumerate() {
        if let (1, Some(block)) = (n % 2, part.strip_prefix("sh\n")) {
            commands.extend(block.replace("\\\n", " ").lines().map(str::to_owned));
        } else if n % 2 == 0 {
            commands.extend(part.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    commands.retain(|line| line.starts_with("detector ") && !line.contains("COMMAND"));
    commands
}

/// Words as a shell parts them; comments, pipes and what is written elsewhere end a command.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (c, quote) {
            ('\'' | '"', None) => quote = Some(c),
            (c, Some(open)) if c == open => quote = None,
            ('#' | '|' | '>', None) if word.is_empty() => break,
            (' ', None) => words.push(std::mem::take(&mut word)),
            (c, _) => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn every_command_can_be_given() {
    let (mut tried, mut wrong) = (0, String::new());
    for (name, page) in pages() {
        for line in commands(&page) {
            let words = words(&line);
            let Err(error) = Cli::try_parse_from(&words) else {
                tried += 1;
                continue;
            };
            // What names a command without its arguments is no line to be typed.
            let mut rest = words.iter().skip(1);
            let named = rest.all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'));
            let unknown = matches!(
                error.kind(),
                ErrorKind::InvalidSubcommand | ErrorKind::UnknownArgument
            );
            // That variable stands for the option; it would be the test's own.
            let elsewhere = page.contains("export DETECTOR_MODELS_REGISTRY=")
                && error.kind() == ErrorKind::MissingRequiredArgument
                && error.to_string().contains("--registry <");
            if unknown || !(named || elsewhere) {
                wrong.push_str(&format!("{name}: {line}\n{error}\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(tried > 60, "only {tried} commands were found");
}

#[test]
fn every_alert_is_explained() {
    let page = read("docs/alerts.md");
    let rules = read("deploy/prometheus/rules.yaml");
    let rules: Vec<&str> = rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect();
    assert!(rules.len() > 10);
    for rule in rules {
        assert!(page.contains(&format!("\n### {rule}\n")), "{rule}");
    }
    for family in Family::ALL {
        assert!(page.contains(&format!("\n| `{family}` |")), "{family}");
    }
}

/// All of the program's source, texts over several lines in one.
fn source(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            source(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            let file = fs::read_to_string(&path).unwrap();
            for line in file.lines() {
                match line.trim_start().strip_suffix('\\') {
                    Some(cut) => text.push_str(cut),
                    None => text.extend([line.trim_start(), "\n"]),
                }
            }
        }
    }
}

#[test]
fn every_message_that_is_explained_is_said() {
    let mut said = String::new();
    source(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut said,
    );
    let page = read("docs/troubleshooting.md");
    let messages: Vec<&str> = page
        .lines()
        .filter_map(|line| {
            line.strip_prefix("| `")?
                .split_once("` |")
                .map(|(message, _)| message)
        })
        .collect();
    assert!(messages.len() > 30, "{}", messages.len());
    for message in messages {
        assert!(said.contains(message), "nothing says {message:?}");
    }
}
