//! TLS of the listeners: certificates from files, chosen by the name that a peer requests, and
//! changed while connections last.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use config::{CertificateFiles, Proxy, Server};
use rustls::{
    ClientConfig, Error, InconsistentKeys, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName,
        pem::{self, PemObject as _},
    },
    server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use transports::ClientTls;
use webpki::EndEntityCert;

use crate::files;

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file that cannot be read.
    #[error("{} cannot be read: {error}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the kernel reports.
        error: std::io::Error,
    },
    /// A file without what it is for.
    #[error("{} has no {what} in PEM: a block that begins with -----BEGIN {label}-----", .file.display())]
    Missing {
        /// The file.
        file: PathBuf,
        /// What it should have.
        what: &'static str,
        /// How that begins.
        label: &'static str,
    },
    /// A file whose content is broken.
    #[error("{}: {what}", .file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// Two files that do not belong together.
    #[error("{} is not the key of the first certificate in {}", .key.display(), .certificate.display())]
    Mismatch {
        /// The certificate.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// The system has no certificates that it trusts, or they are elsewhere.
    #[error("the system has no certificates that it trusts, in none of {}: name them by `ca`", SYSTEM_ROOTS.join(", "))]
    NoSystemRoots,
    /// What no certificate can be for.
    #[error("`{0}` is no name that a certificate can be for: set `server-name`")]
    ServerName(Box<str>),
}

impl CertificateError {
    /// Whether it is about the key, or about the certificate.
    pub(crate) fn is_about_key(&self, files: &CertificateFiles) -> bool {
        match self {
            Self::Unreadable { file, .. }
            | Self::Missing { file, .. }
            | Self::Malformed { file, .. } => **file == *files.key,
            Self::Mismatch { .. } => true,
            Self::NoSystemRoots | Self::ServerName(_) => false,
        }
    }
}

/// The TLS of a listener.
#[derive(Debug)]
pub(crate) struct Endpoint {
    files: Vec<CertificateFiles>,
    certificates: Arc<Certificates>,
    /// What handshakes are done with.
    pub(crate) config: Arc<ServerConfig>,
}

impl Endpoint {
    /// Reads the certificates. The first is for peers who request no name, or an unknown one.
    ///
    /// # Errors
    /// When one cannot be used.
    pub(crate) fn open(files: &[CertificateFiles]) -> Result<Self, CertificateError> {
        let certificates = Arc::new(Certificates(RwLock::new(load_all(files)?)));
        let config = config(Arc::clone(&certificates));
        Ok(Self { files: files.to_vec(), certificates, config: Arc::new(config) })
    }

    /// Reads the certificates again, for the handshakes to come.
    ///
    /// # Errors
    /// When one cannot be used. All stay as they were then.
    pub(crate) fn reload(&self) -> Result<(), CertificateError> {
        let loaded = load_all(&self.files)?;
        *self.certificates.0.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }
}

/// TLS 1.2 and 1.3 with the suites and groups of Mozilla's "intermediate" profile, which are those
/// of the provider.
fn config(certificates: Arc<Certificates>) -> ServerConfig {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has suites for both")
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Tickets keep the session with the client; the few that take none find theirs in the cache.
    if let Ok(ticketer) = ring::Ticketer::new() {
        config.ticketer = ticketer;
    }
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
    config
}

/// How TLS is spoken to a server of a proxy.
///
/// # Errors
/// When the certificates that are trusted cannot be read, or the name is none.
pub(crate) fn client(
    proxy: &Proxy,
    roots: Arc<RootCertStore>,
    server: &Server,
) -> Result<ClientTls, CertificateError> {
    let name = proxy.server_name.as_deref().unwrap_or(&server.address.host);
    let name = ServerName::try_from(name.to_owned())
        .map_err(|_| CertificateError::ServerName(name.into()))?;
    let mut config = client_config(roots);
    if server.scheme.is_websocket() {
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
    }
    Ok(ClientTls { config: Arc::new(config), name })
}

/// As [`config()`], for the client.
pub(crate) fn client_config(roots: Arc<RootCertStore>) -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13, &TLS12])
        .expect("the provider has suites for both")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// The certificates that are trusted to certify servers: those of a file, or the system's.
///
/// # Errors
/// When they cannot be used.
pub(crate) fn roots(ca: Option<&Path>) -> Result<Arc<RootCertStore>, CertificateError> {
    let mut roots = RootCertStore::empty();
    let Some(ca) = ca else {
        let bundle = SYSTEM_ROOTS.iter().map(Path::new).find_map(|file| files::read(file).ok());
        let bundle = bundle.ok_or(CertificateError::NoSystemRoots)?;
        // Some bundles have certificates that are too odd to be used, and are not missed.
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&bundle).flatten());
        return Ok(Arc::new(roots));
    };
    for certificate in CertificateDer::pem_slice_iter(&read(ca)?) {
        let certificate = certificate.map_err(|_| malformed(ca, BROKEN_PEM))?;
        roots.add(certificate).map_err(|_| malformed(ca, "one of its certificates is broken"))?;
    }
    if roots.is_empty() {
        return Err(missing(ca, "certificate", "CERTIFICATE"));
    }
    Ok(Arc::new(roots))
}

/// The certificates of a listener, which may be changed between handshakes.
#[derive(Debug)]
struct Certificates(RwLock<Arc<[Arc<CertifiedKey>]>>);

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let all = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        if let [only] = &*all {
            return Some(Arc::clone(only));
        }
        let name = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fits = |certified: &&Arc<CertifiedKey>| {
            certified.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let named = name
            .and_then(|name| all.iter().filter(fits).find(|certified| is_for(certified, &name)));
        named.or_else(|| all.iter().find(fits)).map(Arc::clone)
    }
}

fn is_for(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    certified
        .cert
        .first()
        .and_then(|certificate| EndEntityCert::try_from(certificate).ok())
        .is_some_and(|certificate| certificate.verify_is_valid_for_subject_name(name).is_ok())
}

fn load_all(
    certificates: &[CertificateFiles],
) -> Result<Arc<[Arc<CertifiedKey>]>, CertificateError> {
    certificates.iter().map(|files| load(files).map(Arc::new)).collect()
}

/// Reads a certificate, those that certify it, and its key.
///
/// # Errors
/// When they cannot be used.
pub(crate) fn load(from: &CertificateFiles) -> Result<CertifiedKey, CertificateError> {
    let CertificateFiles { certificate, key } = from;
    let chain = CertificateDer::pem_slice_iter(&read(certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| malformed(certificate, BROKEN_PEM))?;
    if chain.is_empty() {
        return Err(missing(certificate, "certificate", "CERTIFICATE"));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| {
        if matches!(error, pem::Error::NoItemsFound) {
            missing(key, "private key", "PRIVATE KEY")
        } else {
            malformed(key, BROKEN_PEM)
        }
    })?;
    let private = provider()
        .key_provider
        .load_private_key(private)
        .map_err(|_| malformed(key, "the key is of a kind that TLS does not use, or broken"))?;
    let certified = CertifiedKey::new(chain, private);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => Err(CertificateError::Mismatch {
            certificate: certificate.to_path_buf(),
            key: key.to_path_buf(),
        }),
        Err(_) => Err(malformed(certificate, "its first certificate is broken")),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CertificateError> {
    files::read(file).map_err(|error| CertificateError::Unreadable { file: file.to_owned(), error })
}

fn missing(file: &Path, what: &'static str, label: &'static str) -> CertificateError {
    CertificateError::Missing { file: file.to_owned(), what, label }
}

fn malformed(file: &Path, what: &'static str) -> CertificateError {
    CertificateError::Malformed { file: file.to_owned(), what }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Where distributions keep the certificates that they trust: Debian, Fedora, SUSE, Alpine.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const BROKEN_PEM: &str = "a block of PEM has no end, or is no base64";
/// Sessions of TLS 1.2 without tickets that can be resumed, at about 200 bytes each.
const SESSIONS_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_certificate_is_said() {
        let folder = std::env::temp_dir().join(format!("passerelle-tls-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, content: &str| fs::write(folder.join(name), content).unwrap();
        let one = rcgen::generate_simple_self_signed(["one.test".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["other.test".to_owned()]).unwrap();
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        write("one.pem", &one.cert.pem());
        write("one.key", &one.signing_key.serialize_pem());
        write("other.key", &other.signing_key.serialize_pem());
        write("both.pem", &(one.cert.pem() + &one.signing_key.serialize_pem()));
        write("empty", "");
        write("truncated", "-----BEGIN CERTIFICATE-----\nAAAA");
        write("broken.pem", broken);
        write("broken.key", &broken.replace("CERTIFICATE", "PRIVATE KEY"));
        let cases = [
            ("one.pem", "one.key", ""),
            ("both.pem", "both.pem", ""),
            ("no.pem", "one.key", "no.pem cannot be read: No such file or directory"),
            ("one.pem", "no.key", "no.key cannot be read: No such file or directory"),
            ("empty", "one.key", "empty has no certificate in PEM"),
            ("one.key", "one.key", "one.key has no certificate in PEM"),
            ("one.pem", "one.pem", "one.pem has no private key in PEM"),
            ("truncated", "one.key", "truncated: a block of PEM has no end"),
            ("broken.pem", "one.key", "broken.pem: its first certificate is broken"),
            ("one.pem", "broken.key", "broken.key: the key is of a kind that TLS does not use"),
            ("one.pem", "other.key", "other.key is not the key of the first certificate in "),
        ];
        for (certificate, key, expected) in cases {
            let files = CertificateFiles {
                certificate: folder.join(certificate).into(),
                key: folder.join(key).into(),
            };
            let said = load(&files).err().map(|error| error.to_string()).unwrap_or_default();
            let said = said.replace(&format!("{}/", folder.display()), "");
            assert_eq!(said.is_empty(), expected.is_empty(), "{certificate}, {key}: {said}");
            assert!(said.starts_with(expected), "{certificate}, {key}: {said}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
