//! A gateway in a process of its own, that listens with TLS and without.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};

pub(crate) struct Gateway {
    pub(crate) process: Child,
    folder: PathBuf,
    pub(crate) tls: SocketAddr,
    pub(crate) plain: SocketAddr,
    client: Arc<ClientConfig>,
}

impl Gateway {
    /// Starts one with a core, and this configuration before that of its listeners.
    pub(crate) fn start(test: &str, config: &str) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{test}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let pem = made.cert.pem();
        fs::write(folder.join("gw.pem"), &pem).unwrap();
        fs::write(folder.join("gw.key"), made.signing_key.serialize_pem()).unwrap();
        let config = format!(
            "threads = 1\n{config}\
            [[listen]]\naddress = '127.0.0.1:0'\ntls = {{ certificate = 'gw.pem', key = 'gw.key' }}\n\
            [[listen]]\naddress = '127.0.0.1:0'\noperations = true\n"
        );
        fs::write(folder.join("gw.toml"), config).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_passerelle"))
            .args(["serve", "--config"])
            .arg(folder.join("gw.toml"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut address = |scheme: &str| {
            let line = lines.next().unwrap().unwrap();
            let rest = line.strip_prefix(&format!("listening on {scheme}://")).unwrap();
            rest.trim_end_matches('/').parse().unwrap()
        };
        let (tls, plain) = (address("https"), address("http"));
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { process, folder, tls, plain, client: Arc::new(client) }
    }

    /// A client's side of TLS to it.
    pub(crate) fn client(&self) -> ClientConnection {
        let name = ServerName::try_from("localhost").unwrap();
        ClientConnection::new(Arc::clone(&self.client), name).unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        drop(fs::remove_dir_all(&self.folder));
    }
}
