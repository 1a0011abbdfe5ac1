//! A gateway that may not have all the memory of the machine.

use std::{
    fs,
    io::{self, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::PathBuf,
    process::Command,
    thread,
    time::Duration,
};

use super::{Attack, Scene};
use crate::{
    client::{self, RESPONSE_MAX},
    gateway::Start,
    ledger::{self, Ledger},
    stomp::{Options, Stomp},
};

pub(super) const ATTACKS: &[Attack] = &[
    Attack {
        name: "unfinished messages and full queues, in 1 GiB of address space",
        start: |_| {
            if Command::new("prlimit").arg("--version").output().is_err() {
                return Err("prlimit is not there: apt-get install util-linux".into());
            }
            Ok(Start { launcher: format!("exec prlimit --as={MEMORY} -- "), ..Start::default() })
        },
        run: exhaust,
        ..Attack::USUAL
    },
    Attack {
        name: "unfinished messages and full queues, in a control group of 1 GiB",
        start: |_| {
            let group = control_group()?;
            let file = group.display();
            let launcher = format!(
                "echo {MEMORY} > '{file}/memory.max' && echo $$ > '{file}/cgroup.procs' && exec "
            );
            Ok(Start { launcher, group: Some(group), ..Start::default() })
        },
        optional: true,
        run: exhaust,
        ..Attack::USUAL
    },
];

/// Peers that begin large messages and do not end them, and one that fills queues until it is refused;
/// both go on beyond.
fn exhaust(scene: &Scene<'_>) -> Result<(), String> {
    let line = scene.gateway.wait_for_line(&["inbound_bytes_max", "queued_bytes_max"])?;
    println!("    it says: {line}");
    let mut ledgers: Vec<(String, Ledger)> =
        (0..QUEUES).map(|index| (format!("full.{index}"), Ledger::default())).collect();
    let filled = thread::scope(|threads| {
        let peers: Vec<_> = (0..8).map(|_| threads.spawn(|| unfinished(scene))).collect();
        let filled = fill(scene, &mut ledgers);
        let peers: Vec<_> =
            peers.into_iter().filter_map(|peer| peer.join().ok()).flatten().collect();
        println!("    {} unfinished messages at the end", peers.len());
        // All of them stay for a while.
        thread::sleep(scene.secs(0.5, 5.0));
        drop(peers);
        filled
    });
    let filled = filled.map_err(|error| format!("a producer: {error}"))?;
    println!("    {} MiB were confirmed in {QUEUES} queues", filled >> 20);
    for (queue, ledger) in &mut ledgers {
        ledger
            .take_rest(scene.gateway.addresses.plain, Options::from(COLLECTOR), queue)
            .map_err(|error| format!("{queue} could not be taken out: {error}"))?;
        scene.count(ledger);
    }
    Ok(())
}

/// Connections with a message of 15 MiB each that lacks its end.
fn unfinished(scene: &Scene<'_>) -> Vec<TcpStream> {
    let source = scene.attacker();
    let payload = vec![b'x'; UNFINISHED];
    let frame = client::frame(0x82, &payload);
    let fragment = client::frame(0x00, &[b'x'; 64 << 10]);
    let begin = |index: usize| {
        let mut stream = client::connect(source, scene.gateway.addresses.plain, RESPONSE_MAX)?;
        client::handshake(&mut stream, "/echo")?;
        // It is closed, or no more is read.
        stream.set_write_timeout(Some(Duration::from_secs(2)))?;
        if index.is_multiple_of(2) {
            stream.write_all(frame.split_last().map_or(&[], |(_, frame)| frame))?;
        } else {
            stream.write_all(&client::frame(0x02, b"begin"))?;
            for _ in 0..UNFINISHED / fragment.len() {
                stream.write_all(&fragment)?;
            }
        }
        io::Result::Ok(stream)
    };
    // One that was closed makes room for the next.
    (0..25).flat_map(begin).collect()
}

/// Fills the queues in turn until that is refused many times. Returns how many bytes were confirmed.
fn fill(scene: &Scene<'_>, ledgers: &mut [(String, Ledger)]) -> io::Result<usize> {
    let source = scene.attacker();
    let connect = || Stomp::connect(scene.gateway.addresses.plain, Options::from(source));
    let mut stomp = connect()?;
    let (mut bytes, mut refusals) = (0, 0);
    for number in 0..MESSAGES {
        for (queue, ledger) in &mut *ledgers {
            let len = if number % 3 == 2 { 200 } else { MESSAGE };
            match stomp.publish(&format!("/queue/{queue}"), &ledger::body(number, len)) {
                Ok(()) => {
                    ledger.confirm(number);
                    bytes += len;
                }
                Err(error) if error.to_string().starts_with("ERROR") => {
                    refusals += 1;
                    if refusals == 1 {
                        println!("    refused: {error}");
                    }
                    stomp = connect()?;
                }
                Err(error) => return Err(error),
            }
            if refusals >= REFUSALS {
                return Ok(bytes);
            }
        }
    }
    Err(io::Error::other(format!("{} MiB were never refused", bytes >> 20)))
}

/// A control group of this process's own, where the kernel and its administrator allow one.
fn control_group() -> Result<PathBuf, String> {
    let groups = fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    let group = groups.lines().find_map(|line| line.strip_prefix("0::/"));
    let group =
        PathBuf::from("/sys/fs/cgroup").join(group.ok_or("no control groups of version 2")?);
    let mut refused = "no control group of version 2 has the memory controller".to_owned();
    for parent in group.ancestors().take_while(|parent| parent.starts_with("/sys/fs/cgroup")) {
        let controllers = fs::read_to_string(parent.join("cgroup.subtree_control"));
        if !controllers.is_ok_and(|list| list.split_whitespace().any(|name| name == "memory")) {
            continue;
        }
        let folder = parent.join(format!("chaos-{}", std::process::id()));
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) => refused = format!("{}: {error}", folder.display()),
        }
    }
    Err(refused)
}

const MEMORY: usize = 1 << 30;
const UNFINISHED: usize = 15 << 20;
const QUEUES: usize = 60;
const MESSAGE: usize = 512 << 10;
/// To each queue; far more than there is room for.
const MESSAGES: u64 = 200;
const REFUSALS: usize = 20;
const COLLECTOR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);
