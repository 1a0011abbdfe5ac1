use wire::Reader;

use crate::{Array, Items};

/// A value, as it lies in what was received.
#[derive(Clone, Copy, Debug, PartialEq)]
#[expect(missing_docs, reason = "each is a primitive type of the standard, section 1.6")]
pub enum Value<'a> {
    Null,
    Bool(bool),
    U8(u8),
    U16(u16),
    U32(u32),
    U64(u64),
    I8(i8),
    I16(i16),
    I32(i32),
    I64(i64),
    F32(f32),
    F64(f64),
    /// A `decimal32`, `decimal64` or `decimal128`, encoded.
    Decimal(&'a [u8]),
    Char(u32),
    /// Milliseconds since 1970.
    Timestamp(i64),
    Uuid([u8; 16]),
    Binary(&'a [u8]),
    String(&'a str),
    Symbol(&'a str),
    List(Items<'a>),
    /// Keys and values in turn.
    Map(Items<'a>),
    Array(Array<'a>),
    /// A value with a descriptor, and the value encoded.
    Described(Descriptor<'a>, &'a [u8]),
}

/// What says of a value what it stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Descriptor<'a> {
    /// A number: domain and id.
    Code(u64),
    /// A symbol.
    Symbol(&'a str),
    /// Any other value, which is reserved.
    Other,
}

/// Why bytes are no value.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TypeError {
    /// It ends before it is complete.
    #[error("a value ends before it is complete")]
    Truncated,
    /// No type has this constructor.
    #[error("0x{0:02x} is the constructor of no type")]
    Constructor(u8),
    /// A string or symbol that is not UTF-8, or a boolean that is neither 0 nor 1.
    #[error("a value that its type does not have")]
    Content,
    /// A list, map or array with another number of items than it says.
    #[error("a list, map or array has another number of items than it says")]
    Count,
    /// Values nested deeper than 32 levels.
    #[error("values are nested deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// A field of a composite has another type than the standard gives it.
    #[error("a field has another type than it must have")]
    Field,
    /// A field that must be there is not.
    #[error("a mandatory field is missing")]
    Missing,
}

/// Reads the next value.
///
/// # Errors
/// When it is none.
pub fn read<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, TypeError> {
    let code = reader.u8().ok_or(TypeError::Truncated)?;
    if code == DESCRIBED {
        let descriptor = descriptor(reader)?;
        return Ok(Value::Described(descriptor, skip(reader)?));
    }
    read_content(code, reader)
}

/// Reads what follows the constructor of a value that has no descriptor.
pub(crate) fn read_content<'a>(code: u8, reader: &mut Reader<'a>) -> Result<Value<'a>, TypeError> {
    let content = content(code, reader)?;
    let mut inner = Reader::new(content);
    let value = match code {
        0x40 => Some(Value::Null),
        0x41 => Some(Value::Bool(true)),
        0x42 => Some(Value::Bool(false)),
        0x43 => Some(Value::U32(0)),
        0x44 => Some(Value::U64(0)),
        0x45 => Some(Value::List(Items::default())),
        0x50 => inner.u8().map(Value::U8),
        0x51 => inner.array().map(i8::from_be_bytes).map(Value::I8),
        0x52 => inner.u8().map(|small| Value::U32(small.into())),
        0x53 => inner.u8().map(|small| Value::U64(small.into())),
        0x54 => inner.array().map(i8::from_be_bytes).map(|small| Value::I32(small.into())),
        0x55 => inner.array().map(i8::from_be_bytes).map(|small| Value::I64(small.into())),
        0x56 => match content {
            [0] => Some(Value::Bool(false)),
            [1] => Some(Value::Bool(true)),
            _ => return Err(TypeError::Content),
        },
        0x60 => inner.u16().map(Value::U16),
        0x61 => inner.array().map(i16::from_be_bytes).map(Value::I16),
        0x70 => inner.u32().map(Value::U32),
        0x71 => inner.array().map(i32::from_be_bytes).map(Value::I32),
        0x72 => inner.array().map(f32::from_be_bytes).map(Value::F32),
        0x73 => inner.u32().map(Value::Char),
        0x74 | 0x84 | 0x94 => Some(Value::Decimal(content)),
        0x80 => inner.u64().map(Value::U64),
        0x81 => inner.array().map(i64::from_be_bytes).map(Value::I64),
        0x82 => inner.array().map(f64::from_be_bytes).map(Value::F64),
        0x83 => inner.array().map(i64::from_be_bytes).map(Value::Timestamp),
        0x98 => inner.array().map(Value::Uuid),
        0xa0 | 0xb0 => Some(Value::Binary(content)),
        0xa1 | 0xb1 => Some(Value::String(utf8(content)?)),
        0xa3 | 0xb3 => Some(Value::Symbol(utf8(content)?)),
        0xc0 => return Ok(Value::List(Items::read8(&mut inner)?)),
        0xd0 => return Ok(Value::List(Items::read32(&mut inner)?)),
        0xc1 => return Ok(Value::Map(Items::read8(&mut inner)?)),
        0xd1 => return Ok(Value::Map(Items::read32(&mut inner)?)),
        0xe0 => return Ok(Value::Array(Array::read8(&mut inner)?)),
        0xf0 => return Ok(Value::Array(Array::read32(&mut inner)?)),
        _ => return Err(TypeError::Constructor(code)),
    };
    value.ok_or(TypeError::Truncated)
}

/// Passes over the next value; returns it encoded.
///
/// # Errors
/// When it ends too early, or no value can begin so.
#[inline]
pub fn skip<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], TypeError> {
    let len = encoded_len(reader.rest());
    match len.and_then(|len| reader.take(len)) {
        Some(value) => Ok(value),
        None => skip_any(reader),
    }
}

/// How long the encoding of the next value is, if it has no descriptor.
#[inline]
fn encoded_len(bytes: &[u8]) -> Option<usize> {
    let (&code, rest) = bytes.split_first()?;
    let len = match code >> 4 {
        0x4 => 0,
        0x5 => 1,
        0x6 => 2,
        0x7 => 4,
        0x8 => 8,
        0x9 => 16,
        0xa | 0xc | 0xe => 1 + usize::from(*rest.first()?),
        0xb | 0xd | 0xf => 4 + u32::from_be_bytes(*rest.first_chunk()?) as usize,
        _ => return None,
    };
    Some(1 + len)
}

/// The same for any, and for what is none.
fn skip_any<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], TypeError> {
    let (all, start) = (reader.rest(), reader.position());
    for _ in 0..DEPTH_MAX {
        let code = reader.u8().ok_or(TypeError::Truncated)?;
        if code == DESCRIBED {
            descriptor(reader)?;
            continue;
        }
        content(code, reader)?;
        return all.get(..reader.position() - start).ok_or(TypeError::Truncated);
    }
    Err(TypeError::TooDeep)
}

/// Reads a descriptor, which follows the byte 0.
///
/// # Errors
/// When it is no value, or a value that is described itself.
pub fn descriptor<'a>(reader: &mut Reader<'a>) -> Result<Descriptor<'a>, TypeError> {
    let code = reader.u8().ok_or(TypeError::Truncated)?;
    match code {
        // By far the most.
        0x53 => reader.u8().map(|small| Descriptor::Code(small.into())).ok_or(TypeError::Truncated),
        DESCRIBED => Err(TypeError::TooDeep),
        _ => Ok(match read_content(code, reader)? {
            Value::U64(code) => Descriptor::Code(code),
            Value::Symbol(symbol) => Descriptor::Symbol(symbol),
            _ => Descriptor::Other,
        }),
    }
}

/// Looks at all of a value, which must be all that `bytes` contains.
///
/// # Errors
/// When some part of it is malformed.
#[inline]
pub fn check(bytes: &[u8]) -> Result<(), TypeError> {
    let mut reader = Reader::new(bytes);
    take_checked(&mut reader, 0)?;
    if reader.is_empty() { Ok(()) } else { Err(TypeError::Count) }
}

/// Looks at all of the next value; returns it encoded.
#[inline]
pub(crate) fn take_checked<'a>(
    reader: &mut Reader<'a>,
    depth: usize,
) -> Result<&'a [u8], TypeError> {
    if depth > DEPTH_MAX {
        return Err(TypeError::TooDeep);
    }
    let all = reader.rest();
    let (&code, rest) = all.split_first().ok_or(TypeError::Truncated)?;
    let (len, is_text) = match code {
        0xa1 | 0xa3 => (2 + usize::from(*rest.first().ok_or(TypeError::Truncated)?), true),
        0xa0 => (2 + usize::from(*rest.first().ok_or(TypeError::Truncated)?), false),
        // Those that any bytes are a value of.
        0x40..=0x45 => (1, false),
        0x50..=0x55 => (2, false),
        0x60 | 0x61 => (3, false),
        0x70..=0x74 => (5, false),
        0x80..=0x84 => (9, false),
        0x94 | 0x98 => (17, false),
        _ => {
            check_next(reader, depth)?;
            return all.get(..all.len() - reader.len()).ok_or(TypeError::Truncated);
        }
    };
    let value = reader.take(len).ok_or(TypeError::Truncated)?;
    if is_text && !value.get(2..).is_some_and(wire::is_text) {
        return Err(TypeError::Content);
    }
    Ok(value)
}

fn check_next(reader: &mut Reader<'_>, depth: usize) -> Result<(), TypeError> {
    if depth > DEPTH_MAX {
        return Err(TypeError::TooDeep);
    }
    match read(reader)? {
        Value::List(items) => items.check(depth),
        Value::Map(items) if items.len() % 2 == 0 => items.check(depth),
        Value::Map(_) => Err(TypeError::Count),
        Value::Array(array) => array.check(depth),
        Value::Described(_, inner) => take_checked(&mut Reader::new(inner), depth + 1).map(drop),
        _ => Ok(()),
    }
}

/// The bytes that follow a constructor: of a list, a map or an array, its count and its items.
fn content<'a>(code: u8, reader: &mut Reader<'a>) -> Result<&'a [u8], TypeError> {
    let len = match code >> 4 {
        0x4 => 0,
        0x5 => 1,
        0x6 => 2,
        0x7 => 4,
        0x8 => 8,
        0x9 => 16,
        0xa | 0xc | 0xe => reader.u8().ok_or(TypeError::Truncated)?.into(),
        0xb | 0xd | 0xf => reader.u32().ok_or(TypeError::Truncated)? as usize,
        _ => return Err(TypeError::Constructor(code)),
    };
    reader.take(len).ok_or(TypeError::Truncated)
}

fn utf8(bytes: &[u8]) -> Result<&str, TypeError> {
    str::from_utf8(bytes).map_err(|_| TypeError::Content)
}

/// What stands before a descriptor.
pub(crate) const DESCRIBED: u8 = 0;

/// Levels in which values may be nested.
const DEPTH_MAX: usize = 32;

impl<'a> Value<'a> {
    /// The text of a string or symbol.
    #[must_use]
    pub const fn text(self) -> Option<&'a str> {
        match self {
            Self::String(text) | Self::Symbol(text) => Some(text),
            _ => None,
        }
    }

    /// The symbols of a field that may have several: one, or an array of them.
    pub fn symbols(self) -> impl Iterator<Item = &'a str> {
        let (one, many) = match self {
            Self::Symbol(symbol) => (Some(symbol), None),
            Self::Array(array) => (None, Some(array)),
            _ => (None, None),
        };
        let many = many.into_iter().flat_map(Array::iter);
        one.into_iter().chain(many.filter_map(|item| item.ok().and_then(Value::text)))
    }
}
