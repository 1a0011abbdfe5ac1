use std::{
    fs,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use crate::{
    failure::{Doing, Failure, Outcome},
    gateway::{Binaries, Gateway},
    paths, shell, tools,
};

/// A folder with `gw.pem`, `gw.key` and the `ca.pem` that certifies them, new each time.
pub(super) fn certificate() -> Outcome<PathBuf> {
    let folder = paths::fresh_folder("certificate")?;
    let files = make().map_err(|error| Failure::Failed(error.to_string()))?;
    for (name, content) in files {
        let file = folder.join(name);
        fs::write(&file, content).doing(file.display())?;
    }
    Ok(folder)
}

fn make() -> Result<[(&'static str, String); 3], rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Passerelle's tests");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let key = KeyPair::generate()?;
    let authority = params.self_signed(&key)?;
    let issuer = Issuer::new(params, key);

    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.use_authority_key_identifier_extension = true;
    // Clients refuse what lasts longer than a year.
    params.not_before = (SystemTime::now() - DAY).into();
    params.not_after = (SystemTime::now() + 90 * DAY).into();
    let key = KeyPair::generate()?;
    let gateway = params.signed_by(&key, &issuer)?;
    let (authority, gateway) = (authority.pem(), gateway.pem());
    Ok([("ca.pem", authority), ("gw.pem", gateway), ("gw.key", key.serialize_pem())])
}

/// sslyze against Mozilla's "intermediate" profile.
pub(super) fn sslyze(threads: u16) -> Outcome {
    let bin = tools::python("sslyze", &["sslyze==6.3.1"])?;
    let folder = certificate()?;
    let binaries = Binaries::build()?;
    let config = super::standard(threads, Some(&folder));
    let gateway = Gateway::start(&binaries, &format!("sslyze-{threads}"), &config)?;
    shell::run(
        shell::command(bin.join("sslyze"))
            .args(["--mozilla_config=intermediate", "--certinfo", "--certinfo_ca_file"])
            .arg(folder.join("ca.pem"))
            .arg(&gateway.authority),
    )
}

const DAY: Duration = Duration::from_secs(86_400);
