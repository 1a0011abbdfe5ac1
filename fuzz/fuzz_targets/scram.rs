//! What a peer says in an exchange, a message a line: whatever it is, it is challenged or refused, and
//! no proof is right. A `~` stands for the nonce of the last challenge.
#![no_main]

use std::{net::IpAddr, time::Duration};

use auth::{Authentication, Logins, Mechanism, Password, Scram, User, Users};
use contract::{Login, Now, Refusal, Secret};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for mechanism in Mechanism::ALL {
        let mut messages = data.split(|byte| *byte == b'\n');
        let mut logins = Logins::new(users(mechanism), &[7; 64], Duration::from_secs(10));
        let address = IpAddr::from([127, 0, 0, 1]).into();
        let initial = messages.next().map(Secret::new);
        let login = Login::Sasl { mechanism: mechanism.as_str().into(), initial };
        let mut said = logins.authenticate(&login, true, address, Now::default(), ());
        for message in messages.by_ref().take(4) {
            let Authentication::Challenged((), id, challenge) = said else { break };
            let challenge = String::from_utf8(challenge).expect("UTF-8");
            let nonce = challenge.strip_prefix("r=").and_then(|rest| rest.split_once(','));
            let nonce = nonce.map_or("", |(nonce, _)| nonce).as_bytes();
            let message = message.split(|byte| *byte == b'~').collect::<Vec<_>>().join(nonce);
            said = logins.respond(id, &Secret::new(message), address, Now::default(), ());
        }
        match said {
            Authentication::Decided((), result) => {
                assert!(matches!(result, Err(Refusal::Sasl(_))), "{result:?}");
            }
            Authentication::Checked(finished) => {
                assert_eq!(finished.result, Err(Refusal::Unauthenticated));
            }
            Authentication::Challenged(..) => {}
            Authentication::Pending(..) => panic!("nothing was delayed"),
        }
    }
});

fn users(mechanism: Mechanism) -> Users {
    let verifier = Scram::derive(mechanism, &Secret::new("a secret"), b"salt", 1);
    User::new("ann", [], Password::of_verifier(verifier)).into_iter().collect()
}
