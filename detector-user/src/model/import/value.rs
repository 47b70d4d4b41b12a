//! Fields of a JSON document, by their path, with the path in every refusal.

use serde_json::Value;

use super::{Format, ImportError};

/// A part of a document and what it is called.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    pub(super) format: Format,
    pub(super) value: &'a Value,
    path: String,
}

impl<'a> Field<'a> {
    pub(super) fn root(format: Format, value: &'a Value) -> Self {
        Self {
            format,
            value,
            path: String::new(),
        }
    }

    pub(super) fn fault(&self, cause: &str) -> ImportError {
        let place = if self.path.is_empty() {
            "the document"
        } else {
            &self.path
        };
        ImportError::malformed(self.format, format!("`{place}`"), cause)
    }

    /// What lies at a path such as `/learner/objective`, if anything.
    pub(super) fn find(&self, path: &str) -> Option<Self> {
        Some(Self {
            format: self.format,
            value: self.value.pointer(path)?,
            path: format!("{}{path}", self.path),
        })
    }

    pub(super) fn get(&self, path: &str) -> Result<Self, ImportError> {
        self.find(path)
            .ok_or_else(|| self.fault(&format!("has no `{path}`")))
    }

    pub(super) fn text(&self) -> Result<&'a str, ImportError> {
        self.value.as_str().ok_or_else(|| self.fault("is no text"))
    }

    /// A number, also one written as text.
    pub(super) fn number<T: std::str::FromStr>(&self) -> Result<T, ImportError> {
        let text = match self.value {
            Value::String(text) => text.trim().to_owned(),
            Value::Number(number) => number.to_string(),
            Value::Bool(is) => u8::from(*is).to_string(),
            _ => String::new(),
        };
        text.parse().map_err(|_| self.fault("is no such number"))
    }

    pub(super) fn list(&self) -> Result<&'a [Value], ImportError> {
        let list = self
            .value
            .as_array()
            .ok_or_else(|| self.fault("is no list"))?;
        Ok(list)
    }

    pub(super) fn floats(&self) -> Result<Vec<f32>, ImportError> {
        let each = self.list()?.iter().map(|value| value.as_f64());
        let all: Option<Vec<f32>> = each.map(|x| x.map(|x| x as f32)).collect();
        all.ok_or_else(|| self.fault("holds what is no number"))
    }

    pub(super) fn integers(&self) -> Result<Vec<i64>, ImportError> {
        let each = self.list()?.iter().map(|value| match value {
            Value::Bool(is) => Some(i64::from(*is)),
            value => value.as_i64(),
        });
        each.collect::<Option<_>>()
            .ok_or_else(|| self.fault("holds what is no integer"))
    }

    pub(super) fn texts(&self) -> Result<Vec<String>, ImportError> {
        let each = self
            .list()?
            .iter()
            .map(|value| value.as_str().map(str::to_owned));
        each.collect::<Option<_>>()
            .ok_or_else(|| self.fault("holds what is no text"))
    }
}
