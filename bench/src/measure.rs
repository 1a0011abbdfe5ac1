//! What a message and a connection cost, measured on a running gateway.
//!
//! `bench measure PROGRAM` shows that the data plane is the designed one: an idle WebSocket takes next to
//! no memory, a publication is encoded once for each distinct head, pipelined messages leave in
//! one write. It says the figures and whether each keeps its bound.
use std::{
    error::Error, io::Read as _, io::Write as _, path::Path, process::ExitCode, thread,
    time::Duration,
};

use crate::gateway::{Gateway, client_frame, read_until};

/// Says each figure and whether it keeps its bound.
pub(crate) fn run(program: &Path) -> ExitCode {
    let measures: [(&str, fn(&Path) -> Result<bool, Box<dyn Error>>); 4] = [
        ("idle memory", idle_memory),
        ("encodings", encodings),
        ("writes", writes),
        ("wildcards", wildcards),
    ];
    let mut kept = true;
    for (name, measure) in measures {
        match measure(program) {
            Ok(keeps) => kept &= keeps,
            Err(error) => {
                println!("{name}: could not be measured: {error}");
                kept = false;
            }
        }
    }
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Memory of the gateway's own for each idle WebSocket: the slope between two counts.
fn idle_memory(program: &Path) -> Result<bool, Box<dyn Error>> {
    const FEW: u64 = 5_000;
    const MANY: u64 = 10_000;
    let mut kept = true;
    let two_subscriptions = "CONNECT\naccept-version:1.2\nhost:localhost\n\n\0\
        SUBSCRIBE\nid:1\ndestination:/topic/a\n\n\0\
        SUBSCRIBE\nid:2\ndestination:/topic/b\n\n\0";
    for (path, subprotocol, said, max) in [
        ("/echo", None, "", 1024),
        ("/broadcast", None, "", 1024),
        ("/messaging", Some("v12.stomp"), two_subscriptions, 2048),
    ] {
        let gateway = Gateway::start(program, 1)?;
        let mut open = Vec::new();
        let mut memory = Vec::new();
        for count in [FEW, MANY] {
            while (open.len() as u64) < count {
                let mut stream = gateway.websocket(path, subprotocol)?;
                if !said.is_empty() {
                    stream.write_all(&client_frame(said.as_bytes()))?;
                }
                open.push(stream);
            }
            thread::sleep(Duration::from_millis(500));
            memory.push(gateway.own_memory()?);
        }
        let [few, many] = memory[..] else { return Err("two readings".into()) };
        let each = many.saturating_sub(few) / (MANY - FEW);
        println!(
            "idle memory: {each} bytes a WebSocket at {path} ({FEW} to {MANY}); at most {max}"
        );
        kept &= each <= max;
    }
    Ok(kept)
}

/// One publication to a thousand STOMP subscribers with ten different subscription ids.
fn encodings(program: &Path) -> Result<bool, Box<dyn Error>> {
    const SUBSCRIBERS: usize = 1000;
    const IDS: usize = 10;
    let gateway = Gateway::start(program, 1)?;
    let mut subscribers = Vec::new();
    for index in 0..SUBSCRIBERS {
        let mut stream = gateway.connect()?;
        write!(
            stream,
            "CONNECT\naccept-version:1.2\nhost:localhost\n\n\0\
             SUBSCRIBE\nid:{}\ndestination:/topic/t\nreceipt:r\n\n\0",
            index % IDS
        )?;
        read_until(&mut stream, b"receipt-id:r\n\n\0")?;
        subscribers.push(stream);
    }
    let before = gateway.metric("passerelle_frames_encoded_total")?;
    let mut publisher = gateway.connect()?;
    write!(
        publisher,
        "CONNECT\naccept-version:1.2\nhost:localhost\n\n\0SEND\ndestination:/topic/t\n\nhello\0"
    )?;
    for stream in &mut subscribers {
        read_until(stream, b"hello\0")?;
    }
    let encoded = gateway.metric("passerelle_frames_encoded_total")? - before;
    println!("encodings: {encoded} for {SUBSCRIBERS} subscribers with {IDS} ids; exactly {IDS}");
    Ok(encoded == IDS as f64)
}

/// Sixteen messages that come at once to an echo.
fn writes(program: &Path) -> Result<bool, Box<dyn Error>> {
    const MESSAGES: usize = 16;
    let gateway = Gateway::start(program, 1)?;
    let mut stream = gateway.websocket("/echo", None)?;
    let before = gateway.metric("passerelle_socket_writes_total")?;
    stream.write_all(&client_frame(b"0123456789abcdef").repeat(MESSAGES))?;
    let mut echoed = [0; MESSAGES * 18];
    stream.read_exact(&mut echoed)?;
    let writes = gateway.metric("passerelle_socket_writes_total")? - before;
    println!("writes: {writes} for {MESSAGES} pipelined messages; exactly 1");
    Ok(writes == 1.0)
}

/// Subscriptions with wildcards: those that make a look-up as long as they can, and ordinary ones.
fn wildcards(program: &Path) -> Result<bool, Box<dyn Error>> {
    /// Of a connection: as many as one may have.
    const PATTERNS: usize = 1000;
    const MESSAGES: usize = 10_000;
    let hostile = |n: usize| {
        let level = |level: usize| if (n % PATTERNS) >> level & 1 == 1 { "*." } else { "a." };
        let first = (0..10).map(level).collect::<String>();
        format!("{first}{}b{}", "a.".repeat(52), n / PATTERNS)
    };
    let inputs: [(&str, usize, &dyn Fn(usize) -> String, String); 2] = [
        ("in 10 of 63 levels", 10, &hostile, "a.".repeat(62) + "a"),
        ("as a.<n>.*.x", 100, &|n| format!("a.{n}.*.x"), "a.7.y.z".to_owned()),
    ];
    let mut kept = true;
    for (about, connections, pattern, name) in inputs {
        let gateway = Gateway::start(program, 1)?;
        let mut publisher = gateway.connect()?;
        write!(publisher, "CONNECT\naccept-version:1.2\nhost:localhost\n\n\0")?;
        let send = format!("SEND\ndestination:/topic/{name}\n\nhello\0");
        let last = format!("SEND\ndestination:/topic/{name}\nreceipt:r\n\nhello\0");
        let messages = send.repeat(MESSAGES - 1) + &last;
        let mut cpu_ns_each = || -> Result<u64, Box<dyn Error>> {
            let before = gateway.cpu_ns();
            publisher.write_all(messages.as_bytes())?;
            read_until(&mut publisher, b"receipt-id:r\n\n\0")?;
            Ok((gateway.cpu_ns() - before) / MESSAGES as u64)
        };
        cpu_ns_each()?;
        let cpu_before = cpu_ns_each()?;
        let memory = gateway.own_memory()?;
        let mut subscribers = Vec::new();
        let mut bytes = 0;
        for connection in 0..connections {
            let mut stream = gateway.connect()?;
            let mut frames = "CONNECT\naccept-version:1.2\nhost:localhost\n\n\0".to_owned();
            for n in 0..PATTERNS {
                let pattern = pattern(connection * PATTERNS + n);
                let receipt = if n + 1 == PATTERNS { "receipt:r\n" } else { "" };
                bytes += pattern.len() as u64;
                frames +=
                    &format!("SUBSCRIBE\nid:{n}\ndestination:/topic/{pattern}\n{receipt}\n\0");
            }
            stream.write_all(frames.as_bytes())?;
            read_until(&mut stream, b"receipt-id:r\n\n\0")?;
            subscribers.push(stream);
        }
        let count = (connections * PATTERNS) as u64;
        let each = gateway.own_memory()?.saturating_sub(memory) / count;
        let max = 1024 + bytes / count;
        let cpu = cpu_ns_each()?;
        println!(
            "wildcards: {each} bytes for each of {count} subscriptions {about}; at most {max}; \
             {cpu} ns of CPU for a SEND that none matches, {cpu_before} without them"
        );
        kept &= each <= max;
    }
    Ok(kept)
}
