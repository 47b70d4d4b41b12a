//! Which files a name on the command line means.

use std::path::{Path, PathBuf};

use globset::GlobBuilder;

use super::TablesError;

/// Directories below one another that are looked into.
const DEPTH_MAX: usize = 16;

/// Files that names mean: each a file, a directory with all below it, or a pattern. In the order of the names, and of one
/// name sorted.
///
/// # Errors
/// [`TablesError`] where a name means no file.
pub fn expand(names: &[PathBuf]) -> Result<Vec<PathBuf>, TablesError> {
    let mut all = Vec::new();
    for name in names {
        let mut found = if name.is_dir() {
            files_below(name)
        } else if name.exists() {
            vec![name.clone()]
        } else {
            matching(name)?
        };
        if found.is_empty() {
            return Err(TablesError::NoFile {
                pattern: name.display().to_string(),
            });
        }
        found.sort();
        for path in found {
            if !all.contains(&path) {
                all.push(path);
            }
        }
    }
    Ok(all)
}

fn matching(name: &Path) -> Result<Vec<PathBuf>, TablesError> {
    let text = name.display().to_string();
    if !text.contains(['*', '?', '[', '{']) {
        return Ok(Vec::new());
    }
    let matcher = GlobBuilder::new(&text)
        .literal_separator(true)
        .build()
        .map_err(|error| TablesError::Pattern {
            pattern: text.clone(),
            cause: error.kind().to_string(),
        })?
        .compile_matcher();
    // Up to the first part that is a pattern, the path is known.
    let known: PathBuf = name
        .components()
        .take_while(|part| {
            !part
                .as_os_str()
                .to_string_lossy()
                .contains(['*', '?', '[', '{'])
        })
        .collect();
    let from = if known.as_os_str().is_empty() {
        Path::new(".")
    } else {
        &known
    };
    let mut found = Vec::new();
    walk(from, 0, &mut |path| {
        let shown = path.strip_prefix(".").unwrap_or(path);
        if matcher.is_match(path) || matcher.is_match(shown) {
            found.push(path.to_owned());
        }
    });
    Ok(found)
}

fn files_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    walk(directory, 0, &mut |path| {
        let hidden = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if !hidden {
            found.push(path.to_owned());
        }
    });
    found
}

fn walk(directory: &Path, depth: usize, take: &mut dyn FnMut(&Path)) {
    // What cannot be listed holds nothing; that nothing is found at all is said above.
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if depth < DEPTH_MAX {
                walk(&path, depth + 1, take);
            }
        } else {
            take(&path);
        }
    }
}
