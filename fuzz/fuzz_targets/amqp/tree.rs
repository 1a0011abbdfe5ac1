//! Values of AMQP as trees, which can be changed and written again.

use amqp_types::{Value, Writer, read};
use testkit::Random;
use wire::Reader;

#[derive(Clone, Debug)]
pub enum Tree {
    /// Encoded.
    Leaf(Vec<u8>),
    List(Vec<Tree>),
    Map(Vec<Tree>),
    /// The code of the descriptor, and what it describes.
    Described(u8, Box<Tree>),
}

impl Tree {
    /// The next value; `None`: it is none.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let bytes = amqp_types::skip(reader).ok()?;
        Some(Self::of(bytes, 0))
    }

    fn of(bytes: &[u8], depth: usize) -> Self {
        let leaf = || Self::Leaf(bytes.to_vec());
        if depth > 8 || amqp_types::check(bytes).is_err() {
            return leaf();
        }
        let items = |items: amqp_types::Items<'_>| {
            let mut reader = Reader::new(items.bytes());
            let next = |_| amqp_types::skip(&mut reader).ok().map(|one| Self::of(one, depth + 1));
            (0..items.len()).map_while(next).collect()
        };
        match read(&mut Reader::new(bytes)) {
            Ok(Value::List(list)) => Self::List(items(list)),
            Ok(Value::Map(map)) => Self::Map(items(map)),
            Ok(Value::Described(amqp_types::Descriptor::Code(code @ 0..=255), inner)) => {
                Self::Described(code as u8, Box::new(Self::of(inner, depth + 1)))
            }
            _ => leaf(),
        }
    }

    pub fn write(&self, to: &mut Writer<'_>) {
        match self {
            Self::Leaf(bytes) => to.encoded(Some(bytes)),
            Self::List(items) => to.list(|to| items.iter().for_each(|item| item.write(to))),
            Self::Map(items) => to.map(|to| items.iter().for_each(|item| item.write(to))),
            Self::Described(code, inner) => {
                to.descriptor(*code);
                inner.write(to);
            }
        }
    }

    fn count(&self) -> usize {
        1 + match self {
            Self::Leaf(_) => 0,
            Self::List(items) | Self::Map(items) => items.iter().map(Self::count).sum(),
            Self::Described(_, inner) => inner.count(),
        }
    }

    /// The value that is `index` values away, from the outside to the inside.
    fn at(&mut self, index: usize) -> Option<&mut Self> {
        let Some(mut index) = index.checked_sub(1) else { return Some(self) };
        match self {
            Self::Leaf(_) => None,
            Self::List(items) | Self::Map(items) => {
                for item in items {
                    let count = item.count();
                    if index < count {
                        return item.at(index);
                    }
                    index -= count;
                }
                None
            }
            Self::Described(_, inner) => inner.at(index),
        }
    }

    /// Changes something in it. `noise` changes bytes.
    pub fn mutate(
        &mut self,
        random: &mut Random,
        noise: &mut impl FnMut(&mut Vec<u8>, &mut Random),
    ) {
        let index = random.below(self.count());
        let Some(place) = self.at(index) else { return };
        match place {
            Self::Leaf(bytes) if random.once_in(4) => noise(bytes, random),
            Self::List(items) | Self::Map(items) if !items.is_empty() && !random.once_in(4) => {
                let index = random.below(items.len());
                match random.below(6) {
                    0 => drop(items.remove(index)),
                    1 => items.insert(index, interesting(random)),
                    2 => items.insert(index, items[index].clone()),
                    3 => items.swap(0, index),
                    4 => items.truncate(index),
                    _ => items[index] = interesting(random),
                }
            }
            Self::Described(code, _) if random.once_in(2) => {
                const CODES: [u8; 30] = [
                    0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x1d, 0x23, 0x24, 0x25,
                    0x26, 0x27, 0x28, 0x29, 0x30, 0x31, 0x32, 0x33, 0x34, 0x41, 0x43, 0x70, 0x72,
                    0x73, 0x74, 0x75, 0x77,
                ];
                *code = random.pick(&CODES);
            }
            _ if random.once_in(6) => {
                let inner = place.clone();
                *place = match random.below(3) {
                    0 => Self::List(vec![inner]),
                    1 => Self::Map(vec![interesting(random), inner]),
                    _ => Self::Described(0x24 + random.below(5) as u8, Box::new(inner)),
                };
            }
            _ => *place = interesting(random),
        }
    }
}

/// A value at which something may change.
pub fn interesting(random: &mut Random) -> Tree {
    let number = match random.below(4) {
        0 => random.below(8) as u32,
        1 => random.pick(&[254, 255, 256, 511, 512, 513, 1023, 1024, 2047, 2048, 65_535, 65_536]),
        2 => random.pick(&[(1 << 31) - 1, 1 << 31, (1 << 31) + 1, u32::MAX - 1, u32::MAX]),
        _ => random.bits() as u32,
    };
    let text = random.pick(&[
        "",
        "q",
        "t",
        "topic://t",
        "queue://q",
        "topic://>",
        "/temp-queue/x",
        "link-0",
        "link|1",
        "copy",
        "queue",
        "topic",
        "shared",
        "global",
        "temporary-topic",
        "a = 1",
        "jms-selector",
        "sole-connection-for-container",
        "x-opt-delivery-time",
        "x-opt-jms-dest",
        "ann",
        "PLAIN",
    ]);
    let mut bytes = Vec::new();
    let mut to = Writer::new(&mut bytes);
    match random.below(16) {
        0 => to.null(),
        1 => to.bool(random.once_in(2)),
        2 => to.u8(number as u8),
        3 => to.u16(number as u16),
        4..=7 => to.u32(number),
        8 => to.u64(number.into()),
        9 => to.i64(i64::from(number) - 5),
        10 => to.string(text),
        11 => to.symbol(text),
        12 => to.symbols(&[text, "queue"]),
        13 => to.binary(&u64::from(number % 5).to_be_bytes()),
        14 => {
            // A list, a map or an array that says it has very many.
            let code = random.pick(&[0xd0, 0xd1, 0xf0]);
            let item = random.pick(&[0x40, 0x43, 0x45, 0x50]);
            to.encoded(Some(
                &[[code, 0, 0, 0, 5].as_slice(), &number.to_be_bytes(), &[item]].concat(),
            ));
        }
        _ => to.timestamp(number.into()),
    }
    Tree::Leaf(bytes)
}
