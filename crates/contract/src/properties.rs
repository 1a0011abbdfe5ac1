/// An application's own names and values, in the order in which they came, in one allocation.
///
/// ```text
/// length of the name (4 bytes) | name | type (1 byte) | value
/// ```
///
/// for each, where the value of a string or of bytes begins with its own length (4 bytes).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Properties(Vec<u8>);

/// The value of a property: what JMS and the application properties of AMQP 1.0 have in common, and
/// bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is a value of this type")]
pub enum Value<'a> {
    Null,
    Bool(bool),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    F32(f32),
    F64(f64),
    String(&'a str),
    Bytes(&'a [u8]),
}

impl Properties {
    /// None yet, with room for this many bytes: the sum of [`Properties::bytes_of`].
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// The properties of [`Properties::as_bytes`]. `None`: the bytes are not such.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut properties = Iter(bytes);
        while !properties.0.is_empty() {
            properties.next()?;
        }
        Some(Self(bytes.to_vec()))
    }

    /// All properties in the form that is drawn above, with integers in little-endian order.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Bytes that one property takes.
    #[must_use]
    pub fn bytes_of(name: &str, value: Value<'_>) -> usize {
        let value = match value {
            Value::Null => 0,
            Value::Bool(_) | Value::I8(_) => 1,
            Value::I16(_) => 2,
            Value::I32(_) | Value::F32(_) => 4,
            Value::I64(_) | Value::F64(_) => 8,
            Value::String(text) => LENGTH_BYTES + text.len(),
            Value::Bytes(bytes) => LENGTH_BYTES + bytes.len(),
        };
        1 + LENGTH_BYTES + name.len() + value
    }

    /// Adds a property. Each name and value must stay under 4 GiB, which
    /// [`crate::ConnectionLimits::message_bytes_max`] assures.
    pub fn push<'v>(&mut self, name: &str, value: impl Into<Value<'v>>) {
        self.push_counted(name.as_bytes());
        match value.into() {
            Value::Null => self.push_fixed(NULL, []),
            Value::Bool(value) => self.push_fixed(BOOL, [value.into()]),
            Value::I8(value) => self.push_fixed(I8, value.to_le_bytes()),
            Value::I16(value) => self.push_fixed(I16, value.to_le_bytes()),
            Value::I32(value) => self.push_fixed(I32, value.to_le_bytes()),
            Value::I64(value) => self.push_fixed(I64, value.to_le_bytes()),
            Value::F32(value) => self.push_fixed(F32, value.to_le_bytes()),
            Value::F64(value) => self.push_fixed(F64, value.to_le_bytes()),
            Value::String(text) => {
                self.0.push(STRING);
                self.push_counted(text.as_bytes());
            }
            Value::Bytes(bytes) => {
                self.0.push(BYTES);
                self.push_counted(bytes);
            }
        }
    }

    fn push_fixed<const N: usize>(&mut self, kind: u8, value: [u8; N]) {
        self.0.push(kind);
        self.0.extend(value);
    }

    fn push_counted(&mut self, bytes: &[u8]) {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend(length.to_le_bytes());
        self.0.extend(bytes);
    }

    /// The first value with this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Value<'_>> {
        self.iter().find_map(|(other, value)| (other == name).then_some(value))
    }

    /// All names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        Iter(&self.0)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) const fn capacity(&self) -> usize {
        self.0.capacity()
    }
}

struct Iter<'a>(&'a [u8]);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let name = str::from_utf8(self.counted()?).ok()?;
        let [kind] = self.fixed()?;
        let value = match kind {
            NULL => Value::Null,
            BOOL => Value::Bool(self.fixed()? == [1]),
            I8 => Value::I8(i8::from_le_bytes(self.fixed()?)),
            I16 => Value::I16(i16::from_le_bytes(self.fixed()?)),
            I32 => Value::I32(i32::from_le_bytes(self.fixed()?)),
            I64 => Value::I64(i64::from_le_bytes(self.fixed()?)),
            F32 => Value::F32(f32::from_le_bytes(self.fixed()?)),
            F64 => Value::F64(f64::from_le_bytes(self.fixed()?)),
            STRING => Value::String(str::from_utf8(self.counted()?).ok()?),
            BYTES => Value::Bytes(self.counted()?),
            _ => return None,
        };
        Some((name, value))
    }
}

impl<'a> Iter<'a> {
    fn fixed<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn counted(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.fixed()?);
        let (first, rest) = self.0.split_at_checked(length as usize)?;
        self.0 = rest;
        Some(first)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(text)
    }
}

const LENGTH_BYTES: usize = size_of::<u32>();

const NULL: u8 = 0;
const BOOL: u8 = 1;
const I8: u8 = 2;
const I16: u8 = 3;
const I32: u8 = 4;
const I64: u8 = 5;
const F32: u8 = 6;
const F64: u8 = 7;
const STRING: u8 = 8;
const BYTES: u8 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_types_and_their_order() {
        let all = [
            ("null", Value::Null),
            ("yes", Value::Bool(true)),
            ("no", Value::Bool(false)),
            ("byte", Value::I8(i8::MIN)),
            ("short", Value::I16(i16::MIN)),
            ("int", Value::I32(i32::MIN)),
            ("long", Value::I64(i64::MIN)),
            ("float", Value::F32(f32::MIN_POSITIVE)),
            ("double", Value::F64(f64::NEG_INFINITY)),
            ("string", Value::String("\u{e9}\0")),
            ("bytes", Value::Bytes(&[0xff, 0])),
            ("", Value::String("")),
            ("yes", Value::Bytes(&[])),
        ];
        let bytes = all.iter().map(|&(name, value)| Properties::bytes_of(name, value)).sum();
        let mut properties = Properties::with_capacity(bytes);
        for (name, value) in all {
            properties.push(name, value);
        }
        assert!(properties.iter().eq(all));
        assert_eq!(properties.capacity(), bytes, "what was foreseen");
        assert_eq!(properties.get("yes"), Some(Value::Bool(true)), "the first counts");
        assert_eq!(properties.get("other"), None);
        let bytes = properties.as_bytes();
        assert_eq!(Properties::from_bytes(bytes), Some(properties.clone()));
        let whole = (0..bytes.len()).filter(|&end| Properties::from_bytes(&bytes[..end]).is_some());
        assert_eq!(whole.count(), all.len(), "only between two properties");
        assert_eq!(Properties::from_bytes(&[0, 0, 0, 0, 10]), None, "an unknown type");
    }
}
