//! What is kept of a message that was sent by POST is what its queue counts.

#![expect(unsafe_code, reason = "an allocator that counts")]

mod in_process;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicIsize, Ordering},
    time::Duration,
};

use in_process::start;

#[test]
fn a_posted_message_keeps_what_its_queue_counts() {
    IS_CLIENT.set(true);
    let address = start();
    let mut client = Client::connect(address);
    // To where the rings of the queues are filled to three quarters, which is what entries count.
    let sizes = [(1, 1_531), (1 << 10, 1_531), (60 << 10, 187), (1_000_000, 19)];
    for (way, send) in WAYS {
        for (size, count) in sizes {
            let queue = format!("/queues/{}{size}", way.replace(' ', ""));
            let body = vec![b'x'; size];
            let mut post = || client.post(&queue, &body, send);
            // The queue is made, and buffers find their sizes.
            (0..5).for_each(|_| post());
            let before = (live(), client.queue_bytes());
            (0..count).for_each(|_| client.post(&queue, &body, send));
            let counted = client.queue_bytes() - before.1;
            let kept = live() - before.0;
            let shown = format!("{size} B, {way}: {kept} bytes kept, {counted} counted");
            assert!(counted >= count * size as isize, "{shown}");
            // Of a message of 1 B the entry in its queue is the most, and is counted at its largest.
            let most = if size == 1 { 12 } else { 11 };
            assert!(counted * 10 >= kept * 9 && counted * 10 <= kept * most, "{shown}");
        }
    }
}

type Send = fn(&mut TcpStream, &str, &[u8]);

/// How a body is sent.
const WAYS: [(&str, Send); 3] = [
    ("with the head", |stream, head, body| {
        let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body].concat()).expect("sent");
    }),
    ("in pieces", |stream, head, body| {
        let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).expect("sent");
        for piece in body.chunks(body.len().div_ceil(3)) {
            stream.write_all(piece).expect("sent");
        }
    }),
    ("in chunks", |stream, head, body| {
        let mut bytes = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for piece in body.chunks(body.len().div_ceil(20)) {
            bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            bytes.extend_from_slice(piece);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        stream.write_all(&bytes).expect("sent");
    }),
];

/// A connection on which requests follow each other.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("connected");
        stream.set_nodelay(true).expect("set");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
        Self(BufReader::new(stream))
    }

    fn post(&mut self, path: &str, body: &[u8], send: Send) {
        send(self.0.get_mut(), &format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n"), body);
        let (status, _) = self.response();
        assert_eq!(status, "HTTP/1.1 204 No Content");
    }

    /// What all queues count.
    fn queue_bytes(&mut self) -> isize {
        let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
        self.0.get_mut().write_all(request).expect("sent");
        let (_, text) = self.response();
        let lines = text.lines().filter(|line| line.starts_with("passerelle_queue_bytes{"));
        let numbers = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<isize>().ok());
        numbers.sum()
    }

    fn response(&mut self) -> (String, String) {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("a line");
            let line = line.trim_end().to_owned();
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let length = lines.iter().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse().ok())?
        });
        let mut body = vec![0; length.unwrap_or(0)];
        self.0.read_exact(&mut body).expect("a body");
        (lines.swap_remove(0), String::from_utf8(body).expect("text"))
    }
}

/// Bytes that the gateway's threads have allocated and not freed.
fn live() -> isize {
    LIVE.load(Ordering::Relaxed)
}

static LIVE: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    /// Set on the test's own thread, whose allocations are not the gateway's.
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

// SAFETY: all is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(layout.size(), -1);
        count(size, 1);
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Counts what an allocation takes: 8 bytes more, in steps of 16, 32 at least (glibc).
fn count(size: usize, sign: isize) {
    if !IS_CLIENT.try_with(Cell::get).unwrap_or(true) {
        let taken = (size + 8).next_multiple_of(16).max(32);
        LIVE.fetch_add(sign * taken.cast_signed(), Ordering::Relaxed);
    }
}
