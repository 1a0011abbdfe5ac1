//! The configuration file, and the files that it names.

use std::{io, path::Path};

use config::{Config, ConfigError, Listen, Service, ServiceKind};

use crate::{files, tls};

/// Reads a configuration from its file, and looks at what it names.
///
/// # Errors
/// When the file cannot be read, as [`Config::parse`], and when a certificate cannot be used or a
/// folder is not there.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let file = path.display().to_string();
    let text = files::read_bounded(path)
        .and_then(|bytes| {
            String::from_utf8(bytes)
                .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
        })
        .map_err(|error| ConfigError::of_file(&file, format_args!("cannot be read: {error}")))?;
    let config = Config::parse(&text, &file)?;
    config.listens.iter().try_for_each(certificates)?;
    config.services.iter().try_for_each(folder)?;
    Ok(config)
}

fn certificates(listen: &Listen) -> Result<(), ConfigError> {
    listen.tls.iter().try_for_each(|files| match tls::load(files) {
        Ok(_) => Ok(()),
        Err(error) if error.is_about_key(files) => Err(files.key.error(error)),
        Err(error) => Err(files.certificate.error(error)),
    })
}

fn folder(service: &Service) -> Result<(), ConfigError> {
    if let ServiceKind::Directory { root, .. } = &service.kind
        && !root.is_dir()
    {
        return Err(root.error(format_args!("there is no folder {}", root.display())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_said_with_its_place() {
        let folder = std::env::temp_dir().join(format!("passerelle-load-{}", std::process::id()));
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
