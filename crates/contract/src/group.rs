use std::num::NonZero;

/// That a message belongs to a group, whose messages a queue delivers to one consumer as long as that is
/// there.
///
/// Groups are told apart by a hash: of those in one of [`Group::BUCKETS`], all go to one consumer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Group(NonZero<u16>);

impl Group {
    /// In how many the groups of a queue fall.
    pub const BUCKETS: u16 = 1024;

    /// Headers that name a group: the gateway's, which is AMQP's, that of JMS
    /// and of ActiveMQ, and Artemis's.
    pub const ID_NAMES: [&str; 3] = ["group-id", "JMSXGroupID", "_AMQ_GROUP_ID"];

    /// Those that number a message in its group.
    pub const SEQUENCE_NAMES: [&str; 3] = ["group-sequence", "JMSXGroupSeq", "_AMQ_GROUP_SEQUENCE"];

    /// The group with this name. A negative `sequence` closes it: once this message is settled, the next
    /// one of the group goes to any consumer. All else that may stand there means nothing to a queue.
    #[must_use]
    pub fn new(id: &str, sequence: Option<&str>) -> Self {
        // FNV-1a of 32 bits, folded.
        let hash = id
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        let bucket = (hash ^ hash >> 16) % u32::from(Self::BUCKETS);
        let bucket = u16::try_from(bucket).unwrap_or_default();
        let closes = sequence
            .and_then(|text| text.strip_prefix('-'))
            .and_then(|digits| digits.parse::<u64>().ok())
            .is_some_and(|number| number > 0);
        Self(NonZero::<u16>::MIN.saturating_add(bucket | if closes { CLOSES } else { 0 }))
    }

    /// The group that [`Group::bits`] is of; `None`: of none.
    #[must_use]
    pub fn from_bits(bits: u16) -> Option<Self> {
        let group = Self(NonZero::new(bits)?);
        (group.bucket() < Self::BUCKETS).then_some(group)
    }

    /// As a number: its form in the store.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0.get()
    }

    /// Keeps what a header says of the group: of repeated ones the first counts.
    pub fn read<'v>(
        name: &str,
        value: &'v str,
        id: &mut Option<&'v str>,
        sequence: &mut Option<&'v str>,
    ) {
        if Self::ID_NAMES.contains(&name) {
            id.get_or_insert(value);
        } else if Self::SEQUENCE_NAMES.contains(&name) {
            sequence.get_or_insert(value);
        }
    }

    /// The one of [`Group::BUCKETS`] that it falls in.
    #[must_use]
    pub const fn bucket(self) -> u16 {
        (self.0.get() - 1) & !CLOSES
    }

    /// Whether the group is closed with this message.
    #[must_use]
    pub const fn closes(self) -> bool {
        (self.0.get() - 1) & CLOSES != 0
    }
}

/// Beside the bucket.
const CLOSES: u16 = 1 << 14;
const _: () = assert!(Group::BUCKETS <= CLOSES);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_group_is_its_name_and_is_closed_by_a_negative_number() {
        let buckets: BTreeSet<u16> =
            (0..10_000).map(|n| Group::new(&format!("order-{n}"), None).bucket()).collect();
        assert_eq!(buckets.len(), usize::from(Group::BUCKETS), "all are used");
        assert!(buckets.last() < Some(&Group::BUCKETS));
        let cases = [(None, false), (Some("1"), false), (Some("0"), false), (Some("-1"), true)];
        let more =
            [(Some("-0"), false), (Some("-"), false), (Some("x"), false), (Some("-7"), true)];
        for (sequence, closes) in cases.into_iter().chain(more) {
            let group = Group::new("order-7", sequence);
            assert_eq!(
                (group.closes(), group.bucket()),
                (closes, Group::new("order-7", None).bucket())
            );
        }
    }

    #[test]
    fn groups_read_as_they_were_written() {
        let groups = (0..5000).map(|n| Group::new(&n.to_string(), Some(&(n % 3 - 1).to_string())));
        for group in groups {
            assert_eq!(Group::from_bits(group.bits()), Some(group));
        }
        for bits in [0, Group::BUCKETS + 1, u16::MAX] {
            assert_eq!(Group::from_bits(bits), None, "{bits}");
        }
    }

    #[test]
    fn a_group_is_named_in_any_spelling() {
        for (id_name, sequence_name) in Group::ID_NAMES.into_iter().zip(Group::SEQUENCE_NAMES) {
            let (mut id, mut sequence) = (None, None);
            let headers = [("other", "1"), (sequence_name, "-1"), (id_name, "a"), (id_name, "b")];
            for (name, value) in headers {
                Group::read(name, value, &mut id, &mut sequence);
            }
            assert_eq!((id, sequence), (Some("a"), Some("-1")));
        }
    }
}
