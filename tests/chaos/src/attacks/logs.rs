//! A log that is not read, or that cannot be written.

use std::{fs, net::Ipv4Addr, process::Command, thread, time::Instant};

use super::{Attack, Scene};
use crate::{
    client::{self, RESPONSE_MAX},
    gateway::{Start, Stderr, Stdout, fill},
};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "closed stderr and stdout",
        start: |_| Ok(Start { stderr: Stderr::Closed, stdout: Stdout::Closed, ..Start::default() }),
        run: churn,
        ..Attack::USUAL
    },
    Attack {
        name: "stderr and stdout are /dev/full",
        start: |_| Ok(Start { stderr: Stderr::Full, stdout: Stdout::Full, ..Start::default() }),
        run: churn,
        ..Attack::USUAL
    },
    Attack { name: "unread stderr", start: |_| to(Stderr::Pipe), run: churn, ..Attack::USUAL },
    Attack {
        name: "unread stderr, then read",
        start: |_| Ok(Start { log_level: "trace", ..to(Stderr::Pipe)? }),
        run: unread_then_read,
        ..Attack::USUAL
    },
    Attack {
        name: "unread non-blocking stderr, then read",
        start: |_| Ok(Start { log_level: "trace", ..to(Stderr::NonBlockingPipe)? }),
        run: unread_then_read,
        ..Attack::USUAL
    },
    Attack {
        name: "the reader of stderr goes away",
        start: |_| to(Stderr::Pipe),
        run: |scene| {
            scene.gateway.pipe.close();
            churn(scene)
        },
        ..Attack::USUAL
    },
    Attack {
        name: "stderr is read slowly, at level trace",
        start: |_| Ok(Start { log_level: "trace", ..to(Stderr::Pipe)? }),
        run: |scene| {
            scene.gateway.pipe.start_reading(Some(scene.secs(0.1, 0.1)));
            churn(scene)
        },
        ..Attack::USUAL
    },
    Attack {
        name: "full disk, then freed",
        start: |_| {
            let works = Command::new("unshare")
                .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
                .arg("mount -t tmpfs -o size=1m chaos /tmp")
                .output();
            match works {
                Ok(output) if output.status.success() => to(Stderr::Disk),
                Ok(output) => Err(format!(
                    "user namespaces with a tmpfs: `unshare --user --map-root-user --mount` says \
                     {:?}",
                    String::from_utf8_lossy(&output.stderr).trim()
                )),
                Err(error) => Err(format!("unshare ({error}): apt-get install util-linux")),
            }
        },
        run: full_disk,
        ..Attack::USUAL
    },
];

#[expect(clippy::unnecessary_wraps, reason = "what rows call")]
fn to(stderr: Stderr) -> Result<Start, String> {
    Ok(Start { stderr, ..Start::default() })
}

/// What is logged while it is not read is lost, as far as it does not fit into a pipe and the
/// gateway's memory for it; the number of lines lost is logged later.
fn unread_then_read(scene: &Scene<'_>) -> Result<(), String> {
    // At level trace this is more than twice what the gateway and the pipe keep.
    for _ in 0..2_500 {
        come_and_go(scene, scene.attacker());
    }
    scene.gateway.pipe.start_reading(None);
    said_what_was_lost(scene)?;
    churn(scene)
}

fn full_disk(scene: &Scene<'_>) -> Result<(), String> {
    let disk = scene.gateway.disk();
    let filler = fill(&disk).map_err(|error| format!("filling {}: {error}", disk.display()))?;
    churn(scene)?;
    fs::remove_file(&filler).map_err(|error| format!("freeing the disk: {error}"))?;
    churn(scene)?;
    said_what_was_lost(scene)
}

fn said_what_was_lost(scene: &Scene<'_>) -> Result<(), String> {
    let line = scene.gateway.wait_for_line(LOST)?;
    println!("    it says: {line}");
    Ok(())
}

/// Connections that come, are served and go, each with its lines in the log.
fn churn(scene: &Scene<'_>) -> Result<(), String> {
    let end = Instant::now() + scene.secs(1.2, 6.0);
    thread::scope(|threads| {
        for _ in 0..2 {
            let source = scene.attacker();
            threads.spawn(move || {
                while Instant::now() < end {
                    come_and_go(scene, source);
                }
            });
        }
    });
    Ok(())
}

/// One such connection. What becomes of it, the honest clients see.
fn come_and_go(scene: &Scene<'_>, source: Ipv4Addr) {
    if let Ok(mut stream) = client::connect(source, scene.gateway.addresses.plain, RESPONSE_MAX) {
        drop(client::handshake(&mut stream, "/echo"));
    }
}

/// Words of the line that says how many lines were lost.
const LOST: &[&str] = &["log lines were lost"];
