//! Values.

use amqp_types::{Descriptor, Value as Ours, Writer, check, read};
use serde_amqp::{from_slice, to_vec, value::Value as Theirs};
use testkit::{Random, show_bytes};
use wire::Reader;

use crate::generator;

#[test]
fn what_fe2o3_writes_is_read_as_it_was() {
    each(|value, _| {
        if generator::is_written_wrong(value) {
            return Ok(());
        }
        let bytes = to_vec(value).map_err(|error| error.to_string())?;
        we_read(&bytes, value)
    });
}

#[test]
fn what_is_written_is_read_by_fe2o3_as_it_was() {
    let mut written = 0;
    each(|value, _| {
        let mut bytes = Vec::new();
        if !write(&mut Writer::new(&mut bytes), value) {
            return Ok(());
        }
        written += 1;
        they_read(&bytes, value)
    });
    assert!(written > COUNT / 4, "{written} only: the others have a type that is not written");
}

#[test]
fn each_encoding_that_the_standard_allows_is_read_alike() {
    each(|value, random| {
        let mut bytes = Vec::new();
        generator::encode(value, random, &mut bytes);
        we_read(&bytes, value)?;
        they_read(&bytes, value)
    });
}

const COUNT: u64 = 3000;

/// Tries values; what is wrong with any is told together.
fn each(mut test: impl FnMut(&Theirs, &mut Random) -> Result<(), String>) {
    let mut faults = Vec::new();
    for seed in 0..COUNT {
        let mut random = Random::new(seed);
        let value = generator::value(&mut random, (seed % 4) as usize);
        if let Err(fault) = test(&value, &mut random) {
            faults.push(format!("{seed}: {value:?}: {fault}"));
        }
    }
    faults.sort_by_key(String::len);
    let shortest: Vec<_> = faults.iter().take(10).map(String::as_str).collect();
    assert!(faults.is_empty(), "{} faults, such as\n{}", faults.len(), shortest.join("\n"));
}

fn we_read(bytes: &[u8], value: &Theirs) -> Result<(), String> {
    let shown = show_bytes(bytes);
    check(bytes).map_err(|error| format!("{error}: {shown}"))?;
    if is_read(bytes, value) { Ok(()) } else { Err(format!("read otherwise: {shown}")) }
}

fn they_read(bytes: &[u8], value: &Theirs) -> Result<(), String> {
    let shown = show_bytes(bytes);
    let read: Theirs = from_slice(bytes).map_err(|error| format!("theirs: {error}: {shown}"))?;
    if read == *value { Ok(()) } else { Err(format!("theirs: {read:?}: {shown}")) }
}

/// Whether the gateway reads this from these bytes.
fn is_read(bytes: &[u8], value: &Theirs) -> bool {
    read(&mut Reader::new(bytes)).is_ok_and(|read| is_same(read, value))
}

fn is_same(ours: Ours<'_>, theirs: &Theirs) -> bool {
    match (ours, theirs) {
        (Ours::Null, Theirs::Null) => true,
        (Ours::Bool(a), Theirs::Bool(b)) => a == *b,
        (Ours::U8(a), Theirs::Ubyte(b)) => a == *b,
        (Ours::U16(a), Theirs::Ushort(b)) => a == *b,
        (Ours::U32(a), Theirs::Uint(b)) => a == *b,
        (Ours::U64(a), Theirs::Ulong(b)) => a == *b,
        (Ours::I8(a), Theirs::Byte(b)) => a == *b,
        (Ours::I16(a), Theirs::Short(b)) => a == *b,
        (Ours::I32(a), Theirs::Int(b)) => a == *b,
        (Ours::I64(a), Theirs::Long(b)) => a == *b,
        (Ours::F32(a), Theirs::Float(b)) => a.to_bits() == b.to_bits(),
        (Ours::F64(a), Theirs::Double(b)) => a.to_bits() == b.to_bits(),
        (Ours::Decimal(a), Theirs::Decimal32(b)) => a == b.as_inner(),
        (Ours::Decimal(a), Theirs::Decimal64(b)) => a == b.as_inner(),
        (Ours::Decimal(a), Theirs::Decimal128(b)) => a == b.as_inner(),
        (Ours::Char(a), Theirs::Char(b)) => a == u32::from(*b),
        (Ours::Timestamp(a), Theirs::Timestamp(b)) => a == b.milliseconds(),
        (Ours::Uuid(a), Theirs::Uuid(b)) => a == *b.as_inner(),
        (Ours::Binary(a), Theirs::Binary(b)) => *a == **b,
        (Ours::String(a), Theirs::String(b)) => a == b,
        (Ours::Symbol(a), Theirs::Symbol(b)) => a == b.0,
        (Ours::List(a), Theirs::List(b)) => {
            a.len() == b.len()
                && a.iter().count() == b.len()
                && a.iter().zip(b).all(|(a, b)| is_same(a, b))
        }
        (Ours::Map(a), Theirs::Map(b)) => {
            let pairs = || a.pairs().zip(b.iter());
            a.len() == 2 * b.len()
                && pairs().count() == b.len()
                && pairs().all(|((key, value), (k, v))| is_same(key, k) && is_same(value, v))
        }
        (Ours::Array(a), Theirs::Array(b)) => {
            a.len() == b.len()
                && a.iter().zip(b.iter()).all(|(a, b)| a.is_ok_and(|a| is_same(a, b)))
        }
        (Ours::Described(descriptor, bytes), Theirs::Described(b)) => {
            let is_alike = match (descriptor, &b.descriptor) {
                (Descriptor::Code(a), serde_amqp::descriptor::Descriptor::Code(b)) => a == *b,
                (Descriptor::Symbol(a), serde_amqp::descriptor::Descriptor::Name(b)) => a == b.0,
                _ => false,
            };
            is_alike && is_read(bytes, &b.value)
        }
        _ => false,
    }
}

/// Writes what the gateway has a way to write: the types that its performatives and headers have.
fn write(to: &mut Writer<'_>, value: &Theirs) -> bool {
    match value {
        Theirs::Null => to.null(),
        Theirs::Bool(value) => to.bool(*value),
        Theirs::Ubyte(value) => to.u8(*value),
        Theirs::Ushort(value) => to.u16(*value),
        Theirs::Uint(value) => to.u32(*value),
        Theirs::Ulong(value) => to.u64(*value),
        Theirs::Byte(value) => to.i8(*value),
        Theirs::Short(value) => to.i16(*value),
        Theirs::Int(value) => to.i32(*value),
        Theirs::Long(value) => to.i64(*value),
        Theirs::Float(value) => to.f32(value.0),
        Theirs::Double(value) => to.f64(value.0),
        Theirs::Timestamp(value) => to.timestamp(value.milliseconds()),
        Theirs::Binary(bytes) => to.binary(bytes),
        Theirs::String(text) => to.string(text),
        Theirs::Symbol(symbol) => to.symbol(&symbol.0),
        // A list of the gateway's is that of a composite: it has no nulls at the end.
        Theirs::List(items) if items.last() == Some(&Theirs::Null) => return false,
        Theirs::List(items) => {
            let mut is_written = true;
            to.list(|to| is_written = items.iter().all(|item| write(to, item)));
            return is_written;
        }
        Theirs::Map(map) => {
            let mut is_written = true;
            to.map(|to| {
                is_written = map.iter().all(|(key, value)| write(to, key) && write(to, value))
            });
            return is_written;
        }
        Theirs::Array(array) => {
            let symbols = array.iter().map(|item| match item {
                Theirs::Symbol(symbol) => Some(symbol.as_str()),
                _ => None,
            });
            let Some(symbols) = symbols.collect::<Option<Vec<_>>>() else { return false };
            to.symbols(&symbols);
        }
        Theirs::Described(described) => {
            let serde_amqp::descriptor::Descriptor::Code(code @ 0..256) = described.descriptor
            else {
                return false;
            };
            to.descriptor(code as u8);
            return write(to, &described.value);
        }
        Theirs::Decimal32(_)
        | Theirs::Decimal64(_)
        | Theirs::Decimal128(_)
        | Theirs::Char(_)
        | Theirs::Uuid(_) => {
            return false;
        }
    }
    true
}
