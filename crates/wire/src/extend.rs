/// Appends to what is received in part, which becomes no larger than `most`: it grows as a vector
/// does, but by no more than can still come.
pub fn extend_within(most: usize, buffer: &mut Vec<u8>, bytes: &[u8]) {
    let required = buffer.len() + bytes.len();
    if required > buffer.capacity() {
        let capacity = required.max((2 * buffer.capacity()).min(most));
        buffer.reserve_exact(capacity - buffer.len());
    }
    buffer.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_grows_by_doubling_and_not_beyond_what_can_come() {
        let cases: &[(&[usize], usize, &[usize])] = &[
            (&[100], 100, &[100]),
            (&[100, 1, 50, 1], 1000, &[100, 200, 200, 200]),
            (&[100, 1, 100, 100, 100], 410, &[100, 200, 400, 400, 410]),
            // A caller that checks later.
            (&[100, 100], 10, &[100, 200]),
        ];
        for (pieces, most, expected) in cases {
            let mut buffer = Vec::new();
            let capacities: Vec<_> = pieces
                .iter()
                .map(|&piece| {
                    extend_within(*most, &mut buffer, &vec![0; piece]);
                    buffer.capacity()
                })
                .collect();
            assert_eq!(capacities, *expected, "{pieces:?} within {most}");
        }
    }
}
