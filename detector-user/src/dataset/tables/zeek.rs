//! Zeek's logs, also those to which labels were added with other separators than the log's own: IoT-23 and some of
//! Stratosphere's end a line with `tunnel_parents   label   detailed-label`, spaces between them where tabs are due.

use std::path::Path;

use super::{Gathered, TablesError, column::Cell, gather::Target, lines::Lines, open::Bytes};

/// How a log writes its values.
struct Log {
    separator: String,
    unset: String,
    empty: String,
    /// Columns, and where each goes.
    fields: Vec<String>,
    targets: Vec<Target>,
}

pub(super) fn read(
    path: &Path,
    bytes: Bytes,
    gathered: &mut Gathered,
    progress: &dyn Fn(u64),
) -> Result<(), TablesError> {
    let mut log = Log {
        separator: "\t".to_owned(),
        unset: "-".to_owned(),
        empty: "(empty)".to_owned(),
        fields: Vec::new(),
        targets: Vec::new(),
    };
    let mut lines = Lines::new(path, bytes, progress);
    while let Some((number, raw)) = lines.next()? {
        let line = String::from_utf8_lossy(raw);
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            continue;
        }
        if let Some(directive) = line.strip_prefix('#') {
            log.directive(path, directive, gathered)?;
            continue;
        }
        if log.fields.is_empty() {
            return Err(TablesError::Read {
                path: path.to_owned(),
                cause: format!("line {number} has values, and no line #fields came before"),
            });
        }
        let values = parts(line, &log.separator, log.fields.len());
        if values.len() != log.fields.len() {
            let cause = format!(
                "the row has {} values where #fields names {}",
                values.len(),
                log.fields.len()
            );
            gathered.bad(path, number, &cause)?;
            continue;
        }
        let cells = values.iter().map(|value| {
            if *value == log.unset || *value == log.empty {
                Cell::Missing
            } else {
                Cell::of(value)
            }
        });
        gathered.row(path, number, &log.targets, cells, |at| {
            let value = *values.get(at)?;
            (value != log.unset && value != log.empty).then_some(value)
        })?;
    }
    Ok(())
}

impl Log {
    fn directive(
        &mut self,
        path: &Path,
        text: &str,
        gathered: &mut Gathered,
    ) -> Result<(), TablesError> {
        if let Some(separator) = text.strip_prefix("separator") {
            let separator = separator.trim_start_matches(' ');
            self.separator = unescape(separator).unwrap_or_else(|| "\t".to_owned());
            return Ok(());
        }
        let Some((name, value)) = text.split_once(&self.separator) else {
            return Ok(());
        };
        match name {
            "unset_field" => value.clone_into(&mut self.unset),
            "empty_field" => value.clone_into(&mut self.empty),
            "fields" => {
                self.fields = parts(value, &self.separator, usize::MAX)
                    .into_iter()
                    .map(str::to_owned)
                    .collect();
                self.targets = gathered.targets(path, &self.fields)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// `\x09` and the like.
fn unescape(text: &str) -> Option<String> {
    let Some(digits) = text.strip_prefix("\\x") else {
        return (!text.is_empty()).then(|| text.to_owned());
    };
    let byte = u8::from_str_radix(digits.trim(), 16).ok()?;
    Some(char::from(byte).to_string())
}

/// The values of a line. Where they are fewer than `wanted`, those that hold several with blanks between them are divided,
/// the last ones first.
fn parts<'a>(line: &'a str, separator: &str, wanted: usize) -> Vec<&'a str> {
    let mut values: Vec<&str> = line.split(separator).collect();
    for blank in ["   ", "  ", " "] {
        if values.len() >= wanted {
            break;
        }
        // Names of columns have no blanks, however few.
        if wanted == usize::MAX && blank == " " {
            break;
        }
        let Some(last) = values.pop() else { break };
        values.extend(
            last.split(blank)
                .map(str::trim)
                .filter(|part| !part.is_empty()),
        );
    }
    values
}

#[cfg(test)]
mod tests {
    use super::{parts, unescape};

    #[test]
    fn labels_behind_blanks_are_columns() {
        let fields = parts(
            "ts\tuid\ttunnel_parents   label   detailed-label",
            "\t",
            usize::MAX,
        );
        assert_eq!(
            fields,
            ["ts", "uid", "tunnel_parents", "label", "detailed-label"]
        );
        let row = parts("1.5\tC\t-   Malicious   PartOfAHorizontalPortScan", "\t", 5);
        assert_eq!(
            row,
            ["1.5", "C", "-", "Malicious", "PartOfAHorizontalPortScan"]
        );
        let row = parts("1.5\tC\t(empty)\tBenign\tMicrosoft Windows", "\t", 5);
        assert_eq!(row[4], "Microsoft Windows");
        assert_eq!(unescape("\\x09").as_deref(), Some("\t"));
    }
}
