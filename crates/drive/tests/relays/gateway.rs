use std::{
    net::{TcpListener, TcpStream},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use contract::{ConnectionLimits, Relay};
use drive::{
    Arrival, CoreRef, Cores, Framing, NewCore, Registration, Upstream, UpstreamAddress, tasks,
};

use crate::common;

/// A gateway of one core, and the listener of the server that its connections go to.
pub(crate) struct Gateway {
    pub(crate) cores: Arc<Cores>,
    listener: TcpListener,
    servers: TcpListener,
    pub(crate) upstream: Arc<Upstream>,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Gateway {
    /// One whose connections all have such a relay, from streams to streams.
    pub(crate) fn start(open: fn() -> Box<dyn Relay>) -> Self {
        Self::start_with(Framing::Stream, Duration::from_secs(10), |address| address, open)
    }

    /// One whose clients are framed so, and which connects to its server, at an address that is
    /// `with` what else, within `connect_timeout`.
    pub(crate) fn start_with(
        framing: Framing,
        connect_timeout: Duration,
        with: impl FnOnce(UpstreamAddress) -> UpstreamAddress,
        open: fn() -> Box<dyn Relay>,
    ) -> Self {
        let [listener, servers] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let address = with(UpstreamAddress {
            label: "tcp://test".into(),
            host: "127.0.0.1".into(),
            port: servers.local_addr().unwrap().port(),
            tls: None,
            websocket: None,
        });
        let upstream = Arc::new(Upstream::new(vec![address], connect_timeout, false));
        let mut settings = common::settings(ConnectionLimits::default());
        settings.services[0].upstream = Some(Arc::clone(&upstream));
        let (cores, new_cores) = Cores::new(settings, 1).unwrap();
        let run = |core: NewCore| {
            let start = move |core: CoreRef| {
                move |arrival: Arrival| {
                    let Arrival { stream, permit, .. } = arrival;
                    let registration = Registration {
                        principal: None,
                        framing,
                        permit: Some(permit),
                        ..common::registration(stream.peer_addr().unwrap())
                    };
                    let stream = mio::net::TcpStream::from_std(stream);
                    core.register_relay(stream.into(), registration, open());
                }
            };
            tasks::thread("core", move || core.run(start)).unwrap()
        };
        let threads = new_cores.into_iter().map(run).collect();
        Self { cores, listener, servers, upstream, threads }
    }

    /// A client.
    pub(crate) fn client(&self) -> TcpStream {
        let client = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_nonblocking(true).unwrap();
        self.cores.least_loaded().unwrap().accept(stream, 0);
        for_a_test(client)
    }

    /// The server's end of the next connection to it.
    pub(crate) fn server(&self) -> TcpStream {
        for_a_test(self.servers.accept().unwrap().0)
    }

    /// A client, and the server's end of what its relay has connected to.
    pub(crate) fn connect(&self) -> (TcpStream, TcpStream) {
        (self.client(), self.server())
    }

    /// Waits until no connections are left, and returns how many to the server had an outcome.
    pub(crate) fn wait_for_end(&self) -> u64 {
        let connections = || self.cores.least_loaded().unwrap().connections();
        let stats = || self.upstream.stats().next().unwrap();
        for _ in 0..1000 {
            if connections() + stats().open > 0 {
                std::thread::park_timeout(Duration::from_millis(10));
            }
        }
        assert_eq!((connections(), stats().open, self.upstream.queue().waiting), (0, 0, 0));
        stats().opened + stats().failed
    }

    pub(crate) fn stop(self) {
        self.cores.shut_down();
        for thread in self.threads {
            thread.join().unwrap().unwrap();
        }
    }
}

fn for_a_test(end: TcpStream) -> TcpStream {
    end.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    end.set_nodelay(true).unwrap();
    end
}
