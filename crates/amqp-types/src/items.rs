use wire::Reader;

use crate::{
    TypeError, Value,
    value::{DESCRIBED, descriptor, read, read_content, take_checked},
};

/// The items of a list, or the keys and values of a map.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Items<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Items<'a> {
    #[inline]
    pub(crate) fn read8(reader: &mut Reader<'a>) -> Result<Self, TypeError> {
        let count = reader.u8().ok_or(TypeError::Truncated)?.into();
        Self::new(count, reader.rest())
    }

    pub(crate) fn read32(reader: &mut Reader<'a>) -> Result<Self, TypeError> {
        let count = reader.u32().ok_or(TypeError::Truncated)? as usize;
        Self::new(count, reader.rest())
    }

    /// Each item has a byte at least.
    const fn new(count: usize, bytes: &'a [u8]) -> Result<Self, TypeError> {
        if count <= bytes.len() { Ok(Self { count, bytes }) } else { Err(TypeError::Count) }
    }

    /// How many there are, as it says.
    #[must_use]
    pub const fn len(self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.count == 0
    }

    /// The items encoded.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// All of them, up to the first that is no value.
    pub fn iter(self) -> impl Iterator<Item = Value<'a>> {
        let mut reader = Reader::new(self.bytes);
        (0..self.count).map_while(move |_| read(&mut reader).ok())
    }

    /// The keys and values of a map.
    pub fn pairs(self) -> impl Iterator<Item = (Value<'a>, Value<'a>)> {
        let mut reader = Reader::new(self.bytes);
        (0..self.count / 2)
            .map_while(move |_| Some((read(&mut reader).ok()?, read(&mut reader).ok()?)))
    }

    /// The value of a map under a string or symbol.
    #[must_use]
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        self.pairs().find_map(|(one, value)| (one.text() == Some(key)).then_some(value))
    }

    /// Looks at all of a map, and hands out its keys and values, encoded.
    ///
    /// # Errors
    /// When some part of it is malformed, or `each` fails.
    #[inline]
    pub fn check_pairs(
        self,
        mut each: impl FnMut(&'a [u8], &'a [u8]) -> Result<(), TypeError>,
    ) -> Result<(), TypeError> {
        if !self.count.is_multiple_of(2) {
            return Err(TypeError::Count);
        }
        let mut reader = Reader::new(self.bytes);
        for _ in 0..self.count / 2 {
            let key = take_checked(&mut reader, 1)?;
            each(key, take_checked(&mut reader, 1)?)?;
        }
        if reader.is_empty() { Ok(()) } else { Err(TypeError::Count) }
    }

    /// Those of an encoded list or map whose constructor is one of these.
    #[inline]
    pub(crate) fn of(encoded: &'a [u8], [short, long]: [u8; 2]) -> Result<Self, TypeError> {
        let mut reader = Reader::new(encoded);
        match reader.u8() {
            Some(code) if code == short => {
                let len = reader.u8().ok_or(TypeError::Truncated)?.into();
                let items = reader.take(len).ok_or(TypeError::Truncated)?;
                Self::read8(&mut Reader::new(items))
            }
            Some(code) if code == long => {
                let len = reader.u32().ok_or(TypeError::Truncated)? as usize;
                let items = reader.take(len).ok_or(TypeError::Truncated)?;
                Self::read32(&mut Reader::new(items))
            }
            _ => match read(&mut Reader::new(encoded))? {
                // The empty list has a constructor of its own.
                Value::List(items) if short == LIST => Ok(items),
                _ => Err(TypeError::Field),
            },
        }
    }

    /// Those of an encoded map.
    ///
    /// # Errors
    /// When it is none.
    #[inline]
    pub fn of_map(encoded: &'a [u8]) -> Result<Self, TypeError> {
        Self::of(encoded, [0xc1, 0xd1])
    }

    pub(crate) fn check(self, depth: usize) -> Result<(), TypeError> {
        let mut reader = Reader::new(self.bytes);
        for _ in 0..self.count {
            take_checked(&mut reader, depth + 1)?;
        }
        if reader.is_empty() { Ok(()) } else { Err(TypeError::Count) }
    }
}

/// Values of one type.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Array<'a> {
    count: usize,
    /// The constructor of each.
    code: u8,
    bytes: &'a [u8],
}

impl<'a> Array<'a> {
    pub(crate) fn read8(reader: &mut Reader<'a>) -> Result<Self, TypeError> {
        let count = reader.u8().ok_or(TypeError::Truncated)?.into();
        Self::new(count, reader)
    }

    pub(crate) fn read32(reader: &mut Reader<'a>) -> Result<Self, TypeError> {
        let count = reader.u32().ok_or(TypeError::Truncated)? as usize;
        Self::new(count, reader)
    }

    fn new(count: usize, reader: &mut Reader<'a>) -> Result<Self, TypeError> {
        let mut code = reader.u8().ok_or(TypeError::Truncated)?;
        if code == DESCRIBED {
            descriptor(reader)?;
            code = reader.u8().ok_or(TypeError::Truncated)?;
        }
        let count_max = if has_no_bytes(code) { WITHOUT_BYTES_MAX } else { reader.len() };
        if count > count_max {
            return Err(TypeError::Count);
        }
        Ok(Self { count, code, bytes: reader.rest() })
    }

    /// How many there are.
    #[must_use]
    pub const fn len(self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.count == 0
    }

    /// All of them; of described values the values.
    pub fn iter(self) -> impl Iterator<Item = Result<Value<'a>, TypeError>> {
        let mut reader = Reader::new(self.bytes);
        (0..self.count).map(move |_| read_content(self.code, &mut reader))
    }

    pub(crate) fn check(self, depth: usize) -> Result<(), TypeError> {
        let mut reader = Reader::new(self.bytes);
        // Those without bytes are all the same: a few bytes that say there are many cost no more.
        let count = if has_no_bytes(self.code) { self.count.min(1) } else { self.count };
        for _ in 0..count {
            match read_content(self.code, &mut reader)? {
                Value::List(items) | Value::Map(items) if depth < ARRAYS_DEPTH_MAX => {
                    items.check(depth + 1)?;
                }
                Value::Array(array) if depth < ARRAYS_DEPTH_MAX => array.check(depth + 1)?,
                Value::List(_) | Value::Map(_) | Value::Array(_) => return Err(TypeError::TooDeep),
                _ => {}
            }
        }
        if reader.is_empty() { Ok(()) } else { Err(TypeError::Count) }
    }
}

/// Whether values with this constructor are nothing but that.
const fn has_no_bytes(code: u8) -> bool {
    code >> 4 == 4
}

/// The constructor of a short list.
pub(crate) const LIST: u8 = 0xc0;
/// Items of an array that have no bytes, such as nulls: more of them are no use, but work.
const WITHOUT_BYTES_MAX: usize = 1 << 10;
/// Levels of arrays in arrays.
const ARRAYS_DEPTH_MAX: usize = 32;
