//! The configuration file, and the files and environment variables that it names.

use std::{
    env, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use config::{
    CertificateFiles, Config, ConfigError, ConfigErrors, Directory, Environment, Outside, Proxy,
    Reading, Service, ServiceKind,
};

use crate::{files, tls, upstream};

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// Its file; `None`: the defaults hold.
    pub file: Option<PathBuf>,
    /// The address to listen on, whatever the file says.
    pub listen: Option<SocketAddr>,
}

impl Source {
    /// The file that the command line names, or the environment (`PASSERELLE_CONFIG`), or else the one
    /// of the system if it is there.
    #[must_use]
    pub fn find(named: Option<PathBuf>, listen: Option<SocketAddr>) -> Self {
        let of_environment = || env::var_os(FILE_VARIABLE).filter(|file| !file.is_empty());
        let of_system = || Some(PathBuf::from(SYSTEM_FILE)).filter(|file| file.exists());
        let file = named.or_else(|| of_environment().map(Into::into)).or_else(of_system);
        Self { file, listen }
    }

    /// Reads the configuration, and looks at what it names.
    ///
    /// # Errors
    /// When the file cannot be read, or else all that is wrong with it: as [`Config::parse`], and the
    /// certificates that cannot be used and folders that are not there.
    pub fn load(&self) -> Result<Config, ConfigErrors> {
        let outside = Outside { environment: &Process, listen: self.listen };
        let Some(path) = &self.file else {
            return Config::read("", "the command line", outside).finish();
        };
        let file = path.display().to_string();
        let text = read_text(path).map_err(|error| {
            ConfigError::of_file(&file, format_args!("cannot be read: {error}"))
        })?;
        look(Config::read(&text, &file, outside), &file)
    }
}

/// The environment of the process.
#[derive(Debug)]
struct Process;

impl Environment for Process {
    fn variable(&self, name: &str) -> Option<String> {
        env::var_os(name)?.into_string().ok()
    }

    fn file(&self, path: &Path) -> Result<String, String> {
        read_text(path).map_err(|error| error.to_string())
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(files::read(path)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// Looks at the files that a configuration names.
fn look(mut reading: Reading, file: &str) -> Result<Config, ConfigErrors> {
    let Config { listens, services, .. } = reading.config();
    let certificates = listens.iter().flat_map(|listen| &listen.tls).filter_map(certificate);
    let folders = services.iter().filter_map(folder);
    let upstreams = services.iter().filter_map(|service| upstream(service, file));
    let errors: Vec<_> = certificates.chain(folders).chain(upstreams).collect();
    errors.into_iter().for_each(|error| reading.refuse(error));
    reading.finish()
}

/// What is wrong with a certificate.
fn certificate(files: &CertificateFiles) -> Option<ConfigError> {
    let error = tls::load(files).err()?;
    let is_about_key = error.is_about_key(files);
    Some(if is_about_key { files.key.error(error) } else { files.certificate.error(error) })
}

/// What is wrong with the folder of a service.
fn folder(service: &Service) -> Option<ConfigError> {
    let ServiceKind::Directory(Directory { root, .. }) = &service.kind else { return None };
    (!root.is_dir()).then(|| root.error(format_args!("there is no folder {}", root.display())))
}

/// What is wrong with the upstream of a service.
fn upstream(service: &Service, file: &str) -> Option<ConfigError> {
    let error = upstream::open(&service.kind).err()?;
    let ServiceKind::Proxy(Proxy { ca: Some(ca), .. }) = &service.kind else {
        return Some(ConfigError::of_file(file, error));
    };
    Some(ca.error(error))
}

/// The environment variable that names the file.
const FILE_VARIABLE: &str = "PASSERELLE_CONFIG";
/// The file of the system.
const SYSTEM_FILE: &str = "/etc/passerelle/passerelle.toml";

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn load(file: &Path) -> Result<Config, ConfigErrors> {
        Source { file: Some(file.to_owned()), listen: None }.load()
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_place() {
        let folder = env::temp_dir().join(format!("passerelle-load-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("none.pem"), "no PEM").unwrap();
        let listen = "[[listen]]\naddress = \"127.0.0.1:1\"\n";
        let cases = [
            (
                "a certificate that is not there",
                format!("{listen}tls = [{{ certificate = \"no.pem\", key = \"no.key\" }}]"),
                "gw.toml:3:24: `certificate`: no.pem cannot be read: No such file or directory (os \
                 error 2)",
            ),
            (
                "a certificate that is none",
                format!("{listen}tls = {{ certificate = \"none.pem\", key = \"no.key\" }}"),
                "gw.toml:3:23: `certificate`: none.pem has no certificate in PEM: a block that \
                 begins with -----BEGIN CERTIFICATE-----",
            ),
            (
                "a directory that is not there",
                "[[service]]\npath = \"/\"\ntype = \"directory\"\nroot = \"no/such\"".to_owned(),
                "gw.toml:4:8: `root`: there is no folder no/such",
            ),
            (
                "all of them, and what the text says wrong",
                format!(
                    "{listen}tls = [{{ certificate = \"no.pem\", key = \"no.key\" }}]\nname = 1\n\
                     [[service]]\npath = \"/\"\ntype = \"directory\"\nroot = \"none\""
                ),
                "gw.toml:3:24: `certificate`: no.pem cannot be read: No such file or directory (os \
                 error 2)\n\
                 gw.toml:4:1: unknown key `name` in [[listen]]: did you mean `names`?\n\
                 gw.toml:8:8: `root`: there is no folder none",
            ),
            (
                "a certificate to trust that is none",
                "[[service]]\npath = \"/\"\ntype = \"proxy\"\nconnect = \"tls://a:1\"\n\
                 ca = \"none.pem\""
                    .to_owned(),
                "gw.toml:5:6: `ca`: none.pem has no certificate in PEM: a block that begins with \
                 -----BEGIN CERTIFICATE-----",
            ),
            (
                "a directory that is there",
                "[[service]]\npath = \"/\"\ntype = \"directory\"\nroot = \".\"".to_owned(),
                "",
            ),
        ];
        let file = folder.join("gw.toml");
        for (rule, text, expected) in cases {
            fs::write(&file, text).unwrap();
            let said = load(&file).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(said.replace(&format!("{}/", folder.display()), ""), expected, "{rule}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let error = load(Path::new("no/such.toml")).unwrap_err().to_string();
        assert!(error.starts_with("no/such.toml: cannot be read: "), "{error}");
    }
}
