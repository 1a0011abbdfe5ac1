//! Replays what is in `corpus/`, which the fuzzer starts from: the exchanges of peers that know no
//! password. A line is a message; a `~` stands for the nonce of the last challenge.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{fs, net::IpAddr, path::Path, time::Duration};

use auth::{Authentication, Logins, Mechanism, Password, Scram, User, Users};
use contract::{Login, Now, Refusal, Secret};

#[test]
fn no_exchange_of_the_corpus_succeeds() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files: Vec<_> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let mut proved = 0;
    for file in &files {
        let data = fs::read(file).unwrap();
        for mechanism in Mechanism::ALL {
            let refusal = play(mechanism, &data);
            let is_proof = refusal == Refusal::Unauthenticated;
            assert!(
                is_proof || matches!(refusal, Refusal::Sasl(_)),
                "{}: {refusal:?}",
                file.display()
            );
            proved += usize::from(is_proof);
        }
    }
    assert!(files.len() >= 20 && proved >= 16, "{} files, {proved} proofs", files.len());
}

/// Why an exchange fails.
fn play(mechanism: Mechanism, data: &[u8]) -> Refusal {
    let mut messages = data.split(|byte| *byte == b'\n');
    let mut logins = Logins::new(users(mechanism), &[7; 64], Duration::from_secs(10));
    let address = IpAddr::from([127, 0, 0, 1]).into();
    let initial = messages.next().map(Secret::new);
    let login = Login::Sasl { mechanism: mechanism.as_str().into(), initial };
    let mut said = logins.authenticate(&login, true, address, Now::default(), ());
    loop {
        let (id, challenge) = match said {
            Authentication::Challenged((), id, challenge) => (id, challenge),
            Authentication::Decided((), result) => return result.unwrap_err(),
            Authentication::Checked(finished) => return finished.result.unwrap_err(),
            Authentication::Pending(..) => panic!("nothing was delayed"),
        };
        let challenge = String::from_utf8(challenge).unwrap();
        let (nonce, _) = challenge.strip_prefix("r=").unwrap().split_once(',').unwrap();
        let message = messages.next().unwrap_or_default();
        let message =
            message.split(|byte| *byte == b'~').collect::<Vec<_>>().join(nonce.as_bytes());
        said = logins.respond(id, &Secret::new(message), address, Now::default(), ());
    }
}

fn users(mechanism: Mechanism) -> Users {
    let verifier = Scram::derive(mechanism, &Secret::new("a secret"), b"salt", 1);
    User::new("ann", [], Password::of_verifier(verifier)).into_iter().collect()
}
