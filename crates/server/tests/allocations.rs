//! A publication takes few allocations, and as many for a thousand subscribers as for a hundred.

#![expect(unsafe_code, reason = "an allocator that counts")]

mod in_process;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use in_process::start;

#[test]
fn a_publication_takes_few_allocations_however_many_subscribe() {
    IS_CLIENT.set(true);
    let address = start();
    let few = allocations(address, "/topic/few", 100);
    let many = allocations(address, "/topic/many", 1000);
    assert!(few <= 6.5, "{few} allocations a publication to 100 subscribers");
    assert!(many <= 6.5, "{many} allocations a publication to 1,000 subscribers");
    assert!((many - few).abs() < 0.5, "{few} and {many} allocations a publication");
}

/// The mean over some publications, each of which all subscribers have before the next.
fn allocations(address: SocketAddr, topic: &str, subscribers: usize) -> f64 {
    const PUBLICATIONS: usize = 50;
    let subscribe = format!("SUBSCRIBE\nid:1\ndestination:{topic}\nreceipt:r\n\n\0");
    let mut subscribers: Vec<TcpStream> = (0..subscribers)
        .map(|_| {
            let mut stream = connect(address);
            stream.write_all(subscribe.as_bytes()).expect("subscribed");
            read_frame(&mut stream);
            stream
        })
        .collect();
    let mut publisher = connect(address);
    let send =
        format!("SEND\ndestination:{topic}\ncontent-type:text/plain\n\n{}\0", "x".repeat(100));
    let mut publish = || {
        publisher.write_all(send.as_bytes()).expect("sent");
        subscribers.iter_mut().for_each(read_frame);
    };
    // Buffers find their sizes.
    for _ in 0..10 {
        publish();
    }
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for _ in 0..PUBLICATIONS {
        publish();
    }
    let count = ALLOCATIONS.load(Ordering::Relaxed) - before;
    f64::from(u32::try_from(count).expect("few")) / PUBLICATIONS as f64
}

fn connect(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connected");
    stream.set_nodelay(true).expect("set");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("set");
    stream.write_all(b"CONNECT\naccept-version:1.2\nhost:x\n\n\0").expect("sent");
    read_frame(&mut stream);
    stream
}

/// Reads to the end of a frame whose body has no NUL; nothing may follow it.
fn read_frame(stream: &mut TcpStream) {
    let mut bytes = [0; 1024];
    loop {
        let count = stream.read(&mut bytes).expect("a frame");
        assert!(count > 0, "the gateway closed the connection");
        if bytes.get(..count).is_some_and(|read| read.trim_ascii_end().ends_with(b"\0")) {
            return;
        }
    }
}

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Set on the test's own thread, whose allocations are not the gateway's.
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

// SAFETY: all is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn count() {
    if !IS_CLIENT.try_with(Cell::get).unwrap_or(true) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}
