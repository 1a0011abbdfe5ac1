//! Values at random, and their encodings: of those that the standard allows one at random (part 1, section 1.6).

use serde_amqp::{
    described::Described,
    descriptor::Descriptor,
    primitives::{Array, Dec32, Dec64, Dec128, OrderedMap, Symbol, Timestamp, Uuid},
    value::Value,
};
use testkit::Random;

/// A value with at most so many levels of lists, maps and described values in it.
pub fn value(random: &mut Random, depth: usize) -> Value {
    let kinds = if depth == 0 { SCALARS } else { SCALARS + 4 };
    match random.below(kinds) {
        kind if kind < SCALARS => scalar(kind, random),
        kind if kind == SCALARS => {
            let count = count(random);
            Value::List((0..count).map(|_| value(random, depth - 1)).collect())
        }
        kind if kind == SCALARS + 1 => Value::Map(map(random, depth)),
        kind if kind == SCALARS + 2 => {
            // One at least: of none fe2o3-amqp does not know of what type they are.
            let (kind, count) = (1 + random.below(SCALARS - 1), 1 + count(random));
            Value::Array(Array((0..count).map(|_| scalar(kind, random)).collect()))
        }
        _ => {
            let descriptor = match random.below(2) {
                0 => Descriptor::Code(number(random)),
                _ => Descriptor::Name(Symbol(ascii(random))),
            };
            Value::Described(Box::new(Described { descriptor, value: value(random, depth - 1) }))
        }
    }
}

/// The same, of those that serde_amqp writes right.
pub fn writable(random: &mut Random, depth: usize) -> Value {
    loop {
        let value = value(random, depth);
        if !is_written_wrong(&value) {
            return value;
        }
    }
}

/// What serde_amqp 0.18.0 writes otherwise than the standard says, or panics at: see the README.
pub fn is_written_wrong(value: &Value) -> bool {
    match value {
        Value::Array(array) => array.iter().any(|item| match item {
            Value::String(text) => !text.is_ascii(),
            _ => false,
        }),
        Value::List(items) => items.iter().any(is_written_wrong),
        Value::Described(described) => is_written_wrong(&described.value),
        Value::Map(map) => {
            let leaks = |key: &_| {
                matches!(
                    key,
                    Value::Timestamp(_)
                        | Value::Uuid(_)
                        | Value::Decimal32(_)
                        | Value::Decimal64(_)
                        | Value::Decimal128(_)
                )
            };
            map.iter().any(|(key, value)| leaks(key) || is_written_wrong(value))
        }
        _ => false,
    }
}

fn map(random: &mut Random, depth: usize) -> OrderedMap<Value, Value> {
    let mut map = OrderedMap::new();
    for _ in 0..count(random) {
        map.insert(value(random, 0), value(random, depth - 1));
    }
    map
}

/// How many items: few, or more than fit a count of one byte.
fn count(random: &mut Random) -> usize {
    if random.once_in(40) { 300 } else { random.below(6) }
}

/// Types without parts.
const SCALARS: usize = 21;

fn scalar(kind: usize, random: &mut Random) -> Value {
    match kind {
        0 => Value::Null,
        1 => Value::Bool(random.once_in(2)),
        2 => Value::Ubyte(random.bits() as u8),
        3 => Value::Ushort(random.bits() as u16),
        4 => Value::Uint(number(random) as u32),
        5 => Value::Ulong(number(random)),
        6 => Value::Byte(random.bits() as i8),
        7 => Value::Short(random.bits() as i16),
        8 => Value::Int(number(random) as i32),
        9 => Value::Long(number(random) as i64),
        10 => Value::Float(f32::from_bits(random.bits() as u32).into()),
        11 => Value::Double(f64::from_bits(random.bits()).into()),
        12 => Value::Decimal32(Dec32::from((random.bits() as u32).to_be_bytes())),
        13 => Value::Decimal64(Dec64::from(random.bits().to_be_bytes())),
        14 => Value::Decimal128(Dec128::from(wide(random).to_be_bytes())),
        15 => Value::Char(random.pick(&['\0', 'a', 'ß', '€', '\u{10ffff}'])),
        16 => Value::Timestamp(Timestamp::from_milliseconds(random.bits() as i64)),
        17 => Value::Uuid(Uuid::from(wide(random).to_be_bytes())),
        18 => {
            Value::Binary((0..len(random)).map(|_| random.bits() as u8).collect::<Vec<_>>().into())
        }
        19 => Value::String(
            (0..len(random) / 3).map(|_| random.pick(&['a', 'ß', '€', '𝄞'])).collect(),
        ),
        _ => Value::Symbol(Symbol(ascii(random))),
    }
}

/// Numbers around the bounds of the encodings, and any others.
fn number(random: &mut Random) -> u64 {
    match random.below(3) {
        0 => random.pick(&[0, 1, 127, 128, 255, 256, u64::MAX, u64::MAX - 127, u64::MAX - 128]),
        1 => random.bits() % 300,
        _ => random.bits(),
    }
}

fn wide(random: &mut Random) -> u128 {
    u128::from(random.bits()) << 64 | u128::from(random.bits())
}

/// A length: mostly short, around 255, or longer.
fn len(random: &mut Random) -> usize {
    match random.below(8) {
        0 => 250 + random.below(12),
        1 => random.below(2000),
        _ => random.below(12),
    }
}

pub fn ascii(random: &mut Random) -> String {
    (0..len(random)).map(|_| random.pick(&['a', 'Z', '0', ':', '-'])).collect()
}

/// A value in one of its encodings.
pub fn encode(value: &Value, random: &mut Random, to: &mut Vec<u8>) {
    if let Value::Described(described) = value {
        to.push(0);
        let descriptor = match &described.descriptor {
            Descriptor::Code(code) => Value::Ulong(*code),
            Descriptor::Name(name) => Value::Symbol(name.clone()),
        };
        encode(&descriptor, random, to);
        return encode(&described.value, random, to);
    }
    let mut content = Vec::new();
    let code = random.pick(&constructors(value));
    write(code, value, random, &mut content);
    // What may have a size of one byte may have too many for it.
    if matches!(code >> 4, 0xc | 0xe) && (content.len() > 254 || items(value) > 255) {
        to.push(code + 0x10);
        return append_compound(code + 0x10, items(value), &content, to);
    }
    to.push(code);
    if matches!(code >> 4, 0xc..=0xf) {
        append_compound(code, items(value), &content, to);
    } else {
        to.append(&mut content);
    }
}

fn append_compound(code: u8, count: usize, content: &[u8], to: &mut Vec<u8>) {
    if matches!(code >> 4, 0xc | 0xe) {
        to.extend([content.len() as u8 + 1, count as u8]);
    } else {
        to.extend((content.len() as u32 + 4).to_be_bytes());
        to.extend((count as u32).to_be_bytes());
    }
    to.extend_from_slice(content);
}

fn items(value: &Value) -> usize {
    match value {
        Value::List(items) => items.len(),
        Value::Map(map) => 2 * map.len(),
        Value::Array(array) => array.len(),
        _ => 0,
    }
}

/// The constructors that a value may have.
fn constructors(value: &Value) -> Vec<u8> {
    let some =
        |all: &[(u8, bool)]| all.iter().filter(|(_, fits)| *fits).map(|(code, _)| *code).collect();
    match value {
        Value::Null => vec![0x40],
        Value::Bool(value) => vec![0x56, if *value { 0x41 } else { 0x42 }],
        Value::Ubyte(_) => vec![0x50],
        Value::Ushort(_) => vec![0x60],
        Value::Uint(value) => some(&[(0x70, true), (0x52, *value < 256), (0x43, *value == 0)]),
        Value::Ulong(value) => some(&[(0x80, true), (0x53, *value < 256), (0x44, *value == 0)]),
        Value::Byte(_) => vec![0x51],
        Value::Short(_) => vec![0x61],
        Value::Int(value) => some(&[(0x71, true), (0x54, i8::try_from(*value).is_ok())]),
        Value::Long(value) => some(&[(0x81, true), (0x55, i8::try_from(*value).is_ok())]),
        Value::Float(_) => vec![0x72],
        Value::Double(_) => vec![0x82],
        Value::Decimal32(_) => vec![0x74],
        Value::Decimal64(_) => vec![0x84],
        Value::Decimal128(_) => vec![0x94],
        Value::Char(_) => vec![0x73],
        Value::Timestamp(_) => vec![0x83],
        Value::Uuid(_) => vec![0x98],
        Value::Binary(bytes) => some(&[(0xb0, true), (0xa0, bytes.len() < 256)]),
        Value::String(text) => some(&[(0xb1, true), (0xa1, text.len() < 256)]),
        Value::Symbol(symbol) => some(&[(0xb3, true), (0xa3, symbol.0.len() < 256)]),
        Value::List(items) => some(&[(0xd0, true), (0xc0, true), (0x45, items.is_empty())]),
        Value::Map(_) => vec![0xc1, 0xd1],
        Value::Array(_) => vec![0xe0, 0xf0],
        Value::Described(_) => unreachable!("it has a descriptor first"),
    }
}

/// What follows a constructor; of compounds and arrays what follows the count.
fn write(code: u8, value: &Value, random: &mut Random, to: &mut Vec<u8>) {
    match value {
        Value::Bool(value) if code == 0x56 => to.push(u8::from(*value)),
        Value::Null | Value::Bool(_) => {}
        Value::Ubyte(value) => to.push(*value),
        Value::Ushort(value) => to.extend(value.to_be_bytes()),
        Value::Uint(value) => tail(code, &value.to_be_bytes(), to),
        Value::Ulong(value) => tail(code, &value.to_be_bytes(), to),
        Value::Byte(value) => to.extend(value.to_be_bytes()),
        Value::Short(value) => to.extend(value.to_be_bytes()),
        Value::Int(value) => tail(code, &value.to_be_bytes(), to),
        Value::Long(value) => tail(code, &value.to_be_bytes(), to),
        Value::Float(value) => to.extend(value.to_be_bytes()),
        Value::Double(value) => to.extend(value.to_be_bytes()),
        Value::Decimal32(value) => to.extend(value.as_inner()),
        Value::Decimal64(value) => to.extend(value.as_inner()),
        Value::Decimal128(value) => to.extend(value.as_inner()),
        Value::Char(value) => to.extend(u32::from(*value).to_be_bytes()),
        Value::Timestamp(value) => to.extend(value.milliseconds().to_be_bytes()),
        Value::Uuid(value) => to.extend(value.as_inner()),
        Value::Binary(bytes) => variable(code, bytes, to),
        Value::String(text) => variable(code, text.as_bytes(), to),
        Value::Symbol(symbol) => variable(code, symbol.0.as_bytes(), to),
        Value::List(items) => items.iter().for_each(|item| encode(item, random, to)),
        Value::Map(map) => {
            for (key, value) in map.iter() {
                encode(key, random, to);
                encode(value, random, to);
            }
        }
        Value::Array(array) => {
            // One that all may have.
            let all = array.iter().map(constructors);
            let common = all
                .reduce(|some, other| some.into_iter().filter(|one| other.contains(one)).collect());
            let code = random.pick(&common.unwrap_or_else(|| vec![0x40]));
            to.push(code);
            array.iter().for_each(|item| write(code, item, random, to));
        }
        Value::Described(_) => unreachable!("it has a descriptor first"),
    }
}

/// The last bytes of a number: as many as the constructor's width.
fn tail(code: u8, bytes: &[u8], to: &mut Vec<u8>) {
    let width = match code >> 4 {
        4 => 0,
        5 => 1,
        _ => bytes.len(),
    };
    to.extend_from_slice(&bytes[bytes.len() - width..]);
}

fn variable(code: u8, bytes: &[u8], to: &mut Vec<u8>) {
    if code >> 4 == 0xa {
        to.push(bytes.len() as u8);
    } else {
        to.extend((bytes.len() as u32).to_be_bytes());
    }
    to.extend_from_slice(bytes);
}
