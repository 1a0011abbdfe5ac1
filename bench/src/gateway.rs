use std::{
    error::Error,
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::system;

/// A gateway of its own process, on a free port.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Child,
    pub(crate) address: SocketAddr,
}

impl Gateway {
    /// Starts the program with a configuration that names the threads.
    pub(crate) fn start(program: &Path, threads: usize) -> Result<Self, Box<dyn Error>> {
        Self::start_with(program, threads, "")
    }

    /// The same with more in its configuration.
    pub(crate) fn start_with(
        program: &Path,
        threads: usize,
        more: &str,
    ) -> Result<Self, Box<dyn Error>> {
        let folder = program.parent().unwrap_or_else(|| Path::new("."));
        let config = folder.join(format!("measure-{}.toml", std::process::id()));
        let text = format!(
            "threads = {threads}\n[[listen]]\naddress = \"127.0.0.1:0\"\noperations = true\n[log]\nlevel = \"warn\"\n{more}"
        );
        fs::write(&config, text)?;
        let mut process = Command::new(program)
            .arg("serve")
            .arg("--config")
            .arg(&config)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let stdout = process.stdout.take().ok_or("no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        fs::remove_file(&config)?;
        let address = line
            .trim()
            .strip_prefix("listening on http://")
            .and_then(|rest| rest.strip_suffix('/'))
            .ok_or_else(|| format!("the gateway did not start; it said {line:?}"))?
            .parse()?;
        Ok(Self { process, address })
    }

    /// Bytes of memory that are the process's own (RssAnon), by the kernel's count.
    pub(crate) fn own_memory(&self) -> Result<u64, Box<dyn Error>> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kib = line.and_then(|line| line.split_whitespace().next()).ok_or("no RssAnon")?;
        Ok(kib.parse::<u64>()? * 1024)
    }

    /// All memory that is resident, and the most that ever was, in bytes.
    pub(crate) fn resident(&self) -> (u64, u64) {
        let memory = |key| system::memory(&[self.process.id()], key);
        (memory("VmRSS"), memory("VmHWM"))
    }

    /// CPU time that it has had, in nanoseconds.
    pub(crate) fn cpu_ns(&self) -> u64 {
        system::cpu_ns(&[self.process.id()])
    }

    /// The sum of a metric over all its labels.
    pub(crate) fn metric(&self, name: &str) -> Result<f64, Box<dyn Error>> {
        let mut stream = self.connect()?;
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        let mut sum = None;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((key, value)) = line.rsplit_once(' ') else { continue };
            if key.split('{').next() == Some(name) {
                *sum.get_or_insert(0.0) += value.parse::<f64>()?;
            }
        }
        sum.ok_or_else(|| format!("no metric {name}").into())
    }

    /// A connection whose reads do not wait for ever.
    pub(crate) fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(stream)
    }

    /// A WebSocket, its handshake done.
    pub(crate) fn websocket(&self, path: &str, subprotocol: Option<&str>) -> io::Result<TcpStream> {
        let mut stream = self.connect()?;
        let subprotocol = subprotocol
            .map(|name| format!("sec-websocket-protocol: {name}\r\n"))
            .unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
             connection: upgrade\r\nsec-websocket-version: 13\r\n{subprotocol}\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        stream.write_all(request.as_bytes())?;
        let head = read_until(&mut stream, b"\r\n\r\n")?;
        if head.starts_with(b"HTTP/1.1 101") {
            return Ok(stream);
        }
        Err(io::Error::other(String::from_utf8_lossy(&head)))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It was started here and has nothing to lose.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Reads byte by byte until an end, which is read too.
pub(crate) fn read_until(stream: &mut TcpStream, end: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(end) {
        stream.read_exact(&mut byte)?;
        bytes.extend(byte);
    }
    Ok(bytes)
}

/// A WebSocket frame as a client sends it: masked, with a key of zeros.
pub(crate) fn client_frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match u8::try_from(payload.len()) {
        Ok(len) if len < 126 => frame.push(0x80 | len),
        _ => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}
