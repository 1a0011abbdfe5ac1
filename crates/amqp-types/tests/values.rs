//! Values that are written are read as they were, and nothing that is read makes it panic.

use amqp_types::{Descriptor, Fields, TypeError, Value, Writer, check, read, skip};
use proptest::prelude::*;
use wire::Reader;

/// Constructors of all types, and of none.
const CODES: &[u8] = &[
    0x00, 0x40, 0x41, 0x42, 0x43, 0x44, 0x45, 0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x60, 0x61,
    0x70, 0x71, 0x72, 0x73, 0x74, 0x80, 0x81, 0x82, 0x83, 0x84, 0x94, 0x98, 0xa0, 0xa1, 0xa2, 0xa3,
    0xb0, 0xb1, 0xb3, 0xc0, 0xc1, 0xd0, 0xd1, 0xe0, 0xf0, 0xff,
];

/// A value that owns its parts.
#[derive(Clone, Debug)]
enum Owned {
    Null,
    Bool(bool),
    U32(u32),
    U64(u64),
    I8(i8),
    I32(i32),
    I64(i64),
    F64(f64),
    Timestamp(i64),
    Binary(Vec<u8>),
    String(String),
    List(Vec<Self>),
    Map(Vec<(Self, Self)>),
}

fn owned() -> impl Strategy<Value = Owned> {
    let leaf = prop_oneof![
        Just(Owned::Null),
        any::<bool>().prop_map(Owned::Bool),
        prop_oneof![any::<u32>(), 0..300_u32].prop_map(Owned::U32),
        prop_oneof![any::<u64>(), 0..300_u64].prop_map(Owned::U64),
        any::<i8>().prop_map(Owned::I8),
        prop_oneof![any::<i32>(), -200..200].prop_map(Owned::I32),
        prop_oneof![any::<i64>(), -200..200_i64].prop_map(Owned::I64),
        any::<f64>().prop_filter("equal to itself", |f| !f.is_nan()).prop_map(Owned::F64),
        any::<i64>().prop_map(Owned::Timestamp),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Owned::Binary),
        ".{0,100}".prop_map(Owned::String),
    ];
    leaf.prop_recursive(4, 300, 40, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..40).prop_map(Owned::List),
            proptest::collection::vec((inner.clone(), inner), 0..20).prop_map(Owned::Map),
        ]
    })
}

fn write(writer: &mut Writer<'_>, value: &Owned) {
    match value {
        Owned::Null => writer.null(),
        Owned::Bool(value) => writer.bool(*value),
        Owned::U32(value) => writer.u32(*value),
        Owned::U64(value) => writer.u64(*value),
        Owned::I8(value) => writer.i8(*value),
        Owned::I32(value) => writer.i32(*value),
        Owned::I64(value) => writer.i64(*value),
        Owned::F64(value) => writer.f64(*value),
        Owned::Timestamp(value) => writer.timestamp(*value),
        Owned::Binary(value) => writer.binary(value),
        Owned::String(value) => writer.string(value),
        Owned::List(items) => writer.list(|inner| items.iter().for_each(|one| write(inner, one))),
        Owned::Map(pairs) => writer.map(|inner| {
            for (key, value) in pairs {
                write(inner, key);
                write(inner, value);
            }
        }),
    }
}

fn is_same(read: Value<'_>, written: &Owned) -> bool {
    match (read, written) {
        (Value::Null, Owned::Null) => true,
        (Value::Bool(a), Owned::Bool(b)) => a == *b,
        (Value::U32(a), Owned::U32(b)) => a == *b,
        (Value::U64(a), Owned::U64(b)) => a == *b,
        (Value::I8(a), Owned::I8(b)) => a == *b,
        (Value::I32(a), Owned::I32(b)) => a == *b,
        (Value::I64(a), Owned::I64(b)) | (Value::Timestamp(a), Owned::Timestamp(b)) => a == *b,
        (Value::F64(a), Owned::F64(b)) => a.to_bits() == b.to_bits(),
        (Value::Binary(a), Owned::Binary(b)) => a == *b,
        (Value::String(a), Owned::String(b)) => a == *b,
        (Value::List(items), Owned::List(list)) => {
            // Nulls at the end are left out.
            let len = list.iter().rposition(|one| !matches!(one, Owned::Null)).map_or(0, |i| i + 1);
            items.len() == len && items.iter().zip(list).all(|(a, b)| is_same(a, b))
        }
        (Value::Map(items), Owned::Map(map)) => {
            let mut pairs = items.pairs().zip(map);
            items.len() == 2 * map.len()
                && pairs.all(|((k, v), (key, value))| is_same(k, key) && is_same(v, value))
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read(value in owned()) {
        let mut bytes = Vec::new();
        write(&mut Writer::new(&mut bytes), &value);
        prop_assert_eq!(check(&bytes), Ok(()));
        prop_assert_eq!(skip(&mut Reader::new(&bytes)), Ok(&*bytes));
        prop_assert!(is_same(read(&mut Reader::new(&bytes)).unwrap(), &value));
        for end in 0..bytes.len() {
            prop_assert!(check(&bytes[..end]).is_err(), "{} of {} bytes", end, bytes.len());
        }
    }

    #[test]
    fn any_bytes_may_come(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let checked = check(&bytes);
        let mut reader = Reader::new(&bytes);
        if let Ok(value) = read(&mut reader) {
            let _ = value.symbols().count();
            if let Value::List(list) | Value::Map(list) = value {
                let _ = (list.iter().count(), list.pairs().count(), list.get("a"));
            }
        } else {
            prop_assert!(checked.is_err());
        }
        if let Ok(mut fields) = Fields::of(&bytes) {
            let _ = (fields.u32(), fields.string(), fields.skip(3), fields.value());
        }
    }
}

#[test]
fn encodings_of_the_standard_are_read() {
    let cases: &[(&str, &[u8], Value<'_>)] = &[
        ("boolean with a byte", &[0x56, 1], Value::Bool(true)),
        ("uint of one byte", &[0x52, 200], Value::U32(200)),
        ("int of one byte", &[0x54, 0xff], Value::I32(-1)),
        ("long of one byte", &[0x55, 0x80], Value::I64(-128)),
        ("ushort", &[0x60, 1, 0], Value::U16(256)),
        ("short", &[0x61, 0xff, 0xfe], Value::I16(-2)),
        ("char", &[0x73, 0, 0, 0, 65], Value::Char(65)),
        ("decimal32", &[0x74, 1, 2, 3, 4], Value::Decimal(&[1, 2, 3, 4])),
        ("uuid", &[[0x98].as_slice(), &[7; 16]].concat(), Value::Uuid([7; 16])),
        ("symbol", &[0xa3, 1, b'q'], Value::Symbol("q")),
        ("described", &[0, 0x53, 0x24, 0x45], Value::Described(Descriptor::Code(0x24), &[0x45])),
        (
            "described by a symbol",
            &[0, 0xa3, 1, b'x', 0x41],
            Value::Described(Descriptor::Symbol("x"), &[0x41]),
        ),
    ];
    for (rule, bytes, expected) in cases {
        assert_eq!(read(&mut Reader::new(bytes)), Ok(*expected), "{rule}");
        assert_eq!(check(bytes), Ok(()), "{rule}");
    }
}

#[test]
fn a_field_may_have_one_symbol_or_an_array_of_them() {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes).symbols(&["queue", "shared"]);
    let array = read(&mut Reader::new(&bytes)).unwrap();
    assert!(array.symbols().eq(["queue", "shared"]));
    assert!(Value::Symbol("topic").symbols().eq(["topic"]));
    // An array with lengths of one byte.
    let short = [0xe0, 7, 2, 0xa3, 1, b'a', 1, b'b', 0];
    assert_eq!(read(&mut Reader::new(&short)).unwrap().symbols().count(), 2);
}

#[test]
fn what_is_malformed_is_refused() {
    let mut deep = vec![0x45];
    for _ in 0..40 {
        let mut outer = vec![0xd0];
        outer.extend(u32::try_from(deep.len() + 4).unwrap().to_be_bytes());
        outer.extend(1_u32.to_be_bytes());
        outer.extend(&deep);
        deep = outer;
    }
    let cases: &[(&str, &[u8], TypeError)] = &[
        ("nothing", &[], TypeError::Truncated),
        ("half a number", &[0x70, 1, 2], TypeError::Truncated),
        ("no such constructor", &[0x4f], TypeError::Constructor(0x4f)),
        ("reserved", &[0x10], TypeError::Constructor(0x10)),
        ("a boolean of 2", &[0x56, 2], TypeError::Content),
        ("no UTF-8", &[0xa1, 1, 0xff], TypeError::Content),
        ("more items than bytes", &[0xc0, 2, 9, 0x40], TypeError::Count),
        ("fewer items than it says", &[0xc0, 3, 1, 0x40, 0x40], TypeError::Count),
        ("a key without a value", &[0xc1, 2, 1, 0x40], TypeError::Count),
        (
            "four thousand million nulls",
            &[0xf0, 0, 0, 0, 5, 255, 255, 255, 255, 0x40],
            TypeError::Count,
        ),
        ("a described descriptor", &[0, 0, 0x53, 1, 0x40, 0x40], TypeError::TooDeep),
        ("lists in lists", &deep, TypeError::TooDeep),
        ("descriptors without end", &[[0, 0x43].as_slice(); 40].concat(), TypeError::TooDeep),
        ("something behind it", &[0x40, 0x40], TypeError::Count),
    ];
    for (rule, bytes, expected) in cases {
        assert_eq!(check(bytes), Err(*expected), "{rule}");
    }
}

#[test]
fn fields_that_are_left_out_are_null() {
    let mut bytes = Vec::new();
    Writer::new(&mut bytes).list(|fields| {
        fields.u32(7);
        fields.null();
        fields.string("x");
        fields.null();
    });
    assert_eq!(bytes, [0xc0, 7, 3, 0x52, 7, 0x40, 0xa1, 1, b'x']);
    let mut fields = Fields::of(&bytes).unwrap();
    assert_eq!(fields.u32(), Ok(Some(7)));
    assert_eq!(fields.bool(), Ok(None));
    assert_eq!(fields.clone().u32(), Err(TypeError::Field));
    assert_eq!(fields.encoded(), Ok(Some(&[0xa1, 1, b'x'][..])));
    assert_eq!((fields.u16(), fields.encoded()), (Ok(None), Ok(None)));
}

/// A field as a reader of its type has it, and the same value as it is.
fn fields(
    encoded: &[u8],
) -> Vec<(&'static str, Result<String, TypeError>, Result<String, TypeError>)> {
    let mut list = vec![0xd0];
    list.extend(u32::try_from(encoded.len() + 4).expect("short").to_be_bytes());
    list.extend(1_u32.to_be_bytes());
    list.extend(encoded);
    let any = Fields::of(&list).and_then(|mut fields| fields.value());
    macro_rules! compare {
        ($($name:ident: $variant:ident),*) => {
            vec![$((
                stringify!($name),
                Fields::of(&list).and_then(|mut fields| fields.$name()).map(|one| format!("{one:?}")),
                match any {
                    Ok(Value::$variant(value)) => Ok(format!("{:?}", Some(value))),
                    Ok(Value::Null) => Ok("None".to_owned()),
                    Ok(_) => Err(TypeError::Field),
                    Err(error) => Err(error),
                },
            )),*]
        };
    }
    compare!(bool: Bool, u8: U8, u16: U16, u32: U32, u64: U64, timestamp: Timestamp, string: String, symbol: Symbol, binary: Binary)
}

proptest! {
    #[test]
    fn fields_are_read_by_their_type_as_any_value_is(
        code in prop::sample::select(CODES),
        len in 0..8_u8,
        text in any::<bool>(),
        rest in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let rest = rest.iter().map(|byte| if text { byte & 0x7f } else { *byte });
        let long = [0, 0, 0, len];
        let size = if code >> 4 == 0xb { &long[..] } else { &long[3..] };
        let encoded: Vec<u8> = [code].into_iter().chain(size.iter().copied()).chain(rest).collect();
        for (name, typed, any) in fields(&encoded) {
            prop_assert_eq!(typed, any, "{} of {:02x?}", name, encoded);
        }
        // What is read is passed over whole.
        let mut reader = Reader::new(&encoded);
        if read(&mut reader).is_ok() {
            let skipped = skip(&mut Reader::new(&encoded));
            prop_assert_eq!(skipped.map(<[u8]>::len), Ok(reader.position()));
        }
    }
}
