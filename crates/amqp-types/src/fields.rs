use wire::Reader;

use crate::{Items, TypeError, Value, items::LIST, read, skip};

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
    #[inline]
    pub fn of(encoded: &'a [u8]) -> Result<Self, TypeError> {
        Items::of(encoded, [LIST, 0xd0]).map(Self::new)
    }

    /// Whether those that follow are null, as none is there.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.left == 0
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
    #[inline]
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
    #[inline]
    pub fn skip(&mut self, count: usize) -> Result<(), TypeError> {
        (0..count).try_for_each(|_| self.encoded().map(drop))
    }
}

macro_rules! typed {
    ($($(#[$doc:meta])* $name:ident: $type:ty, |$reader:ident| { $($code:pat => $value:expr,)* })*) => {
        impl<'a> Fields<'a> {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// When it is no value, or one of another type.
            #[inline]
            pub fn $name(&mut self) -> Result<Option<$type>, TypeError> {
                if self.left == 0 {
                    return Ok(None);
                }
                self.left -= 1;
                let mut reader = self.reader.clone();
                let $reader = &mut reader;
                let value: Option<$type> = match $reader.u8() {
                    Some(NULL_CODE) => {
                        self.reader = reader;
                        return Ok(None);
                    }
                    $(Some($code) => $value,)*
                    _ => None,
                };
                match value {
                    Some(value) => {
                        self.reader = reader;
                        Ok(Some(value))
                    }
                    None => Err(self.refused()),
                }
            }
        )*}
    };
}

typed! {
    /// The next one, a boolean.
    bool: bool, |reader| {
        0x41 => Some(true),
        0x42 => Some(false),
        0x56 => match reader.u8() { Some(0) => Some(false), Some(1) => Some(true), _ => None },
    }
    /// The next one, a `ubyte`.
    u8: u8, |reader| { 0x50 => reader.u8(), }
    /// The next one, a `ushort`.
    u16: u16, |reader| { 0x60 => reader.u16(), }
    /// The next one, a `uint`.
    u32: u32, |reader| {
        0x52 => reader.u8().map(u32::from),
        0x43 => Some(0),
        0x70 => reader.u32(),
    }
    /// The next one, a `ulong`.
    u64: u64, |reader| {
        0x53 => reader.u8().map(u64::from),
        0x44 => Some(0),
        0x80 => reader.u64(),
    }
    /// The next one, a timestamp.
    timestamp: i64, |reader| { 0x83 => reader.array().map(i64::from_be_bytes), }
    /// The next one, a string.
    string: &'a str, |reader| {
        0xa1 => short(reader).and_then(text),
        0xb1 => long(reader).and_then(text),
    }
    /// The next one, a string, as the UTF-8 that it is.
    utf8: &'a [u8], |reader| {
        0xa1 => short(reader).filter(|bytes| wire::is_text(bytes)),
        0xb1 => long(reader).filter(|bytes| wire::is_text(bytes)),
    }
    /// The next one, a symbol.
    symbol: &'a str, |reader| {
        0xa3 => short(reader).and_then(text),
        0xb3 => long(reader).and_then(text),
    }
    /// The next one, bytes.
    binary: &'a [u8], |reader| {
        0xa0 => short(reader),
        0xb0 => long(reader),
    }
}

impl<'a> Fields<'a> {
    /// The next one, a map.
    ///
    /// # Errors
    /// When it is no value, or one of another type.
    pub fn map(&mut self) -> Result<Option<Items<'a>>, TypeError> {
        match self.value()? {
            Value::Map(items) => Ok(Some(items)),
            Value::Null => Ok(None),
            _ => Err(TypeError::Field),
        }
    }

    /// Why the next one is not what it must be.
    #[cold]
    fn refused(&mut self) -> TypeError {
        read(&mut self.reader).err().unwrap_or(TypeError::Field)
    }
}

fn short<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let len = reader.u8()?;
    reader.take(len.into())
}

fn long<'a>(reader: &mut Reader<'a>) -> Option<&'a [u8]> {
    let len = reader.u32()?;
    reader.take(len as usize)
}

fn text(bytes: &[u8]) -> Option<&str> {
    str::from_utf8(bytes).ok()
}

/// The constructor of null.
const NULL_CODE: u8 = 0x40;
const NULL: &[u8] = &[0x40];
