/// Appends values to a buffer, each in its shortest encoding.
#[derive(Debug)]
pub struct Writer<'a> {
    to: &'a mut Vec<u8>,
    count: usize,
    /// Where the last value that is not null ends, and how many there are up to it.
    solid: (usize, usize),
}

impl<'a> Writer<'a> {
    /// Appends to this.
    pub const fn new(to: &'a mut Vec<u8>) -> Self {
        let end = to.len();
        Self { to, count: 0, solid: (end, 0) }
    }

    const fn wrote(&mut self) {
        self.count += 1;
        self.solid = (self.to.len(), self.count);
    }

    fn fixed<const N: usize>(&mut self, code: u8, bytes: [u8; N]) {
        self.to.push(code);
        self.to.extend_from_slice(&bytes);
        self.wrote();
    }

    fn variable(&mut self, short: u8, long: u8, bytes: &[u8]) {
        match u8::try_from(bytes.len()) {
            Ok(len) => self.to.extend_from_slice(&[short, len]),
            Err(_) => {
                self.to.push(long);
                self.to.extend_from_slice(&len32(bytes.len()));
            }
        }
        self.to.extend_from_slice(bytes);
        self.wrote();
    }

    /// Null. At the end of a composite nothing is written for it.
    pub fn null(&mut self) {
        self.to.push(0x40);
        self.count += 1;
    }

    /// A boolean.
    pub fn bool(&mut self, value: bool) {
        self.fixed(if value { 0x41 } else { 0x42 }, []);
    }

    /// A `ubyte`.
    pub fn u8(&mut self, value: u8) {
        self.fixed(0x50, [value]);
    }

    /// A `ushort`.
    pub fn u16(&mut self, value: u16) {
        self.fixed(0x60, value.to_be_bytes());
    }

    /// A `uint`.
    pub fn u32(&mut self, value: u32) {
        match u8::try_from(value) {
            Ok(0) => self.fixed(0x43, []),
            Ok(small) => self.fixed(0x52, [small]),
            Err(_) => self.fixed(0x70, value.to_be_bytes()),
        }
    }

    /// A `ulong`.
    pub fn u64(&mut self, value: u64) {
        match u8::try_from(value) {
            Ok(0) => self.fixed(0x44, []),
            Ok(small) => self.fixed(0x53, [small]),
            Err(_) => self.fixed(0x80, value.to_be_bytes()),
        }
    }

    /// A `byte`.
    pub fn i8(&mut self, value: i8) {
        self.fixed(0x51, value.to_be_bytes());
    }

    /// A `short`.
    pub fn i16(&mut self, value: i16) {
        self.fixed(0x61, value.to_be_bytes());
    }

    /// An `int`.
    pub fn i32(&mut self, value: i32) {
        match i8::try_from(value) {
            Ok(small) => self.fixed(0x54, small.to_be_bytes()),
            Err(_) => self.fixed(0x71, value.to_be_bytes()),
        }
    }

    /// A `long`.
    pub fn i64(&mut self, value: i64) {
        match i8::try_from(value) {
            Ok(small) => self.fixed(0x55, small.to_be_bytes()),
            Err(_) => self.fixed(0x81, value.to_be_bytes()),
        }
    }

    /// A `float`.
    pub fn f32(&mut self, value: f32) {
        self.fixed(0x72, value.to_be_bytes());
    }

    /// A `double`.
    pub fn f64(&mut self, value: f64) {
        self.fixed(0x82, value.to_be_bytes());
    }

    /// A timestamp, in milliseconds since 1970.
    pub fn timestamp(&mut self, value: i64) {
        self.fixed(0x83, value.to_be_bytes());
    }

    /// Bytes.
    pub fn binary(&mut self, value: &[u8]) {
        self.variable(0xa0, 0xb0, value);
    }

    /// A string.
    pub fn string(&mut self, value: &str) {
        self.variable(0xa1, 0xb1, value.as_bytes());
    }

    /// A symbol.
    pub fn symbol(&mut self, value: &str) {
        self.variable(0xa3, 0xb3, value.as_bytes());
    }

    /// A string, or null.
    pub fn string_or_null(&mut self, value: Option<&str>) {
        match value {
            Some(value) => self.string(value),
            None => self.null(),
        }
    }

    /// A `uint`, or null.
    pub fn u32_or_null(&mut self, value: Option<u32>) {
        match value {
            Some(value) => self.u32(value),
            None => self.null(),
        }
    }

    /// A value that is encoded already, or null.
    pub fn encoded(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => {
                self.to.extend_from_slice(value);
                self.wrote();
            }
            None => self.null(),
        }
    }

    /// An array of symbols; null for none.
    pub fn symbols(&mut self, symbols: &[&str]) {
        if symbols.is_empty() {
            return self.null();
        }
        let bytes: usize = symbols.iter().map(|symbol| 4 + symbol.len()).sum();
        self.to.push(0xf0);
        self.to.extend_from_slice(&len32(4 + 1 + bytes));
        self.to.extend_from_slice(&len32(symbols.len()));
        self.to.push(0xb3);
        for symbol in symbols {
            self.to.extend_from_slice(&len32(symbol.len()));
            self.to.extend_from_slice(symbol.as_bytes());
        }
        self.wrote();
    }

    /// A list, whose nulls at the end are left out: the fields of a composite.
    pub fn list(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        self.compound([0xc0, 0xd0], true, write);
    }

    /// A map: keys and values in turn.
    pub fn map(&mut self, write: impl FnOnce(&mut Writer<'_>)) {
        self.compound([0xc1, 0xd1], false, write);
    }

    /// A list with a numeric descriptor.
    pub fn composite(&mut self, code: u8, write: impl FnOnce(&mut Writer<'_>)) {
        self.descriptor(code);
        self.list(write);
    }

    /// A numeric descriptor: the value follows.
    pub fn descriptor(&mut self, code: u8) {
        self.to.extend_from_slice(&[0x00, 0x53, code]);
    }

    fn compound(
        &mut self,
        [short, long]: [u8; 2],
        is_list: bool,
        write: impl FnOnce(&mut Writer<'_>),
    ) {
        let start = self.to.len();
        self.to.extend_from_slice(&[short, 0, 0]);
        let mut inner = Writer::new(self.to);
        write(&mut inner);
        let (end, count) = if is_list { inner.solid } else { (inner.to.len(), inner.count) };
        self.to.truncate(end);
        let len = self.to.len() - start - 3;
        if is_list && count == 0 {
            self.to.truncate(start);
            self.to.push(0x45);
        } else if let (Ok(size), Ok(count)) = (u8::try_from(len + 1), u8::try_from(count)) {
            if let Some([_, at_size, at_count]) = self.to.get_mut(start..start + 3) {
                (*at_size, *at_count) = (size, count);
            }
        } else {
            let mut header = [long, 0, 0, 0, 0, 0, 0, 0, 0];
            let (_, numbers) = header.split_at_mut(1);
            let (size, items) = numbers.split_at_mut(4);
            size.copy_from_slice(&len32(len + 4));
            items.copy_from_slice(&len32(count));
            self.to.splice(start..start + 3, header);
        }
        self.wrote();
    }
}

/// A length or count. What is written here is far smaller than 4 GiB.
fn len32(len: usize) -> [u8; 4] {
    u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes()
}
