//! What Apache Qpid Proton has encoded is read as it was, and what is written Proton reads so.
//!
//! `tests/interop/proton/encodings_of_proton.py` makes the file, and says how its lines are to be read.

use amqp_types::{Descriptor, Value, Writer, check, read};
use wire::Reader;

const VECTORS: &str = include_str!("vectors/proton.txt");
const WRITTEN: &str = include_str!("vectors/written.txt");

#[test]
fn what_proton_writes_is_read_as_it_was() {
    for line in VECTORS.lines() {
        let (bytes, wanted) = line.split_once(' ').unwrap_or_default();
        let bytes = from_hex(bytes);
        assert_eq!(check(&bytes), Ok(()), "{line}");
        assert_eq!(read(&mut Reader::new(&bytes)).map(shown).as_deref(), Ok(wanted));
    }
}

fn shown(value: Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => format!("bool:{value}"),
        Value::U8(value) => format!("ubyte:{value}"),
        Value::U16(value) => format!("ushort:{value}"),
        Value::U32(value) => format!("uint:{value}"),
        Value::U64(value) => format!("ulong:{value}"),
        Value::I8(value) => format!("byte:{value}"),
        Value::I16(value) => format!("short:{value}"),
        Value::I32(value) => format!("int:{value}"),
        Value::I64(value) => format!("long:{value}"),
        Value::F32(value) => format!("float:{:08x}", value.to_bits()),
        Value::F64(value) => format!("double:{:016x}", value.to_bits()),
        Value::Decimal(bytes) => format!("decimal:{}", hex(bytes)),
        Value::Char(value) => format!("char:{value}"),
        Value::Timestamp(value) => format!("timestamp:{value}"),
        Value::Uuid(bytes) => format!("uuid:{}", hex(&bytes)),
        Value::Binary(bytes) => format!("binary:{}", hex(bytes)),
        Value::String(text) => format!("string:{}", hex(text.as_bytes())),
        Value::Symbol(text) => format!("symbol:{}", hex(text.as_bytes())),
        Value::List(items) => format!("({})", joined(items.iter())),
        Value::Map(items) => format!("{{{}}}", joined(items.iter())),
        Value::Array(items) => format!("<{}>", joined(items.iter().flatten())),
        Value::Described(descriptor, encoded) => {
            let descriptor = match descriptor {
                Descriptor::Code(code) => Value::U64(code),
                Descriptor::Symbol(name) => Value::Symbol(name),
                Descriptor::Other => Value::Null,
            };
            let inner =
                read(&mut Reader::new(encoded)).map_or_else(|error| error.to_string(), shown);
            format!("@{} {inner}", shown(descriptor))
        }
    }
}

fn joined<'a>(items: impl Iterator<Item = Value<'a>>) -> String {
    items.map(shown).collect::<Vec<_>>().join(" ")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(digits: &str) -> Vec<u8> {
    let pairs = digits.as_bytes().chunks(2).map(|pair| str::from_utf8(pair).unwrap_or_default());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap_or_default()).collect()
}

/// The gateway writes some values again; Proton's suite reads the file as Proton does.
#[test]
fn what_is_written_is_in_the_file_that_proton_reads() {
    let mut lines = String::new();
    for line in VECTORS.lines() {
        let (bytes, notation) = line.split_once(' ').unwrap_or_default();
        let bytes = from_hex(bytes);
        let mut written = Vec::new();
        let value = read(&mut Reader::new(&bytes)).unwrap_or(Value::Null);
        if write(&mut Writer::new(&mut written), value) {
            lines += &format!("{} {notation}\n", hex(&written));
        }
    }
    assert!(lines == WRITTEN, "tests/vectors/written.txt is to be:\n{lines}");
}

/// Writes what there is a way to write.
fn write(to: &mut Writer<'_>, value: Value<'_>) -> bool {
    match value {
        Value::Null => to.null(),
        Value::Bool(value) => to.bool(value),
        Value::U8(value) => to.u8(value),
        Value::U16(value) => to.u16(value),
        Value::U32(value) => to.u32(value),
        Value::U64(value) => to.u64(value),
        Value::I8(value) => to.i8(value),
        Value::I16(value) => to.i16(value),
        Value::I32(value) => to.i32(value),
        Value::I64(value) => to.i64(value),
        Value::F32(value) => to.f32(value),
        Value::F64(value) => to.f64(value),
        Value::Timestamp(value) => to.timestamp(value),
        Value::Binary(bytes) => to.binary(bytes),
        Value::String(text) => to.string(text),
        Value::Symbol(text) => to.symbol(text),
        // A list that is written is that of a composite: it has no nulls at the end.
        Value::List(items) if items.iter().last() == Some(Value::Null) => return false,
        Value::List(items) => {
            let mut is_written = true;
            to.list(|to| is_written = items.iter().all(|item| write(to, item)));
            return is_written;
        }
        Value::Map(items) => {
            let mut is_written = true;
            to.map(|to| {
                is_written = items.pairs().all(|(key, item)| write(to, key) && write(to, item));
            });
            return is_written;
        }
        Value::Array(items) => {
            let symbols = items.iter().map(|item| match item {
                Ok(Value::Symbol(text)) => Some(text),
                _ => None,
            });
            let Some(symbols) = symbols.collect::<Option<Vec<_>>>() else { return false };
            to.symbols(&symbols);
        }
        Value::Described(Descriptor::Code(code), encoded) => {
            let Ok(code) = u8::try_from(code) else { return false };
            to.descriptor(code);
            return read(&mut Reader::new(encoded)).is_ok_and(|inner| write(to, inner));
        }
        Value::Described(..) | Value::Decimal(_) | Value::Char(_) | Value::Uuid(_) => return false,
    }
    true
}
