use std::{io, time::Duration};

use tokio::{net::TcpStream, time};

/// Looks at the first bytes of a connection, without taking them, until it is clear which of the
/// `known` beginnings they are; `None`: none of them.
///
/// # Errors
/// When the peer closes, or is silent or undecided for longer than `timeout`.
pub async fn first_bytes(
    stream: &TcpStream,
    known: &[&[u8]],
    timeout: Duration,
) -> io::Result<Option<usize>> {
    time::timeout(timeout, async {
        let mut buffer = [0; FIRST_BYTES_MAX];
        let mut pause = UNDECIDED_PAUSE_FIRST;
        loop {
            let count = stream.peek(&mut buffer).await?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let seen = buffer.get(..count).unwrap_or_default();
            if let Some(index) = known.iter().position(|begin| seen.starts_with(begin)) {
                return Ok(Some(index));
            }
            if !known.iter().any(|begin| begin.starts_with(seen)) {
                return Ok(None);
            }
            // What was peeked stays readable, so there is nothing to wait for but time.
            time::sleep(pause).await;
            pause = (pause * 2).min(UNDECIDED_PAUSE_LAST);
        }
    })
    .await
    .map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Longer than any known beginning.
const FIRST_BYTES_MAX: usize = 16;
/// Who sends its first bytes one by one waits, not we.
const UNDECIDED_PAUSE_FIRST: Duration = Duration::from_millis(5);
const UNDECIDED_PAUSE_LAST: Duration = Duration::from_millis(320);
