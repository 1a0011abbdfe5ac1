/// Memory that an allocation takes, in bytes, when it has room for this many: as malloc of glibc
/// rounds it, with what it keeps beside it. 0 for 0: nothing is allocated.
#[must_use]
pub const fn allocation_bytes(bytes: usize) -> usize {
    match (bytes + 8).next_multiple_of(16) {
        _ if bytes == 0 => 0,
        16 => 32,
        taken => taken,
    }
}

/// As [`allocation_bytes`], for what an [`std::sync::Arc`] holds, beside its two counts.
pub(crate) const fn shared_bytes(bytes: usize) -> usize {
    allocation_bytes(2 * size_of::<usize>() + bytes)
}
