//! A gateway with TLS, and a client that speaks WebSocket and STOMP to it.

use std::{
    ffi::OsStr,
    fs,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};

/// Both versions of TLS.
pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// A gateway in a process of its own, with a folder for its files.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Child,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Gateway {
    /// Starts one with a certificate for each of these names, and more configuration.
    pub(crate) fn start(test: &str, names: &[&str], more: &str) -> Self {
        Self::start_under(test, names, more, None)
    }

    /// Starts one as systemd does, which listens at this socket.
    pub(crate) fn start_under(
        test: &str,
        names: &[&str],
        more: &str,
        notify: Option<&OsStr>,
    ) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-{test}"));
        fs::create_dir_all(&folder).unwrap();
        let tables: Vec<_> = names
            .iter()
            .map(|name| {
                make_certificate(&folder, name);
                format!("{{ certificate = \"{name}.pem\", key = \"{name}.key\" }}")
            })
            .collect();
        let config = format!(
            "threads = 2\n{more}\n[[listen]]\naddress = \"127.0.0.1:0\"\ntls = [{}]\n",
            tables.join(", ")
        );
        let file = folder.join("passerelle.toml");
        fs::write(&file, config).unwrap();
        let log = fs::File::create(folder.join("log")).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_passerelle"))
            .envs(notify.map(|socket| ("NOTIFY_SOCKET", socket)))
            .args(["serve", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let authority = line.trim().strip_prefix("listening on https://").unwrap_or_else(|| {
            panic!("{line}{}", fs::read_to_string(folder.join("log")).unwrap());
        });
        let address = authority.trim_end_matches('/').parse().unwrap();
        Self { process, folder, address }
    }

    /// Puts another certificate in the place of the one for this name.
    pub(crate) fn renew(&self, name: &str) {
        make_certificate(&self.folder, name);
    }

    /// A file of its folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file of its folder.
    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.file(name), content).unwrap();
    }

    /// What `passerelle check` says of its configuration.
    pub(crate) fn check(&self) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_passerelle"))
            .args(["check", "--config"])
            .arg(self.file("passerelle.toml"))
            .output()
            .unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    }

    /// The certificate of this name that is in its folder now.
    pub(crate) fn certificate(&self, name: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.folder.join(format!("{name}.pem"))).unwrap()
    }

    /// Sends SIGHUP and waits until the log has a line with these words.
    pub(crate) fn hang_up(&self, words: &str) {
        let count = || fs::read_to_string(self.folder.join("log")).unwrap().matches(words).count();
        let before = count();
        self.signal(Signal::HUP);
        while count() == before {
            std::thread::yield_now();
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
    }

    /// Sends SIGTERM and waits for the end.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.process.wait().unwrap().code()
    }

    /// Its resident memory that is no file's, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    /// What clients trust, speaking these versions.
    pub(crate) fn trust(
        &self,
        names: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        for name in names {
            roots.add(self.certificate(name)).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(versions).unwrap();
        Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
    }

    /// A connection without TLS.
    pub(crate) fn connect_plain(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        // A test that would hang fails instead.
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// A connection that requests this name.
    pub(crate) fn connect(&self, config: &Arc<ClientConfig>, name: &str) -> Client {
        self.try_connect(config, name).unwrap()
    }

    pub(crate) fn try_connect(&self, config: &Arc<ClientConfig>, name: &str) -> io::Result<Client> {
        let name = ServerName::try_from(name.to_owned()).map_err(io::Error::other)?;
        let connection = ClientConnection::new(Arc::clone(config), name);
        let socket = Limited { stream: self.connect_plain(), len: usize::MAX };
        let mut stream = StreamOwned::new(connection.map_err(io::Error::other)?, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Client { stream })
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A new key, and a certificate for it that certifies itself.
fn make_certificate(folder: &Path, name: &str) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    fs::write(folder.join(format!("{name}.pem")), made.cert.pem()).unwrap();
    fs::write(folder.join(format!("{name}.key")), made.signing_key.serialize_pem()).unwrap();
}

/// A client's end of a connection with TLS.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) stream: StreamOwned<ClientConnection, Limited>,
}

impl Client {
    pub(crate) fn version(&self) -> Option<ProtocolVersion> {
        self.stream.conn.protocol_version()
    }

    pub(crate) fn handshake_kind(&self) -> Option<HandshakeKind> {
        self.stream.conn.handshake_kind()
    }

    /// The certificate that was shown.
    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        let chain = self.stream.conn.peer_certificates().unwrap();
        chain.first().unwrap().clone().into_owned()
    }

    /// Sends its ciphertext in pieces of this size from now on.
    pub(crate) const fn limit_to(&mut self, len: usize) {
        self.stream.sock.len = len;
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
        self.stream.flush().unwrap();
    }

    pub(crate) fn expect(&mut self, expected: &[u8]) {
        let mut bytes = vec![0; expected.len()];
        self.stream.read_exact(&mut bytes).unwrap();
        assert!(bytes == expected, "{}", bytes.escape_ascii());
    }

    pub(crate) fn read_to(&mut self, end: &[u8]) -> String {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end) {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            bytes.extend(byte);
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Reads to the end that TLS tells.
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.stream.read_to_end(&mut bytes).unwrap();
        bytes
    }

    /// Becomes a WebSocket at this path.
    pub(crate) fn upgrade(&mut self, path: &str) {
        self.send(handshake(path).as_bytes());
        self.expect_upgrade();
    }

    pub(crate) fn expect_upgrade(&mut self) {
        let head = self.read_to(b"\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }

    /// Logs in to STOMP.
    pub(crate) fn log_in(&mut self) {
        self.send(b"CONNECT\naccept-version:1.2\nhost:/\n\n\0");
        let frame = self.read_to(b"\0");
        assert!(frame.starts_with("CONNECTED\n"), "{frame}");
    }
}

/// The request of a WebSocket handshake.
pub(crate) fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
}

/// A binary message, as clients frame it (`masked`, with zeros) or as the gateway does.
pub(crate) fn frame(payload: &[u8], masked: bool) -> Vec<u8> {
    let mask_bit = if masked { 0x80 } else { 0 };
    let mut frame = vec![0x82];
    match payload.len() {
        len @ 0..126 => frame.push(mask_bit | u8::try_from(len).unwrap()),
        len @ 126..=0xffff => {
            frame.push(mask_bit | 126);
            frame.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
        len => {
            frame.push(mask_bit | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    if masked {
        frame.extend([0; 4]);
    }
    frame.extend(payload);
    frame
}

/// Bytes that are not like each other.
pub(crate) fn pattern(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|index| u8::try_from((index * 7 + index / 251 + seed) % 256).unwrap()).collect()
}

/// Writes at most `n` bytes at a time.
#[derive(Debug)]
pub(crate) struct Limited {
    pub(crate) stream: TcpStream,
    len: usize,
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes.get(..self.len).unwrap_or(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
