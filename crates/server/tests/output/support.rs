//! A gateway with outputs of all kinds, and a client.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _, pipe},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// What a process writes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Output {
    /// Nothing: the descriptor is closed.
    Closed,
    /// A disk that is full.
    Full,
    /// A descriptor that can only be read.
    ReadOnly,
    /// A file that is as large as a file may be.
    LargestFile,
    /// A pipe whose reader has gone.
    ReaderGone,
    /// A pipe that is full and is not read.
    Unread,
    /// The same, without waiting.
    UnreadNonBlocking,
}

impl Output {
    /// What to give to a process, and the other end.
    pub(crate) fn open(self) -> (Stdio, Option<std::io::PipeReader>) {
        match self {
            Self::Closed => (Stdio::null(), None),
            Self::Full => (File::options().write(true).open("/dev/full").unwrap().into(), None),
            Self::ReadOnly => (File::open("/dev/null").unwrap().into(), None),
            Self::LargestFile => (tempfile().into(), None),
            Self::ReaderGone => (pipe().unwrap().1.into(), None),
            Self::Unread | Self::UnreadNonBlocking => {
                let (reader, writer) = pipe().unwrap();
                rustix::io::ioctl_fionbio(&writer, true).unwrap();
                while (&writer).write(&[b'\n'; 4096]).is_ok() {}
                rustix::io::ioctl_fionbio(&writer, self == Self::UnreadNonBlocking).unwrap();
                (writer.into(), Some(reader))
            }
        }
    }

    /// What a shell needs in addition.
    pub(crate) fn redirect(self, descriptor: &str) -> &'static str {
        match (self, descriptor) {
            (Self::Closed, "1") => ">&-",
            (Self::Closed, _) => "2>&-",
            (
                Self::Full
                | Self::ReadOnly
                | Self::LargestFile
                | Self::ReaderGone
                | Self::Unread
                | Self::UnreadNonBlocking,
                _,
            ) => "",
        }
    }
}

/// A new file, which has no name any more.
fn tempfile() -> File {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("output-{number}.log"));
    let file = File::create(&path).unwrap();
    fs::remove_file(path).unwrap();
    file
}

/// The binary, started by a shell with this redirection. It may write no byte to a regular file.
pub(crate) fn passerelle(arguments: &[&str], redirect: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -f 0; exec \"$0\" \"$@\" {redirect}"));
    command.arg(env!("CARGO_BIN_EXE_passerelle")).args(arguments);
    command
}

/// The code with which a process ends; one that hangs fails the test.
pub(crate) fn reap(child: &mut Child) -> Option<i32> {
    let mut ended: Option<std::process::ExitStatus> = None;
    if wait_until(|| {
        ended = child.try_wait().unwrap();
        ended.is_some()
    }) {
        return ended.and_then(|status| status.code());
    }
    child.kill().unwrap();
    panic!("the process does not end");
}

/// Whether something comes true before patience ends.
fn wait_until(mut holds: impl FnMut() -> bool) -> bool {
    (0..TIMEOUT.as_millis() / PAUSE.as_millis()).any(|_| {
        holds() || {
            thread::park_timeout(PAUSE);
            false
        }
    })
}

/// A gateway in a process of its own.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Child,
    address: SocketAddr,
}

impl Gateway {
    pub(crate) fn start(level: &str, redirect: &str, stdout: Stdio, stderr: Stdio) -> Self {
        Self::spawn(&format!("level = \"{level}\""), redirect, stdout, stderr)
    }

    pub(crate) fn start_with_log(log: &str, stdout: Stdio, stderr: Stdio) -> Self {
        Self::spawn(log, "", stdout, stderr)
    }

    fn spawn(log: &str, redirect: &str, stdout: Stdio, stderr: Stdio) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Its standard output may say nothing, so that the port must be known.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("output-{number}.toml"));
        let config = format!(
            "threads = 2\n[log]\n{log}\n[shutdown]\ngrace = \"0s\"\ndrain = \"1s\"\n\
             [[listen]]\naddress = \"{address}\"\noperations = true\n"
        );
        fs::write(&file, config).unwrap();
        let process = passerelle(&["serve", "--config", file.to_str().unwrap()], redirect)
            .stdin(Stdio::null())
            .stdout(stdout)
            .stderr(stderr)
            .spawn()
            .unwrap();
        let mut gateway = Self { process, address };
        let started = wait_until(|| {
            assert_eq!(gateway.process.try_wait().unwrap(), None);
            TcpStream::connect(address).is_ok()
        });
        assert!(started, "the gateway does not start");
        gateway
    }

    /// A WebSocket that is echoed.
    pub(crate) fn connect(&self) -> Client {
        let mut stream = self.stream();
        stream
            .write_all(
                b"GET /echo HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n\
                  Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                  Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
            )
            .unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", head.escape_ascii());
        Client(stream)
    }

    /// What it says of the log lines that it dropped.
    pub(crate) fn lines_dropped(&self) -> u64 {
        let mut stream = self.stream();
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let value = |line: &str| {
            line.strip_prefix("passerelle_log_lines_dropped_total ")?.trim().parse().ok()
        };
        response.lines().find_map(value).unwrap_or_else(|| panic!("{response}"))
    }

    /// Its resident memory that is no file's, in bytes.
    pub(crate) fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
    }

    pub(crate) fn hang_up(&self) {
        kill_process(Pid::from_child(&self.process), Signal::HUP).unwrap();
    }

    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.process), Signal::TERM).unwrap();
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        reap(&mut self.process)
    }

    fn stream(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        // A test that would hang fails instead.
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
        stream
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It has ended already when the test went well.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// A client's end of a WebSocket.
#[derive(Debug)]
pub(crate) struct Client(TcpStream);

impl Client {
    pub(crate) fn echo(&mut self, payload: &[u8]) {
        let len = u16::try_from(payload.len()).unwrap();
        let frame = |mask_bit: u8| {
            let mut frame = vec![0x82];
            if len < 126 {
                frame.push(mask_bit | u8::try_from(len).unwrap());
            } else {
                frame.push(mask_bit | 126);
                frame.extend(len.to_be_bytes());
            }
            if mask_bit > 0 {
                frame.extend([0; 4]);
            }
            [&frame, payload].concat()
        };
        self.0.write_all(&frame(0x80)).unwrap();
        let expected = frame(0);
        let mut response = vec![0; expected.len()];
        self.0.read_exact(&mut response).unwrap();
        assert!(response == expected, "{}", response.escape_ascii());
    }
}

/// Longer than anything takes.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(10);
