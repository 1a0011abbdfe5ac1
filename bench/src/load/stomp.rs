use memchr::{memchr, memmem};

/// Takes whole MESSAGE frames from what came over TCP and returns an ACK for each.
pub(super) fn acknowledge(inbox: &mut Vec<u8>) -> Vec<u8> {
    const ACK: &[u8] = b"\nack:";
    let mut acks = Vec::new();
    let mut taken = 0;
    while let Some(rest) = inbox.get(taken..)
        && let Some(end) = memchr(0, rest)
    {
        let frame = rest.get(..end).unwrap_or_default();
        taken += end + 1;
        let id = memmem::find(frame, ACK).and_then(|at| frame.get(at + ACK.len()..));
        if let Some(id) = id.and_then(|rest| rest.get(..memchr(b'\n', rest)?)) {
            acks.extend(b"ACK\nid:");
            acks.extend(id);
            acks.extend(b"\n\n\0");
        }
    }
    inbox.drain(..taken);
    acks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_frames_are_acknowledged_once() {
        let frames = b"MESSAGE\nack:1\n\nx#\0MESSAGE\nmessage-id:7\nack:22\n\ny#\0".as_slice();
        for split in 0..frames.len() {
            let (first, second) = frames.split_at(split);
            let mut inbox = first.to_vec();
            let mut acks = acknowledge(&mut inbox);
            inbox.extend(second);
            acks.extend(acknowledge(&mut inbox));
            assert_eq!(acks, b"ACK\nid:1\n\n\0ACK\nid:22\n\n\0", "split at {split}");
            assert!(inbox.is_empty(), "split at {split}");
        }
    }
}
