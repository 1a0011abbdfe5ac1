//! What Apache Qpid Proton has encoded is read as it was.
//!
//! `tests/interop/proton/encodings_of_proton.py` makes the file, and says how its lines are to be read.

use amqp_types::{Descriptor, Value, check, read};
use wire::Reader;

const VECTORS: &str = include_str!("vectors/proton.txt");

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
