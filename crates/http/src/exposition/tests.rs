use std::time::Duration;

use broker::QueueId;
use contract::{Destination, DestinationKind};

use super::*;

#[test]
fn adds_up_cores() {
    let cores = [core(2), core(3)];
    let labels = ["service=\"/messaging\",protocol=\"stomp\""];
    let row = |name: &str| format!("passerelle_{name}{{{}}}", labels[0]);
    for (at, core) in (1..).zip(&cores) {
        let stomp = core.counters.row(1, core.counters.label("stomp"));
        stomp.open.add(at);
        stomp.opened.add(10 * at);
        stomp.messages_in.add(100 * at);
        stomp.messages_out.add(1000 * at);
        stomp.bytes_in.add(10_000 * at);
        stomp.bytes_out.add(100_000 * at);
        stomp.slow.add(1);
        core.counters.refuse(Refused::Origin);
        let queue = "/queue/orders";
        for (action, rule) in
            [("send", queue), ("subscribe", queue), ("send", queue), ("subscribe", "none")]
        {
            let (refusal, destination) = (contract::Refusal::Forbidden, "".into());
            core.counters.deny(&Denial { refusal, action, destination, rule: rule.into() });
        }
        core.counters.encoded.add(at);
        core.counters.shared.add(5 * at);
        core.counters.writes.add(7 * at);
    }
    let denied = |rule: &str, action: &str| {
        format!("passerelle_access_denied_total{{rule=\"{rule}\",action=\"{action}\"}}")
    };
    let upstream = |name: &str, label: &str| {
        format!("passerelle_upstream_{name}{{service=\"/\",upstream=\"{label}\"}}")
    };
    let text = render(snapshot(cores.into()), None);
    let expected = [
        (row("connections_open"), 3),
        (row("connections_opened_total"), 30),
        (row("messages_received_total"), 300),
        (row("messages_sent_total"), 3000),
        (row("bytes_received_total"), 30_000),
        (row("bytes_sent_total"), 300_000),
        (row("slow_consumers_total"), 2),
        ("passerelle_refusals_total{reason=\"origin\"}".to_owned(), 2),
        ("passerelle_refusals_total{reason=\"login\"}".to_owned(), 0),
        (denied("/topic/quotes.>", "send"), 0),
        (denied("/queue/orders", "send"), 4),
        (denied("/queue/orders", "subscribe"), 2),
        (denied("none", "subscribe"), 2),
        (denied("none", "send"), 0),
        (upstream("up", "tcp://a:1"), 1),
        (upstream("up", "tls://b:2"), 0),
        (upstream("connections_open", "tcp://a:1"), 3),
        (upstream("connections_opened_total", "tcp://a:1"), 50),
        (upstream("connections_failed_total", "tls://b:2"), 7),
        (upstream("tls_handshakes_total", "tls://b:2").replace('}', ",outcome=\"done\"}"), 60),
        (upstream("tls_handshakes_total", "tls://b:2").replace('}', ",outcome=\"failed\"}"), 8),
        ("passerelle_upstream_connections_waiting{service=\"/\"}".to_owned(), 4),
        ("passerelle_upstream_connections_refused_total{service=\"/\"}".to_owned(), 5),
        ("passerelle_core_connections{core=\"0\"}".to_owned(), 2),
        ("passerelle_core_connections{core=\"1\"}".to_owned(), 3),
        ("passerelle_frames_encoded_total".to_owned(), 3),
        ("passerelle_frames_shared_total".to_owned(), 15),
        ("passerelle_socket_writes_total".to_owned(), 21),
        ("passerelle_broker_published_total{kind=\"topic\"}".to_owned(), 8),
        ("passerelle_broker_published_total{kind=\"queue\"}".to_owned(), 0),
        ("passerelle_broker_dead_lettered_total".to_owned(), 2),
        ("passerelle_broker_queued_bytes".to_owned(), 1000),
        ("passerelle_broker_queued_bytes_max".to_owned(), 1 << 30),
        ("passerelle_broker_refused_memory_total".to_owned(), 6),
        ("passerelle_broker_refused_principal_total".to_owned(), 4),
        ("passerelle_broker_duplicates_total".to_owned(), 10),
        ("passerelle_broker_topic_dropped_total".to_owned(), 12),
        ("passerelle_broker_topic_conflated_total".to_owned(), 14),
        ("passerelle_store_appended_bytes_total".to_owned(), 5000),
        ("passerelle_store_batches_total".to_owned(), 40),
        ("passerelle_store_syncs_total".to_owned(), 20),
        ("passerelle_store_segments".to_owned(), 2),
        ("passerelle_store_segment_bytes".to_owned(), 64 << 20),
        ("passerelle_store_messages".to_owned(), 30),
        ("passerelle_store_disk_full".to_owned(), 1),
        ("passerelle_inbound_bytes".to_owned(), 4096),
        ("passerelle_inbound_refused_total".to_owned(), 0),
        ("passerelle_log_lines_dropped_total".to_owned(), 9),
        ("passerelle_internal_errors_total".to_owned(), 7),
        ("passerelle_service_info{service=\"/messaging\",type=\"broker\"}".to_owned(), 1),
    ];
    assert!(text.contains("passerelle_store_sync_seconds_total 0.25\n"), "{text}");
    for (series, value) in expected {
        let line = format!("{series} {value}");
        assert!(text.lines().any(|said| said == line), "{line} is not in:\n{text}");
    }
}

#[test]
fn leaves_out_what_never_saw_anything() {
    let text = render(snapshot(vec![core(0)]), None);
    assert!(!text.contains("protocol="), "{text}");
}

#[test]
fn is_well_formed() {
    let odd = queue("/queue/a \\ \"b\"");
    let mut core = core(1);
    core.counters.row(0, core.counters.label("http")).opened.add(1);
    core.queues = Queues::collect([depth(&odd, 1)].into_iter());
    let text = render(snapshot(vec![core]), None);
    let mut described: Vec<&str> = Vec::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert!(!described.contains(&name), "described twice: {line}");
            described.push(name);
        } else if !line.starts_with("# HELP ") {
            let name = line.split(['{', ' ']).next().unwrap();
            assert_eq!(described.last(), Some(&name), "in its own family: {line}");
            assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
        }
    }
    let line = r#"passerelle_queue_ready{queue="/queue/a \\ \"b\""} 1"#;
    assert!(text.lines().any(|said| said == line), "{line} is not in:\n{text}");
}

#[test]
fn names_no_more_than_the_fullest_queues() {
    let names: Vec<QueueId> =
        (0..3 * Queues::NAMED_MAX).map(|at| queue(&format!("/queue/{at}"))).collect();
    let all: usize = (0..names.len()).sum();
    let (even, odd): (Vec<_>, Vec<_>) = names.iter().enumerate().partition(|(at, _)| at % 2 == 0);
    let parts =
        [even, odd].map(|part| Queues::collect(part.into_iter().map(|(at, name)| depth(name, at))));
    for part in &parts {
        assert_eq!(part.named.len(), Queues::NAMED_MAX);
    }
    let merged = Queues::merge(parts.iter());
    assert_eq!(merged.named.len(), Queues::NAMED_MAX);
    assert!(merged.named.iter().all(|(_, depth)| depth.ready >= 2 * Queues::NAMED_MAX));
    assert_eq!(merged.labelled().map(|(_, depth)| depth.ready).sum::<usize>(), all);
}

#[test]
fn tells_no_temporary_names() {
    let temporary = |random| Destination::temporary(DestinationKind::TempQueue, random);
    let secret = QueueId::of(&temporary(0xabcdef)).unwrap();
    let other = QueueId::of(&temporary(0xfedcba)).unwrap();
    let mut core = core(1);
    core.queues = Queues::collect([depth(&secret, 1), depth(&other, 2)].into_iter());
    let text = render(snapshot(vec![core]), None);
    assert!(text.contains("passerelle_queue_ready{queue=\"temporary\"} 3\n"), "{text}");
    assert!(!text.contains("abcdef") && !text.contains("temp-queue"), "{text}");
}

fn snapshot(cores: Vec<Core>) -> Snapshot {
    let services = vec![("/".into(), "pages"), ("/messaging".into(), "broker")];
    let rules = vec!["/topic/quotes.>".into(), "/queue/orders".into()];
    Snapshot {
        services,
        rules,
        upstreams: vec![(0, upstream("tcp://a:1", true)), (0, upstream("tls://b:2", false))],
        upstream_queues: vec![(0, UpstreamQueue { waiting: 4, refused: 5 })],
        cores,
        queued_bytes_max: 1 << 30,
        store: Some(StoreStats {
            appended_bytes: 5000,
            batches: 40,
            syncs: 20,
            sync_time: Duration::from_millis(250),
            segments: 2,
            segment_bytes: 64 << 20,
            messages: 30,
            is_disk_full: true,
        }),
        inbound_bytes: 4096,
        log_lines_dropped: 9,
        internal_errors: 7,
    }
}

fn upstream(label: &str, is_up: bool) -> UpstreamStats {
    let handshakes = label.starts_with("tls").then_some([60, 8]);
    UpstreamStats { label: label.into(), is_up, open: 3, opened: 50, failed: 7, handshakes }
}

fn core(connections: usize) -> Core {
    let broker = broker::Stats {
        topic_published: 4,
        dead_lettered: 1,
        queued_bytes: 500,
        refused_memory: 3,
        refused_principal: 2,
        duplicates: 5,
        topic_dropped: 6,
        topic_conflated: 7,
        ..Default::default()
    };
    let counters = Arc::new(Counters::new(&["http", "websocket", "stomp"], 2));
    let (queues, slow) = (Queues::default(), SlowSubscriptions::default());
    Core { connections, counters, broker, queues, slow }
}

fn queue(name: &str) -> QueueId {
    QueueId::of(&Destination::parse(name).unwrap()).unwrap()
}

const fn depth(name: &QueueId, ready: usize) -> QueueDepth<'_> {
    QueueDepth { name, ready, delayed: 0, unsettled: 0, bytes: 0, consumers: 0, blocked: 0 }
}
