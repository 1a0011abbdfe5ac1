//! The client's masking (RFC 6455 section 5.3).

/// Masks or unmasks: the first byte with the first byte of the key.
pub(crate) fn apply(key: [u8; 4], bytes: &mut [u8]) {
    let [a, b, c, d] = key;
    let wide = u128::from_ne_bytes([a, b, c, d, a, b, c, d, a, b, c, d, a, b, c, d]);
    let (chunks, rest) = bytes.as_chunks_mut();
    for chunk in chunks {
        *chunk = (u128::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    let (words, rest) = rest.as_chunks_mut();
    for word in words {
        *word = (u32::from_ne_bytes(*word) ^ u32::from_ne_bytes(key)).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(key) {
        *byte ^= key;
    }
}

/// The key for what comes `count` bytes later.
pub(crate) fn after(mut key: [u8; 4], count: usize) -> [u8; 4] {
    key.rotate_left(count % 4);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_split_masks_alike() {
        let key = [1, 2, 4, 8];
        let plain: Vec<u8> = (0..100).collect();
        let expected: Vec<u8> = (0..100).map(|i| i ^ key[usize::from(i) % 4]).collect();
        for split in 0..=plain.len() {
            let mut bytes = plain.clone();
            let (before, rest) = bytes.split_at_mut(split);
            apply(key, before);
            apply(after(key, split), rest);
            assert_eq!(bytes, expected, "split at {split}");
        }
    }
}
