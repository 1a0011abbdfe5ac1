//! From nothing to a gateway that serves: where its configuration comes from, and what it says.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
};

fn passerelle() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_passerelle"));
    command.env_remove("PASSERELLE_CONFIG");
    command
}

fn run(arguments: &[&str]) -> Output {
    passerelle().args(arguments).output().unwrap()
}

fn said(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

/// An empty folder.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("starting-{name}"));
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// A gateway that serves; it ends with the test.
struct Gateway {
    process: Child,
    /// Host and port.
    address: String,
}

impl Gateway {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap();
        Self { address: address.trim_end_matches('/').to_owned(), process }
    }

    /// The response to a GET.
    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let host = &self.address;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        response
    }

    /// Ends it, and returns its log.
    fn log(mut self) -> String {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let mut log = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert!(self.process.wait().unwrap().success(), "{log}");
        log
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // It may have ended.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

#[test]
fn what_init_writes_passes_check_and_serves() {
    let folder = folder("init");
    let file = folder.join("passerelle.toml");
    let output = passerelle().arg("init").current_dir(&folder).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(passerelle().args(["init", "-"]).output().unwrap().stdout, text.as_bytes());

    let again = passerelle().arg("init").current_dir(&folder).output().unwrap();
    let expected =
        "passerelle: passerelle.toml is there already: name another file, or remove it\n";
    assert_eq!((said(&again), again.status.code()), (expected, Some(1)));

    let check = passerelle().arg("check").arg(&file).output().unwrap();
    assert_eq!(said(&check), "");
    assert_eq!(check.stdout, passerelle().arg("check").output().unwrap().stdout);

    let gateway = Gateway::start(passerelle().arg("serve").arg(&file).args(["--listen", "0"]));
    assert!(gateway.get("/readyz").starts_with("HTTP/1.1 200"));
    // The pages may not have been built; the list of services is there all the same.
    assert!(gateway.get("/services.json").contains("\"broker\":\"./messaging\""));
}

#[test]
fn check_says_all_that_is_wrong() {
    let folder = folder("check");
    let file = folder.join("gw.toml");
    let text = "[[listen]]\naddress = \"localhost\"\ntls = { certificate = \"none.pem\", key = \"none.key\" }\n\
                [[service]]\npath = \"/\"\ntype = \"directory\"\nroot = \"none\"\n\
                [[user]]\nname = \"ann\"\npassword = \"${PASSERELLE_NONE}\"\n\
                [log]\nlvel = \"info\"\n";
    fs::write(&file, text).unwrap();
    let shown = file.to_str().unwrap();
    let there = folder.display();
    let expected = format!(
        "passerelle: {shown}:2:11: `address`: `localhost` is no IP address with a port, such as \
         127.0.0.1:8080 for this machine alone, 0.0.0.0:8080 or [::]:8080 for all\n\
         {shown}:7:8: `root`: there is no folder {there}/none\n\
         {shown}:10:12: `password`: the environment has no variable PASSERELLE_NONE: set it where \
         the gateway is started\n\
         {shown}:12:1: unknown key `lvel` in [log]: did you mean `level`?\n"
    );
    let output = run(&["check", shown]);
    assert_eq!((said(&output), output.status.code()), (&*expected, Some(1)));
    // What is wrong with the files of a listener is known once it has an address.
    fs::write(&file, text.replace("localhost", "127.0.0.1:80")).unwrap();
    let certificate = format!(
        "passerelle: {shown}:3:23: `certificate`: {there}/none.pem cannot be read: No such file or \
         directory (os error 2)\n"
    );
    let output = run(&["check", shown]);
    assert_eq!(said(&output).lines().count(), 4, "{}", said(&output));
    assert!(said(&output).starts_with(&certificate), "{}", said(&output));
}

#[test]
fn the_configuration_is_named_in_one_of_three_ways() {
    let folder = folder("named");
    let file = folder.join("gw.toml");
    fs::write(&file, "threads = 1\n[[service]]\npath = \"/here\"\ntype = \"echo\"\n").unwrap();
    let shown = file.to_str().unwrap();
    let of_variable = passerelle().arg("check").env("PASSERELLE_CONFIG", shown).output().unwrap();
    for output in [
        run(&["check", shown]),
        run(&["check", "-c", shown]),
        run(&["check", "--config", shown]),
        of_variable,
    ] {
        let described = String::from_utf8(output.stdout).unwrap();
        assert!(described.contains("/here"), "{described}");
    }
    let both = run(&["check", shown, "-c", shown]);
    assert_eq!(both.status.code(), Some(2));
    // What the command line names comes first, and an empty variable is none.
    let other = passerelle().args(["check", shown]).env("PASSERELLE_CONFIG", "/none").output();
    assert!(other.unwrap().status.success());
    let empty = passerelle().arg("check").env("PASSERELLE_CONFIG", "").output().unwrap();
    assert!(empty.status.success(), "{}", said(&empty));
}

#[test]
fn an_address_may_be_named_on_the_command_line() {
    let described = |arguments: &[&str]| String::from_utf8(run(arguments).stdout).unwrap();
    assert!(described(&["check", "--listen", "9"]).contains("127.0.0.1:9: everybody may connect"));
    assert!(
        described(&["check", "--listen", "[::1]:9"]).contains("[::1]:9: everybody may connect")
    );
    let output = run(&["check", "--listen", "0.0.0.0:9"]);
    let start =
        "passerelle: the command line: 0.0.0.0:9 is open to other machines and no user could";
    assert!(said(&output).starts_with(start), "{}", said(&output));
    let output = run(&["serve", "--listen", "localhost"]);
    assert!(said(&output).contains("expected a port, or an IP address with a port"));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_gateway_logs_where_it_listens_and_by_which_configuration() {
    let folder = folder("listening");
    let file = folder.join("gw.toml");
    for (format, expected) in [
        ("json", "\"fields\":{\"message\":\"listening\",\"address\":\"ADDRESS\",\"tls\":false}"),
        ("text", "INFO listening address=ADDRESS tls=false"),
    ] {
        fs::write(&file, format!("threads = 1\n[log]\nformat = \"{format}\"\n")).unwrap();
        let gateway = Gateway::start(passerelle().args(["serve", "--listen", "0"]).arg(&file));
        let expected = expected.replace("ADDRESS", &gateway.address);
        let log = gateway.log();
        assert!(log.contains(&expected), "{log}");
        assert!(log.contains(file.to_str().unwrap()), "{log}");
    }
}

#[test]
fn the_version_is_that_of_the_package_and_may_name_its_commit() {
    let output = run(&["--version"]);
    let line = String::from_utf8(output.stdout).unwrap();
    let start = concat!("passerelle ", env!("CARGO_PKG_VERSION"));
    let rest = line.trim_end().strip_prefix(start).unwrap();
    let commit = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
    let is_commit =
        |commit: &str| commit.len() == 12 && commit.bytes().all(|b| b.is_ascii_hexdigit());
    assert!(rest.is_empty() || commit.is_some_and(is_commit), "{line}");
}

#[test]
fn shells_can_complete_all_commands() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let output = run(&["completions", shell]);
        let script = String::from_utf8_lossy(&output.stdout);
        for word in ["serve", "check", "password", "completions", "listen"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
        assert_eq!((said(&output), output.status.code()), ("", Some(0)), "{shell}");
    }
}
