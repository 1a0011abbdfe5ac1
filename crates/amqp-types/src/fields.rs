use wire::Reader;

use crate::{Items, TypeError, Value, read, skip};

/// The fields of a composite value, in order. Those that are left out at the end are null.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Fields<'a> {
    /// Those of a list.
    #[must_use]
    pub const fn new(list: Items<'a>) -> Self {
        Self { reader: Reader::new(list.bytes()), left: list.len() }
    }

    /// Those of an encoded list.
    ///
    /// # Errors
    /// When it is no list.
    pub fn of(encoded: &'a [u8]) -> Result<Self, TypeError> {
        match read(&mut Reader::new(encoded))? {
            Value::List(list) => Ok(Self::new(list)),
            _ => Err(TypeError::Field),
        }
    }

    /// The next one, whatever it is.
    ///
    /// # Errors
    /// When it is no value; so for all that follow.
    pub fn value(&mut self) -> Result<Value<'a>, TypeError> {
        if self.left == 0 {
            return Ok(Value::Null);
        }
        self.left -= 1;
        read(&mut self.reader)
    }

    /// The next one encoded; `None`: it is null.
    ///
    /// # Errors
    /// When it is no value.
    pub fn encoded(&mut self) -> Result<Option<&'a [u8]>, TypeError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        skip(&mut self.reader).map(|value| (value != NULL).then_some(value))
    }

    /// Passes over some.
    ///
    /// # Errors
    /// When one is no value.
    pub fn skip(&mut self, count: usize) -> Result<(), TypeError> {
        (0..count).try_for_each(|_| self.encoded().map(drop))
    }
}

macro_rules! typed {
    ($($(#[$doc:meta])* $name:ident: $variant:ident($type:ty)),* $(,)?) => {
        impl<'a> Fields<'a> {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// When it is no value, or one of another type.
            pub fn $name(&mut self) -> Result<Option<$type>, TypeError> {
                match self.value()? {
                    Value::$variant(value) => Ok(Some(value)),
                    Value::Null => Ok(None),
                    _ => Err(TypeError::Field),
                }
            }
        )*}
    };
}

typed! {
    /// The next one, a boolean.
    bool: Bool(bool),
    /// The next one, a `ubyte`.
    u8: U8(u8),
    /// The next one, a `ushort`.
    u16: U16(u16),
    /// The next one, a `uint`.
    u32: U32(u32),
    /// The next one, a `ulong`.
    u64: U64(u64),
    /// The next one, a timestamp.
    timestamp: Timestamp(i64),
    /// The next one, a string.
    string: String(&'a str),
    /// The next one, a symbol.
    symbol: Symbol(&'a str),
    /// The next one, bytes.
    binary: Binary(&'a [u8]),
    /// The next one, a map.
    map: Map(Items<'a>),
}

const NULL: &[u8] = &[0x40];
