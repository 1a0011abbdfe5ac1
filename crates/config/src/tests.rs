use std::{fmt::Write as _, path::Path, time::Duration};

use auth::Mechanism;
use contract::ConnectionLimits;

use super::{keys::keys, *};

const HASH: &str =
    "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

#[expect(clippy::disallowed_methods, reason = "what was read decides so")]
fn may(config: &Config, who: &contract::Principal, action: auth::Action<'_>) -> bool {
    config.access.authorise(Some(who), action).is_ok()
}

fn read(text: &str) -> Config {
    Config::parse(&text.replace("HASH", HASH), "gw.toml").unwrap_or_else(|e| panic!("{e}"))
}

/// `refused.txt` holds the cases. On a difference it prints what the file should be.
#[test]
fn what_is_wrong_is_said_with_its_place() {
    let expected = include_str!("refused.txt");
    let (head, cases) = expected.split_once("===").unwrap();
    let mut actual = head.to_owned();
    for case in cases.split("\n===") {
        let (rule, rest) = case.split_once('\n').unwrap();
        let text = rest.split_once("\n--- ").unwrap().0;
        write!(actual, "==={rule}\n{text}\n").unwrap();
        match Config::parse(&text.replace("HASH", HASH), "gw.toml") {
            Ok(_) => actual.push_str("--- nothing\n"),
            Err(errors) => {
                for error in errors.iter() {
                    let said = error.to_string();
                    writeln!(actual, "--- {}", said.strip_prefix("gw.toml:").unwrap()).unwrap();
                }
            }
        }
        actual.push('\n');
    }
    assert!(cases.split("\n===").count() >= 90);
    assert!(actual.trim_end() == expected.trim_end(), "refused.txt should be:\n\n{actual}");
}

#[test]
fn all_errors_are_counted_and_the_first_are_shown() {
    let text: String = (0..150).map(|n| format!("x{n} = 1\n")).collect();
    let said = Config::parse(&text, "gw.toml").unwrap_err().to_string();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 101);
    assert!(lines[0].starts_with("gw.toml:1:1: unknown key `x0`"), "{said}");
    assert!(lines[99].starts_with("gw.toml:100:1: unknown key `x99`"), "{said}");
    assert_eq!(lines[100], "and 50 more");
}

/// However much is wrong, it is reported soon: these have up to half a million errors.
#[test]
fn a_text_that_is_nowhere_right_is_refused_soon() {
    for (line, count) in
        [("=\n", 500_000), ("a\n", 500_000), ("x=1\n", 250_000), ("[[service]]\n", 10_000)]
    {
        let text = line.repeat(count);
        let said = Config::parse(&text, "gw.toml").unwrap_err().to_string();
        assert_eq!(said.lines().count(), 101, "{line}: {said}");
    }
}

/// Whatever stands in a file, it is read or refused, and the place is in the file.
#[test]
fn no_text_breaks_the_reader() {
    let page = reference();
    let example = page.split("```").nth(1).unwrap().trim_start_matches("toml");
    let bad = include_str!("refused.txt");
    let mut texts: Vec<String> = Vec::new();
    for (split, _) in example.char_indices() {
        texts.push(example[..split].to_owned());
        texts.push(example[split..].to_owned());
        let mut rest = example[split..].chars();
        rest.next();
        texts.push(format!("{}{}", &example[..split], rest.as_str()));
    }
    for value in
        ["", "0", "-1", "1e9", "nan", "true", "[]", "{}", "''", "'€'", "[[]]", "1979-05-27"]
    {
        for line in example.lines().chain(bad.lines()) {
            let Some((key, _)) = line.split_once(" = ") else { continue };
            for header in ["", "[limits]", "[[listen]]", "[[service]]", "[[user]]", "[[access]]"] {
                texts.push(format!("{header}\n{key} = {value}"));
            }
        }
    }
    for text in texts {
        if let Err(errors) = Config::parse(&text, "gw.toml") {
            let lines = text.matches('\n').count() + 1;
            assert!(errors.iter().next().is_some(), "no error\n{text}");
            for error in errors.iter() {
                assert!((1..=lines).contains(&error.line), "{error}\n{text}");
            }
        }
    }
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(format!("{:?}", read("")), format!("{:?}", Config::default()));
}

#[test]
fn listeners_take_the_place_of_the_default_one() {
    let config = read(
        r#"
        [[user]]
        name = "ann"
        password = "HASH"
        [[listen]]
        address = "0.0.0.0:80"
        names = ["gw.example.com", "[::1]:80"]
        [[listen]]
        address = "[::1]:0"
        [[listen]]
        address = "[::]:0"
        anonymous = true
        "#,
    );
    let listens: Vec<_> = config.listens.iter().map(|l| (l.address, l.anonymous)).collect();
    let address = |text: &str| text.parse().unwrap();
    assert_eq!(
        listens,
        [(address("0.0.0.0:80"), false), (address("[::1]:0"), true), (address("[::]:0"), true)]
    );
    let names: Vec<_> = config.listens[0].names.iter().map(ToString::to_string).collect();
    assert_eq!(names, ["gw.example.com", "[::1]:80"]);
}

#[test]
fn services_take_the_place_of_the_default_ones() {
    let config = read(
        r#"
        allow-origins = ["https://a.example"]
        [health]
        enabled = false
        [[service]]
        path = "/amqp"
        type = "proxy"
        connect = "tcp://[::1]:5672"
        connect-timeout = 2.5
        text = true
        allow-origins = ["*"]
        [[service]]
        path = "/b"
        type = "broadcast"
        feed = "tcp://feed.example:9"
        compression = false
        [service.ping]
        "v12.stomp" = false
        amqp = "1.5s"
        [[service]]
        path = "/files"
        type = "directory"
        root = "/"
        welcome = "start.html"
        "#,
    );
    let paths: Vec<_> = config.services.iter().map(|service| &*service.path).collect();
    assert_eq!(paths, ["/amqp", "/b", "/files", "/metrics"]);
    let [proxy, broadcast, files, metrics] = &*config.services else { panic!() };
    assert_eq!(
        proxy.kind,
        ServiceKind::Proxy(Proxy {
            connect: vec![Server {
                scheme: ServerScheme::Tcp,
                address: HostPort { host: "::1".into(), port: 5672 },
                path: "/".into(),
            }],
            text: true,
            connect_timeout: Duration::from_millis(2500),
            ca: None,
            proxy_protocol: false,
            server_name: None,
        })
    );
    assert_eq!(proxy.allow_origins, [AllowedOrigin::Any]);
    let feed = Feed::Connect(HostPort { host: "feed.example".into(), port: 9 });
    assert_eq!(broadcast.kind, ServiceKind::Broadcast(Broadcast { feed: Some(feed) }));
    assert_eq!(
        broadcast.allow_origins,
        [AllowedOrigin::One(Origin::parse("https://a.example").unwrap())]
    );
    assert!(!broadcast.websocket.compression && proxy.websocket.compression);
    let pings: Vec<_> =
        broadcast.websocket.ping.iter().map(|(name, ping)| (&**name, *ping)).collect();
    assert_eq!(pings, [("amqp", Duration::from_millis(1500)), ("v12.stomp", Duration::ZERO)]);
    let ServiceKind::Directory(Directory { root, welcome }) = &files.kind else { panic!() };
    assert_eq!((&**root, &**welcome), (Path::new("/"), "start.html"));
    assert_eq!(metrics.kind, ServiceKind::Metrics);
}

#[test]
fn paths_start_from_the_folder_of_the_file() {
    let text = "[[service]]\npath = \"/\"\ntype = \"directory\"\nroot = \"web\"\n\
                [[listen]]\naddress = \"[::1]:1\"\ntls = { certificate = \"a\", key = \"/b\" }";
    let config = Config::parse(text, "/etc/gw.toml").unwrap();
    let ServiceKind::Directory(Directory { root, welcome }) = &config.services[0].kind else {
        panic!()
    };
    assert_eq!((&**root, &**welcome), (Path::new("/etc/web"), "index.html"));
    let [files] = &*config.listens[0].tls else { panic!() };
    assert_eq!((&*files.certificate, &*files.key), (Path::new("/etc/a"), Path::new("/b")));
    let error = files.key.error("it is locked");
    assert_eq!(error.to_string(), "/etc/gw.toml:7:34: `key`: it is locked");
}

#[test]
fn limits_of_a_service_go_over_the_global_ones() {
    let config = read(
        r#"
        [limits]
        headers-max = 7
        login-timeout = "500ms"
        queue-bytes-max = "1GiB"
        [[service]]
        path = "/echo"
        type = "echo"
        [[service]]
        path = "/small"
        type = "echo"
        limits = { message-bytes-max = 1_000, fragments-max = 1 }
        [[service]]
        path = "/m"
        type = "broker"
        limits = { headers-max = 8 }
        "#,
    );
    let of = |place: usize| {
        let limits = &config.services[place].limits;
        let ConnectionLimits { message_bytes_max, fragments_max, unsent_bytes_max, .. } =
            *limits.connection;
        (message_bytes_max, fragments_max, unsent_bytes_max, limits.protocol.headers_max)
    };
    assert_eq!(of(0), (16 << 20, 65_536, 32 << 20, 7));
    assert_eq!(of(1), (1000, 1, 32 << 20, 7));
    assert_eq!(of(2), (1 << 20, 16_384, 4 << 20, 8));
    assert_eq!(config.limits.broker.queue_bytes_max, 1 << 30);
    assert_eq!(config.services[2].limits.connection.login_timeout, Duration::from_millis(500));
}

#[test]
fn every_limit_has_a_key() {
    let keys: Vec<_> = limits::figures(&Limits::default()).map(|(key, _)| key).collect();
    let shown = format!("{:#?}", Limits::default());
    let fields = shown.lines().filter_map(|line| line.strip_prefix("        ")?.split_once(": "));
    let mut count = 0;
    for (field, _) in fields {
        assert!(keys.contains(&&*field.replace('_', "-")), "{field} has no key");
        count += 1;
    }
    assert_eq!(count, keys.len());
}

#[test]
fn a_path_that_is_nearly_right_is_known() {
    let config = read(
        "[[service]]\npath = \"/topics\"\ntype = \"topics\"\n\
         [[service]]\npath = \"/api/queues\"\ntype = \"queues\"\n\
         [[service]]\npath = \"/echo\"\ntype = \"echo\"",
    );
    let publishes = |kind: &_| matches!(kind, ServiceKind::Topics | ServiceKind::Queues);
    for (path, near) in [
        ("/topic/x", Some("/topics/x")),
        ("/topic/x/y/", Some("/topics/x/y/")),
        ("/Topics/x", Some("/topics/x")),
        ("/topcis", Some("/topics")),
        ("/topic", Some("/topics")),
        ("/api/queue/x", Some("/api/queues/x")),
        ("/ap/queues/x", Some("/api/queues/x")),
        ("/queues/x", None),
        ("/tops/x", Some("/topics/x")),
        ("/news/x", None),
        ("/echos", None),
        ("/", None),
        ("", None),
        ("*", None),
        ("/ü/x", None),
    ] {
        assert_eq!(config.near(path, publishes).as_deref(), near, "{path}");
    }
    assert_eq!(config.near("/ecko", ServiceKind::takes_websockets).as_deref(), Some("/echo"));
    assert_eq!(config.near(&format!("/{}", "t".repeat(10_000)), publishes), None);
}

#[test]
fn global_sizes_hold_for_an_echo_too() {
    let config = read("[limits]\nmessage-bytes-max = \"2MiB\"");
    let (echo, _) = config.service("/echo").unwrap();
    assert_eq!(config.services[echo].limits.connection.message_bytes_max, 2 << 20);
}

#[test]
fn users_and_rules_are_read() {
    let password = auth::Password::make(&contract::Secret::new("x")).unwrap();
    let config = read(&format!(
        r#"
        [[user]]
        name = "ann"
        roles = ["trader", "reader"]
        password = {password}
        [[access]]
        destination = "/topic/quotes.>"
        subscribe = ["*"]
        send = ["role:trader"]
        "#
    ));
    let ann = config.users.get("ann").unwrap();
    assert_eq!(*ann.password(), password);
    assert!(ann.password().scram(Mechanism::Sha256).is_some());
    let destination = contract::Destination::parse("/topic/quotes.IBM").unwrap();
    let send = auth::Action::Send(&destination);
    assert!(may(&config, ann.principal(), send));
    assert!(!may(&config, &contract::Principal::anonymous(), send));
}

#[test]
fn a_rule_for_dead_letter_queues_may_come_after_the_rule_for_all() {
    let config = read(
        r#"
        [[access]]
        destination = ">"
        subscribe = ["*"]
        send = ["*"]
        [[access]]
        destination = "/queue/DLQ.>"
        send = ["*"]
        "#,
    );
    let anonymous = contract::Principal::anonymous();
    let to = contract::Destination::parse("/queue/DLQ.a").unwrap();
    let send = auth::Action::Send(&to);
    assert!(may(&config, &anonymous, send));
    let text = describe(&config);
    let (_, text) = text.split_once("Access\n").unwrap();
    let (access, _) = text.split_once("Limits\n").unwrap();
    assert_eq!(
        access,
        "  >: everybody may subscribe, everybody may send
  /queue/DLQ.>: none may subscribe, everybody may send
  any other: none
  dead-letter queues, besides: who may subscribe to the queue may subscribe, none may send
"
    );
}

#[test]
fn the_rest_is_read() {
    let config = read(
        "threads = 3\nio-uring = true\n[log]\nformat = 'json'\nlevel = 'trace'\n\
         [shutdown]\ngrace = 0\ndrain = '2m'\n[memory]\nunsent-bytes-max-per-core = '1GiB'\n\
         inbound-bytes-max = '32MiB'\nqueued-bytes-max = '8GiB'\n\
         queued-bytes-max-per-principal = '1GiB'\nqueues-max-per-principal = 5000",
    );
    assert_eq!(config.threads.map(NonZeroUsize::get), Some(3));
    assert!(config.io_uring);
    assert_eq!(config.log, Log { format: LogFormat::Json, level: LogLevel::Trace });
    let drain = Duration::from_secs(120);
    assert_eq!(config.shutdown, Shutdown { grace: Duration::ZERO, drain });
    let inbound_bytes_max = Some(32 << 20);
    let expected = Memory {
        inbound_bytes_max,
        queued_bytes_max: Some(8 << 30),
        queued_bytes_max_per_principal: Some(1 << 30),
        queues_max_per_principal: 5000,
        unsent_bytes_max_per_core: 1 << 30,
    };
    assert_eq!(config.memory, expected);
    assert_eq!(read("").memory.inbound_bytes_max, None);
    assert_eq!(read("").memory.queues_max_per_principal, 1000);
    assert_eq!(read("[limits]\nqueues-max = 100").memory.queues_max_per_principal, 50);
    assert_eq!(read("[limits]\nqueues-max = 1").memory.queues_max_per_principal, 1);
}

#[test]
fn the_longest_path_wins_and_ends_at_a_slash() {
    let config = read(
        r#"
        [[service]]
        path = "/a"
        type = "echo"
        [[service]]
        path = "/"
        type = "pages"
        [[service]]
        path = "/a/b"
        type = "topics"
        "#,
    );
    for (path, expected) in [
        ("/", Some((1, ""))),
        ("/index.html", Some((1, "index.html"))),
        ("/a", Some((0, ""))),
        ("/a/", Some((0, ""))),
        ("/a/c/d", Some((0, "c/d"))),
        ("/a/b", Some((2, ""))),
        ("/a/b/x.y", Some((2, "x.y"))),
        ("/a/bc", Some((0, "bc"))),
        ("/ab", Some((1, "ab"))),
        ("/metrics", Some((3, ""))),
        ("", Some((1, ""))),
        ("*", None),
    ] {
        assert_eq!(config.service(path), expected, "{path}");
    }
    let without_root = read("[[service]]\npath = \"/a\"\ntype = \"echo\"");
    assert_eq!(without_root.service("/b"), None);
    assert_eq!(without_root.first_broker(), None);
    assert_eq!(Config::default().first_broker(), Some(1));
}

keys! {
    /// A table of a test.
    #[derive(Debug)]
    "[test]";
    struct Sample: Default + Settings {
        /// How long
        /// to wait.
        wait_at_most: Duration = Duration::from_secs(5),
    }
}

#[test]
fn a_key_is_a_field_and_its_doc_comment() {
    let [key] = <Sample as keys::Keys>::SECTION.keys else { panic!() };
    let default = key.default.map(|default| default());
    assert_eq!((key.name, key.form), ("wait-at-most", "a duration"));
    assert_eq!(default.as_deref(), Some("`\"5s\"`"));
    let schema = <Sample as source::Form>::schema();
    assert_eq!(schema["properties"]["wait-at-most"]["description"], "How long to wait.");
    assert_eq!(Sample::default().settings(), "[test] wait-at-most = \"5s\"");
}

#[test]
fn every_type_of_service_is_one_of_the_defaults_or_needs_more_to_be_said() {
    for service in Config::default().services {
        let name = service.kind.as_str();
        let is_own = ["metrics", "health", "readiness"].contains(&name);
        assert_eq!(
            <form::ServiceType as form::FromString>::WORDS.contains(&name),
            !is_own,
            "{name}"
        );
    }
}

#[test]
fn the_example_in_the_reference_is_right() {
    let page = reference();
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    let config = read(&example.replace("$argon2id$v=19$m=19456,t=2,p=1$…", HASH));
    assert_eq!((config.services.len(), config.access.rules().len()), (5, 1));
}

#[test]
fn what_runs_without_a_file_is_described() {
    assert_eq!(
        describe(&Config::default()),
        "\
Listens on
  127.0.0.1:8080: everybody may connect; its own pages are those of any loopback address or localhost
Services
  /           the pages that come with the gateway
  /messaging  broker: topics and queues, by subprotocol, also for STOMP over plain TCP
  /echo       echo: sends back what it receives
              · message-bytes-max 16MiB, fragments-max 65536, unsent-bytes-max 32MiB
  /broadcast  broadcast: what one sends all get
  /topics     topics: a POST below it publishes to a topic
  /queues     queues: a POST below it sends to a queue
  /metrics    metrics, for everybody who reaches 127.0.0.1:8080
  /healthz    health: whether the process lives
  /readyz     readiness: whether it takes new connections
Users
  none: credentials are ignored
Access
  everybody may subscribe everywhere, and send but to dead-letter queues
Limits
  the defaults
Otherwise
  uses the cores of the machine
  [clients] show-senders = false, same-client-id = \"refuse\"
  [log] format = \"text\", level = \"info\"
  [http] keep-alive = \"75s\"
  [shutdown] grace = \"1s\", drain = \"10s\"
  [memory] inbound-bytes-max = by the memory, queued-bytes-max = by the memory, queued-bytes-max-per-principal = by the memory, queues-max-per-principal = 1000, unsent-bytes-max-per-core = \"256MiB\"
  keeps persistent messages in the state directory, once there are any
"
    );
}

#[test]
fn messages_that_some_peers_cannot_receive_are_described() {
    let broker = "[[service]]\npath = '/m'\ntype = 'broker'\n";
    let queues = |bytes| {
        format!(
            "{broker}[[service]]\npath = '/q'\ntype = 'queues'\nlimits.message-bytes-max = {bytes}"
        )
    };
    let note = "/q takes messages of 8MiB, and a peer at /m is closed when 4MiB wait for it";
    for (bytes, is_noted) in [("'8MiB'", true), ("'4MiB'", false)] {
        let text = describe(&read(&queues(bytes)));
        assert_eq!(text.contains(note), is_noted, "{text}");
        assert!(
            text.contains(&format!("message-bytes-max {}", bytes.trim_matches('\''))),
            "{text}"
        );
    }
}

/// For whom the metrics are said to be; whether a note says that none, or every request, sees them.
#[test]
fn where_operators_are_served_is_described() {
    const PROXY: &str = "[[listen]]\naddress = '127.0.0.1:80'\n";
    const HERE: &str = "[[listen]]\naddress = '127.0.0.1:91'\noperations = true\n";
    const LAN: &str = "[[listen]]\naddress = '10.0.0.1:91'\nanonymous = true\noperations = true\n";
    const ROLES: &str = "[operations]\nroles = ['ops', 'sre']\n\
                         [[user]]\nname = 'olga'\nroles = ['ops', 'sre']\npassword = 'HASH'\n";
    let cases: &[(&[&str], &str, &str)] = &[
        (&[], "everybody who reaches 127.0.0.1:8080", ""),
        (&[PROXY], "no request", "no request sees /metrics: say operations = true"),
        (&[PROXY, "[metrics]\nenabled = false"], "", ""),
        (&[PROXY, HERE], "everybody who reaches 127.0.0.1:91", ""),
        (&[PROXY, ROLES], "users who are ops or sre", ""),
        (
            &[PROXY, LAN, HERE, ROLES],
            "everybody who reaches 10.0.0.1:91 or 127.0.0.1:91, and users who are ops or sre",
            "10.0.0.1:91 shows what is for operators (/metrics) to every machine that reaches it, \
             and without TLS",
        ),
    ];
    for (parts, whom, note) in cases {
        let text = describe(&read(&parts.concat()));
        let metrics = text.lines().find_map(|line| line.trim().strip_prefix("/metrics"));
        let expected = (!whom.is_empty()).then(|| format!("metrics, for {whom}"));
        assert_eq!(metrics.map(str::trim), expected.as_deref(), "{text}");
        assert!(text.contains(note), "{text}");
        assert_eq!(text.contains("/metrics:") || text.contains("(/metrics)"), !note.is_empty());
    }
}

#[test]
fn servers_are_written_as_they_are_read() {
    let cases = [
        ("tcp://rabbit:5672", "rabbit:5672", "/"),
        ("tls://[2001:db8::7]:5671", "[2001:db8::7]:5671", "/"),
        ("ws://rabbit/", "rabbit", "/"),
        ("ws://rabbit:8080/ws?a=b/c", "rabbit:8080", "/ws?a=b/c"),
        ("wss://[2001:db8::7]/ws", "[2001:db8::7]", "/ws"),
        ("wss://rabbit:80/ws", "rabbit:80", "/ws"),
    ];
    for (text, authority, path) in cases {
        let server = value::upstream(text).unwrap();
        assert_eq!((server.authority().as_str(), &*server.path), (authority, path), "{text}");
        assert_eq!(server.to_string(), text.split('?').next().unwrap(), "without the query");
    }
    for text in [
        "http://rabbit/ws?token=secret",
        "ws://rabbit/w s?token=secret",
        "ws://rabbit/w s?token=a@secret",
        "tcp://user:secret@rabbit:5672",
        "tcp://user:sec?ret@rabbit:5672",
        "tcp://user:s/secret@rabbit:5672",
        "user:secret@rabbit",
    ] {
        let errors = [
            value::upstream(text).unwrap_err(),
            value::feed(text).unwrap_err(),
            AllowedOrigin::parse(text).unwrap_err(),
        ];
        assert!(errors.iter().all(|error| !error.contains("sec")), "{errors:?}");
    }
    let shown = |text| value::upstream(text).unwrap().to_string();
    assert_eq!(shown("ws://rabbit"), "ws://rabbit/");
    assert_eq!(shown("ws://rabbit:80"), "ws://rabbit/");
    assert_eq!(shown("wss://rabbit:443/a"), "wss://rabbit/a");
    for text in ["tcp://rabbit", "ws://", "ws:///a", "ws://a@b/", "ws://[::1/", "http://a:1/"] {
        assert!(value::upstream(text).is_err(), "{text}");
    }
}
