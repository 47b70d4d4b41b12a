//! UBJSON (draft 12) as JSON values: XGBoost's second format.
//!
//! Numbers that JSON does not know (NaN and infinities) become null.

use serde_json::{Map, Number, Value};

/// Containers in containers, at most.
const DEPTH_MAX: usize = 128;

/// Why bytes are no UBJSON.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(super) enum UbjsonError {
    /// It ends too soon.
    #[error("ends too soon, at byte {0}")]
    End(usize),
    /// A marker that has no meaning there.
    #[error("has the marker {marker:?} at byte {at}, which has no meaning there")]
    Marker {
        /// The marker.
        marker: char,
        /// Where.
        at: usize,
    },
    /// A length below 0.
    #[error("has a negative length at byte {0}")]
    Length(usize),
    /// A text that is none.
    #[error("has a text that is not UTF-8 at byte {0}")]
    Text(usize),
    /// Containers nested too deep.
    #[error("is nested too deep at byte {0}")]
    Depth(usize),
    /// There is more behind the end.
    #[error("goes on behind its end, at byte {0}")]
    Surplus(usize),
}

/// The value that bytes hold.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, UbjsonError> {
    let mut reader = Reader { bytes, at: 0 };
    let marker = reader.marker()?;
    let value = reader.value(marker, 0)?;
    match reader.at {
        at if at < bytes.len() => Err(UbjsonError::Surplus(at)),
        _ => Ok(value),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], UbjsonError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = *rest.first_chunk().ok_or(UbjsonError::End(self.at))?;
        self.at += N;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8, UbjsonError> {
        self.take::<1>().map(|[byte]| byte)
    }

    /// The next marker, past those of no operation.
    fn marker(&mut self) -> Result<u8, UbjsonError> {
        loop {
            match self.byte()? {
                b'N' => {}
                marker => return Ok(marker),
            }
        }
    }

    fn wrong(&self, marker: u8) -> UbjsonError {
        UbjsonError::Marker {
            marker: marker.into(),
            at: self.at.saturating_sub(1),
        }
    }

    fn integer(&mut self, marker: u8) -> Result<i64, UbjsonError> {
        Ok(match marker {
            b'i' => i64::from(i8::from_be_bytes(self.take()?)),
            b'U' => i64::from(self.byte()?),
            b'I' => i64::from(i16::from_be_bytes(self.take()?)),
            b'l' => i64::from(i32::from_be_bytes(self.take()?)),
            b'L' => i64::from_be_bytes(self.take()?),
            other => return Err(self.wrong(other)),
        })
    }

    fn length(&mut self) -> Result<usize, UbjsonError> {
        let at = self.at;
        let marker = self.marker()?;
        usize::try_from(self.integer(marker)?).map_err(|_| UbjsonError::Length(at))
    }

    fn text(&mut self) -> Result<String, UbjsonError> {
        let length = self.length()?;
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let text = rest.get(..length).ok_or(UbjsonError::End(self.at))?;
        let text = std::str::from_utf8(text).map_err(|_| UbjsonError::Text(self.at))?;
        self.at += length;
        Ok(text.to_owned())
    }

    fn value(&mut self, marker: u8, depth: usize) -> Result<Value, UbjsonError> {
        let float = |x: f64| Number::from_f64(x).map_or(Value::Null, Value::Number);
        Ok(match marker {
            b'Z' => Value::Null,
            b'T' => Value::Bool(true),
            b'F' => Value::Bool(false),
            b'd' => float(f32::from_be_bytes(self.take()?).into()),
            b'D' => float(f64::from_be_bytes(self.take()?)),
            b'C' => Value::String(char::from(self.byte()?).to_string()),
            b'S' | b'H' => Value::String(self.text()?),
            b'[' | b'{' if depth >= DEPTH_MAX => return Err(UbjsonError::Depth(self.at)),
            b'[' => self.array(depth + 1)?,
            b'{' => self.object(depth + 1)?,
            integer => self.integer(integer)?.into(),
        })
    }

    /// The type and the count that may follow the opening of a container.
    fn shape(&mut self) -> Result<(Option<u8>, Option<usize>), UbjsonError> {
        let mut of_type = None;
        if self.bytes.get(self.at) == Some(&b'$') {
            self.at += 1;
            let marker = self.byte()?;
            // Elements without bytes would make much of little.
            if matches!(marker, b'Z' | b'T' | b'F' | b'N') {
                return Err(self.wrong(marker));
            }
            of_type = Some(marker);
        }
        let mut count = None;
        if self.bytes.get(self.at) == Some(&b'#') {
            self.at += 1;
            count = Some(self.length()?);
        } else if let Some(marker) = of_type {
            return Err(self.wrong(marker));
        }
        Ok((of_type, count))
    }

    fn array(&mut self, depth: usize) -> Result<Value, UbjsonError> {
        let (of_type, count) = self.shape()?;
        let mut all = Vec::new();
        while count.is_none_or(|count| all.len() < count) {
            let marker = match of_type {
                Some(marker) => marker,
                None => self.marker()?,
            };
            if count.is_none() && marker == b']' {
                break;
            }
            all.push(self.value(marker, depth)?);
        }
        Ok(Value::Array(all))
    }

    fn object(&mut self, depth: usize) -> Result<Value, UbjsonError> {
        let (of_type, count) = self.shape()?;
        let mut all = Map::new();
        let mut read = 0;
        while count.is_none_or(|count| read < count) {
            if count.is_none() && self.bytes.get(self.at) == Some(&b'}') {
                self.at += 1;
                break;
            }
            let key = self.text()?;
            let marker = match of_type {
                Some(marker) => marker,
                None => self.marker()?,
            };
            all.insert(key, self.value(marker, depth)?);
            read += 1;
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn containers_with_and_without_a_type_are_read() {
        let bytes =
            b"{U\x01a[$d#U\x02\x3f\x80\0\0\xbf\0\0\0U\x01b[i\xffTZ]U\x01c{#U\x01U\x01xSU\x02hi}";
        assert_eq!(
            parse(bytes),
            Ok(json!({"a": [1.0, -0.5], "b": [-1, true, null], "c": {"x": "hi"}}))
        );
        assert_eq!(
            parse(b"[$Z#l\x7f\xff\xff\xff"),
            Err(UbjsonError::Marker { marker: 'Z', at: 2 })
        );
        assert_eq!(parse(&[b'['; 1000]), Err(UbjsonError::Depth(129)));
        assert_eq!(parse(b"[#i\xff"), Err(UbjsonError::Length(2)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
