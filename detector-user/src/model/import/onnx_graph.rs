//! Finding one's way in an ONNX graph.

use super::{
    Format, ImportError,
    onnx_message::{Attribute, Graph, Node},
};

pub(super) fn unsupported(what: String, remedy: &'static str) -> ImportError {
    ImportError::Unsupported {
        format: Format::Onnx,
        what,
        remedy,
    }
}

pub(super) fn malformed(place: impl Into<String>, cause: impl Into<String>) -> ImportError {
    ImportError::malformed(Format::Onnx, place, cause)
}

impl Node {
    pub(super) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attribute
            .iter()
            .find(|attribute| attribute.name == name)
    }

    pub(super) fn integers(&self, name: &str) -> &[i64] {
        self.attribute(name)
            .map_or(&[], |attribute| &attribute.ints)
    }

    /// Numbers of an attribute, in its list, in the tensor itself, or in that of its double-precision twin.
    pub(super) fn numbers(&self, name: &str) -> Result<Vec<f64>, ImportError> {
        let tensor = |attribute: &Attribute| attribute.t.as_ref().map(|tensor| tensor.numbers());
        let twin = self
            .attribute(&format!("{name}_as_tensor"))
            .and_then(tensor);
        if let Some(found) = twin.or_else(|| self.attribute(name).and_then(tensor)) {
            return found.ok_or_else(|| {
                malformed(
                    format!("`{name}`"),
                    "is a tensor of a type that is not read",
                )
            });
        }
        let floats = self
            .attribute(name)
            .map_or(&[][..], |attribute| &attribute.floats);
        Ok(floats.iter().map(|x| f64::from(*x)).collect())
    }

    pub(super) fn text<'a>(&'a self, name: &str, usual: &'a str) -> &'a str {
        let bytes = self.attribute(name).map(|attribute| &attribute.s[..]);
        bytes
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .unwrap_or(usual)
    }

    pub(super) fn integer(&self, name: &str, usual: i64) -> i64 {
        self.attribute(name).map_or(usual, |attribute| attribute.i)
    }
}

impl Graph {
    /// Who makes a value, and which of its results it is.
    pub(super) fn maker(&self, value: &str) -> Option<(&Node, usize)> {
        self.node.iter().find_map(|node| {
            let place = node.output.iter().position(|output| output == value)?;
            Some((node, place))
        })
    }

    /// The value behind operators that do not change it: casts, copies, and the choice of all columns in their order.
    pub(super) fn origin<'a>(&'a self, mut value: &'a str) -> &'a str {
        // No graph has a longer chain than it has nodes.
        for _ in 0..=self.node.len() {
            let Some((node, 0)) = self.maker(value) else {
                return value;
            };
            let same = match node.op_type.as_str() {
                "Cast" | "Identity" => true,
                "Gather" => {
                    let columns = node.input.get(1).and_then(|name| self.constant(name));
                    columns.is_some_and(|columns| {
                        columns.iter().enumerate().all(|(n, c)| n as f64 == *c)
                    })
                }
                _ => false,
            };
            match node.input.first() {
                Some(input) if same => value = input,
                _ => return value,
            }
        }
        value
    }

    /// The numbers of a constant.
    pub(super) fn constant(&self, name: &str) -> Option<Vec<f64>> {
        let tensor = self.initializer.iter().find(|tensor| tensor.name == name)?;
        tensor.numbers()
    }

    /// The columns of its first input, where it says.
    pub(super) fn columns(&self) -> Option<usize> {
        let shape = self
            .input
            .first()?
            .of_type
            .as_ref()?
            .tensor
            .as_ref()?
            .shape
            .as_ref()?;
        let [_, columns] = &shape.dimension[..] else {
            return None;
        };
        usize::try_from(columns.value)
            .ok()
            .filter(|columns| *columns > 0)
    }
}
