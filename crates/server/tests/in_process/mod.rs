//! A gateway in the process of a test, whose allocations it counts.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::Duration,
};

use config::Config;
use passerelle::{configuration::Source, serve::serve};

/// Runs a gateway with one core in this process.
pub(crate) fn start() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("its address");
    drop(free);
    let text = format!("threads = 1\n[[listen]]\naddress = \"{address}\"\noperations = true\n");
    let config = Config::parse(&text, "test.toml").expect("a configuration");
    // Lives as long as the test's process.
    let run = || serve(config, Source::default(), false).expect("served");
    drop(thread::Builder::new().spawn(run).expect("a thread"));
    for _ in 0..500 {
        if TcpStream::connect(address).is_ok() {
            return address;
        }
        thread::park_timeout(Duration::from_millis(10));
    }
    panic!("the gateway does not listen at {address}");
}
