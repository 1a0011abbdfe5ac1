//! Logins by an exchange, seen from outside: a client of SCRAM against `Logins`.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use argon2::{Algorithm, Argon2, Params, Version, password_hash::PasswordHasher as _};
use auth::{
    Accepted, AddressKey, Authentication, LoginId, Logins, Mechanism, Password, Scram, User, Users,
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use contract::{Credentials, Login, Now, Refusal, SaslError, Secret};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

const TIMEOUT: Duration = Duration::from_secs(10);
const ITERATIONS: u32 = 16;
const SALT: &[u8] = b"sixteen bytes ..";

fn verifier(password: &str) -> Scram {
    Scram::derive(Mechanism::Sha256, &Secret::new(password), SALT, ITERATIONS)
}

/// A hash that takes little time.
fn hash(password: &str) -> Password {
    let params = Params::new(64, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash = argon2.hash_password_with_salt(password.as_bytes(), b"some salt").unwrap();
    Password::parse(&hash.to_string()).unwrap()
}

/// `ann` has a hash and a verifier, `bob` a verifier, `cid` a hash; `old` is over since second 100.
fn users() -> Users {
    let user = |name, password| User::new(name, [], password).unwrap();
    [
        user("ann", hash("secret").with(verifier("secret"))),
        user("bob", Password::of_verifier(verifier("secret"))),
        user("cid", hash("secret")),
        user("old", Password::of_verifier(verifier("secret"))).until(Some(100_000)),
    ]
    .into_iter()
    .collect()
}

fn logins() -> Logins<u32> {
    Logins::new(users(), &[7; 64], TIMEOUT)
}

fn host(number: u32) -> AddressKey {
    IpAddr::from(Ipv4Addr::from_bits(number)).into()
}

fn at(ms: u64) -> Now {
    Now { mono_ns: ms * 1_000_000, unix_ms: ms }
}

fn message(text: &str) -> Secret<[u8]> {
    Secret::new(text.as_bytes())
}

fn begin(logins: &mut Logins<u32>, name: &str, address: AddressKey, now: Now) -> (LoginId, String) {
    let initial = Some(message(&format!("n,,n={name},r=mine")));
    let login = Login::Sasl { mechanism: "SCRAM-SHA-256".into(), initial };
    match logins.authenticate(&login, true, address, now, 1) {
        Authentication::Challenged(1, id, said) => (id, String::from_utf8(said).unwrap()),
        other @ (Authentication::Challenged(..)
        | Authentication::Checked(_)
        | Authentication::Decided(..)
        | Authentication::Pending(..)) => panic!("{other:?}"),
    }
}

fn mac(key: &[u8], text: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().into()
}

/// What a client with this password says last, and what the server is to say to that.
fn proof(name: &str, password: &str, challenge: &str) -> (Secret<[u8]>, String) {
    let attribute = |key: &str| {
        let mut attributes = challenge.split(',');
        attributes.find_map(|attribute| attribute.strip_prefix(key)).unwrap()
    };
    let salt = BASE64_STANDARD.decode(attribute("s=")).unwrap();
    let mut salted = [0; 32];
    let iterations = attribute("i=").parse().unwrap();
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), &salt, iterations, &mut salted);
    let without_proof = format!("c=biws,r={}", attribute("r="));
    let said = format!("n={name},r=mine,{challenge},{without_proof}");
    let client_key = mac(&salted, "Client Key");
    let signature = mac(&Sha256::digest(client_key), &said);
    let proof: Vec<_> = client_key.iter().zip(signature).map(|(a, b)| a ^ b).collect();
    let server = mac(&mac(&salted, "Server Key"), &said);
    (
        message(&format!("{without_proof},p={}", BASE64_STANDARD.encode(proof))),
        format!("v={}", BASE64_STANDARD.encode(server)),
    )
}

/// Plays an exchange to its end. Also whether it was decided at once.
fn play(
    logins: &mut Logins<u32>,
    name: &str,
    password: &str,
    address: AddressKey,
    now: Now,
) -> (Result<Accepted, Refusal>, bool) {
    let (id, challenge) = begin(logins, name, address, now);
    let (proof, server) = proof(name, password, &challenge);
    let (result, at_once) = match logins.respond(id, &proof, address, now, 1) {
        Authentication::Decided(1, result) => (result, true),
        Authentication::Checked(finished) => {
            assert_eq!((&*finished.name, &finished.waiters[..]), (name, &[1][..]));
            (finished.result, true)
        }
        Authentication::Pending(..) => {
            let job = logins
                .next(now)
                .or_else(|at| logins.next(Now { mono_ns: at.expect("a queued job"), ..now }));
            let finished = logins.finish(job.unwrap().run(), now);
            assert_eq!((&*finished.name, &finished.waiters[..]), (name, &[1][..]));
            (finished.result, false)
        }
        other @ (Authentication::Decided(..) | Authentication::Challenged(..)) => {
            panic!("{other:?}")
        }
    };
    if let Ok(accepted) = &result {
        assert_eq!(String::from_utf8_lossy(&accepted.message), server, "the server's proof");
    }
    (result, at_once)
}

#[test]
fn users_with_a_verifier_log_in() {
    // The user; the password; who it is.
    for (name, password, expected) in [
        ("ann", "secret", Ok("ann")),
        ("bob", "secret", Ok("bob")),
        ("cid", "secret", Err(Refusal::Unauthenticated)),
        ("eve", "secret", Err(Refusal::Unauthenticated)),
        ("ann", "Secret", Err(Refusal::Unauthenticated)),
        ("ann", "", Err(Refusal::Unauthenticated)),
        ("old", "secret", Err(Refusal::Expired)),
        ("old", "Secret", Err(Refusal::Unauthenticated)),
    ] {
        let (result, at_once) = play(&mut logins(), name, password, host(1), at(200_000));
        let who = result.map(|accepted| accepted.principal.name.to_string());
        assert_eq!(who.as_deref().map_err(|refusal| *refusal), expected, "{name}, {password}");
        assert!(at_once, "{name}: no failure delays it");
    }
    let (result, _) = play(&mut logins(), "old", "secret", host(1), at(99_999));
    assert_eq!(result.unwrap().principal.expires_unix_ms, Some(100_000));
}

#[test]
fn an_unknown_user_is_challenged_like_others() {
    let salt = |logins: &mut Logins<u32>, name: &str| {
        let (_, challenge) = begin(logins, name, host(1), at(0));
        let (_, rest) = challenge.split_once(",s=").unwrap();
        assert!(rest.ends_with(",i=16"), "{challenge}");
        let (salt, _) = rest.split_once(',').unwrap();
        BASE64_STANDARD.decode(salt).unwrap()
    };
    let mut salts = BTreeSet::new();
    for name in ["cid", "eve", "mallory", "Ann"] {
        let one = salt(&mut logins(), name);
        assert_eq!(one.len(), SALT.len());
        // Another process, where digests have another key.
        let again = salt(&mut Logins::new(users(), &[8; 64], TIMEOUT), name);
        assert_eq!(one, again, "{name} has a salt that stays");
        assert!(salts.insert(one), "{name} has a salt of its own");
    }
    assert_eq!(salt(&mut logins(), "ann"), SALT);
}

#[test]
fn no_two_challenges_have_the_same_nonce() {
    let mut logins = logins();
    let mut nonces = BTreeSet::new();
    for _ in 0..100 {
        let (_, challenge) = begin(&mut logins, "ann", host(1), at(0));
        let (nonce, _) = challenge.split_once(',').unwrap();
        assert!(nonce.starts_with("r=mine") && nonce.len() > 30, "{nonce}");
        assert!(nonces.insert(nonce.to_owned()));
    }
    let (_, challenge) = begin(&mut Logins::new(users(), &[8; 64], TIMEOUT), "ann", host(1), at(0));
    assert!(!nonces.iter().any(|nonce| challenge.starts_with(nonce)), "another process, others");
}

#[test]
fn wrong_proofs_are_delayed_as_wrong_passwords_are() {
    for name in ["ann", "eve"] {
        let mut logins = logins();
        let (result, at_once) = play(&mut logins, name, "x", host(1), at(0));
        assert_eq!((result, at_once), (Err(Refusal::Unauthenticated), true), "{name}");
        let (id, challenge) = begin(&mut logins, name, host(1), at(50));
        let (guess, _) = proof(name, "y", &challenge);
        let authentication = logins.respond(id, &guess, host(1), at(50), 1);
        assert!(matches!(authentication, Authentication::Pending(..)), "{authentication:?}");
        // A tenth of a second after the first failure.
        assert_eq!(logins.next(at(50)).unwrap_err(), Some(at(100).mono_ns), "{name}");
        let job = logins_job(&mut logins, at(100));
        let finished = logins.finish(job.run(), at(100));
        assert_eq!(finished.result, Err(Refusal::Unauthenticated));
        // Elsewhere nothing is delayed, and neither is another name here for long.
        assert!(play(&mut logins, "bob", "secret", host(2), at(101)).1, "{name}");
        // A password is delayed by proofs that failed.
        let password = Credentials { name: name.into(), password: Secret::new("z") };
        logins.authenticate(&Login::Password(password), true, host(1), at(110), 1);
        assert_eq!(logins.next(at(110)).unwrap_err(), Some(at(300).mono_ns), "{name}");
    }
}

fn logins_job(logins: &mut Logins<u32>, now: Now) -> auth::Job {
    logins.next(now).expect("a job that is due")
}

#[test]
fn guesses_at_the_same_time_are_few() {
    let mut logins = logins();
    let begun: Vec<_> = (0..100).map(|_| begin(&mut logins, "ann", host(1), at(0))).collect();
    let (mut checked, mut pending, mut busy) = (0, 0, 0);
    for (number, (id, challenge)) in begun.into_iter().enumerate() {
        let (guess, _) = proof("ann", &format!("guess {number}"), &challenge);
        match logins.respond(id, &guess, host(1), at(0), 1) {
            Authentication::Checked(_) => checked += 1,
            Authentication::Pending(..) => pending += 1,
            Authentication::Decided(_, Err(Refusal::Busy)) => busy += 1,
            other @ (Authentication::Decided(..) | Authentication::Challenged(..)) => {
                panic!("{other:?}")
            }
        }
    }
    assert_eq!((checked, pending, busy), (1, Logins::<u32>::NAME_PROOFS_MAX, 35));
}

/// A wrong password of the same name does not send the others of an application server away.
#[test]
fn right_proofs_behind_a_wrong_one_wait_together() {
    let mut logins = logins();
    let begun: Vec<_> = (0..50).map(|_| begin(&mut logins, "ann", host(1), at(0))).collect();
    let (result, _) = play(&mut logins, "ann", "wrong", host(1), at(0));
    assert_eq!(result, Err(Refusal::Unauthenticated));
    for (id, challenge) in begun {
        let (right, _) = proof("ann", "secret", &challenge);
        let authentication = logins.respond(id, &right, host(1), at(1), 1);
        assert!(matches!(authentication, Authentication::Pending(..)), "{authentication:?}");
    }
    // The first that succeeds ends the delay of all.
    for _ in 0..50 {
        let job = logins_job(&mut logins, at(100));
        assert!(logins.finish(job.run(), at(100)).result.is_ok());
    }
}

/// From as many addresses as there are jobs, so that none is delayed for itself.
#[test]
fn guesses_from_everywhere_are_no_faster_than_passwords() {
    const ADDRESSES: u32 = 1000;
    let max = Logins::<u32>::WRONG_PROOFS_MAX;
    let mut logins = logins();
    let mut begun = Vec::new();
    for number in 0..ADDRESSES {
        let (id, challenge) = begin(&mut logins, "ann", host(number), at(0));
        begun.push((id, proof("ann", &format!("guess {number}"), &challenge).0, host(number)));
    }
    let (honest, challenge) = begin(&mut logins, "bob", host(ADDRESSES), at(0));
    let right = proof("bob", "secret", &challenge).0;
    let (mut at_once, mut is_pending) = (0, None);
    for (number, (id, guess, address)) in begun.into_iter().enumerate() {
        // Among the first of those that wait.
        if number == 150 {
            let login = logins.respond(honest, &right, host(ADDRESSES), at(0), 7);
            is_pending = Some(matches!(login, Authentication::Pending(..)));
        }
        match logins.respond(id, &guess, address, at(0), 1) {
            Authentication::Checked(_) => at_once += 1,
            Authentication::Pending(..) | Authentication::Decided(_, Err(Refusal::Busy)) => {}
            other @ (Authentication::Decided(..) | Authentication::Challenged(..)) => {
                panic!("{other:?}")
            }
        }
    }
    assert_eq!((at_once, is_pending), (max, Some(true)));
    let (mut now, mut checked, mut served_at) = (at(0), at_once, None);
    let (mut guesses, mut newcomers) =
        (u64::from(ADDRESSES), (ADDRESSES + 1..).take(500).map(host));
    loop {
        match logins.next(now) {
            Ok(job) => {
                let finished = logins.finish(job.run(), now);
                if finished.waiters == [7] {
                    assert!(finished.result.is_ok());
                    served_at = Some(now);
                } else {
                    checked += 1;
                }
                let possible = max + now.mono_ns / 1_000_000 * max / 1000;
                assert!(checked <= possible, "{checked} of {possible} by {now:?}");
            }
            Err(Some(mono_ns)) => {
                now = Now { mono_ns, ..now };
                // One that is new takes no turn from those that wait.
                if let Some(newcomer) = newcomers.next() {
                    let (id, challenge) = begin(&mut logins, "ann", newcomer, now);
                    let (guess, _) = proof("ann", "a new guess", &challenge);
                    match logins.respond(id, &guess, newcomer, now, 1) {
                        Authentication::Pending(..) => guesses += 1,
                        Authentication::Decided(_, Err(Refusal::Busy)) => {}
                        other @ (Authentication::Checked(_)
                        | Authentication::Decided(..)
                        | Authentication::Challenged(..)) => panic!("{other:?}"),
                    }
                }
            }
            Err(None) => break,
        }
    }
    assert_eq!(checked, guesses);
    assert!(served_at.is_some_and(|now| now.mono_ns < at(1000).mono_ns), "{served_at:?}");
    // Right ones are no guesses.
    for number in 0..ADDRESSES {
        let (result, at_once) = play(&mut logins, "bob", "secret", host(number), at(60_000));
        assert!(result.is_ok() && at_once, "{number}");
    }
}

#[test]
fn many_clients_of_one_user_log_in_at_once() {
    let mut logins = logins();
    let begun: Vec<_> = (0..1000).map(|_| begin(&mut logins, "bob", host(1), at(0))).collect();
    for (id, challenge) in begun {
        let (proof, _) = proof("bob", "secret", &challenge);
        match logins.respond(id, &proof, host(1), at(0), 1) {
            Authentication::Checked(finished) => assert!(finished.result.is_ok()),
            other @ (Authentication::Decided(..)
            | Authentication::Pending(..)
            | Authentication::Challenged(..)) => panic!("{other:?}"),
        }
    }
}

#[test]
fn an_exchange_begins_with_what_there_is() {
    let sasl = |mechanism: &str, initial: &[u8]| Login::Sasl {
        mechanism: mechanism.into(),
        initial: Some(Secret::new(initial)),
    };
    let first = b"n,,n=ann,r=mine";
    for (login, expected) in [
        (sasl("SCRAM-SHA-256-PLUS", first), SaslError::ChannelBinding),
        (sasl("SCRAM-SHA-512", first), SaslError::Mechanism),
        (sasl("scram-sha-256", first), SaslError::Mechanism),
        (sasl("", first), SaslError::Mechanism),
        (sasl("SCRAM-SHA-256", b"p=tls-exporter,,n=ann,r=mine"), SaslError::ChannelBinding),
        (sasl("SCRAM-SHA-256", b"n,a=root,n=ann,r=mine"), SaslError::AuthorizationId),
        (sasl("SCRAM-SHA-256", b""), SaslError::Malformed),
        (Login::Response(Secret::new(first.as_slice())), SaslError::NoExchange),
    ] {
        match logins().authenticate(&login, true, host(1), at(0), 1) {
            Authentication::Decided(1, result) => {
                assert_eq!(result, Err(Refusal::Sasl(expected)), "{login:?}");
            }
            other @ (Authentication::Decided(..)
            | Authentication::Checked(_)
            | Authentication::Pending(..)
            | Authentication::Challenged(..)) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_client_may_wait_for_an_empty_challenge() {
    let mut logins = logins();
    let login = Login::Sasl { mechanism: "SCRAM-SHA-1".into(), initial: None };
    let Authentication::Challenged(1, id, said) =
        logins.authenticate(&login, false, host(1), at(0), 1)
    else {
        panic!("no challenge");
    };
    assert_eq!(said, b"");
    let next = logins.respond(id, &message("n,,n=ann,r=mine"), host(1), at(0), 1);
    assert!(matches!(next, Authentication::Challenged(..)), "{next:?}");
}

#[test]
fn an_exchange_is_used_once_and_goes_with_its_connection() {
    let mut logins = logins();
    let (id, challenge) = begin(&mut logins, "ann", host(1), at(0));
    let (right, _) = proof("ann", "secret", &challenge);
    let first = logins.respond(id, &message("c=biws"), host(1), at(0), 1);
    assert!(
        matches!(first, Authentication::Decided(1, Err(Refusal::Sasl(SaslError::Malformed)))),
        "{first:?}"
    );
    let busy = |again| matches!(again, Authentication::Decided(1, Err(Refusal::Busy)));
    assert!(busy(logins.respond(id, &right, host(1), at(0), 1)), "it has ended");
    let (id, challenge) = begin(&mut logins, "ann", host(1), at(0));
    let (right, _) = proof("ann", "secret", &challenge);
    logins.cancel(id);
    assert!(busy(logins.respond(id, &right, host(1), at(0), 1)), "its connection has gone");
}

#[test]
fn half_done_exchanges_are_bounded_and_honest_ones_finish() {
    let mut logins = logins();
    // From one address, as the honest one; then from many.
    for (addresses, count) in [(1, 15_000), (1000, 30_000)] {
        let (early, challenge) = begin(&mut logins, "ann", host(5000), at(0));
        for number in 0..count {
            begin(&mut logins, "ann", host(number % addresses), at(0));
        }
        assert!(format!("{logins:?}").contains("exchanges: "), "{logins:?}");
        let (right, _) = proof("ann", "secret", &challenge);
        let done = logins.respond(early, &right, host(5000), at(0), 1);
        assert!(
            matches!(&done, Authentication::Checked(finished) if finished.result.is_ok()),
            "{done:?}"
        );
        for address in [host(0), host(5000)] {
            assert!(play(&mut logins, "bob", "secret", address, at(0)).0.is_ok());
        }
    }
}

#[test]
fn users_who_are_replaced_meanwhile_do_not_log_in() {
    let others = |password: &str| -> Users {
        [User::new("ann", ["role".into()], hash(password).with(verifier(password))).unwrap()]
            .into_iter()
            .collect()
    };
    for (password, expected) in [("secret", Ok(())), ("other", Err(Refusal::Unauthenticated))] {
        // An exchange, and a password that is checked.
        let mut logins = logins();
        let (id, challenge) = begin(&mut logins, "ann", host(1), at(0));
        let login =
            Login::Password(Credentials { name: "ann".into(), password: Secret::new("secret") });
        logins.authenticate(&login, false, host(1), at(0), 1);
        let job = logins_job(&mut logins, at(0));
        logins.set_users(others(password));
        let (right, _) = proof("ann", "secret", &challenge);
        let Authentication::Checked(by_proof) = logins.respond(id, &right, host(1), at(0), 1)
        else {
            panic!("not checked");
        };
        let by_password = logins.finish(job.run(), at(0));
        for finished in [by_proof, by_password] {
            assert_eq!(finished.users_version, 1);
            let roles = finished.result.map(|accepted| accepted.principal.roles);
            assert_eq!(roles.as_ref().map(|_| ()).map_err(|refusal| *refusal), expected);
            assert!(roles.is_err() || &*roles.unwrap()[0] == "role", "the roles of now");
        }
    }
}

#[test]
fn a_remembered_password_is_forgotten_with_its_users() {
    let mut logins = logins();
    let login =
        Login::Password(Credentials { name: "ann".into(), password: Secret::new("secret") });
    logins.authenticate(&login, false, host(1), at(0), 1);
    let job = logins_job(&mut logins, at(0));
    assert!(logins.finish(job.run(), at(0)).result.is_ok());
    let decided = |again| matches!(again, Authentication::Decided(_, Ok(Accepted { .. })));
    assert!(decided(logins.authenticate(&login, false, host(1), at(1), 1)));
    logins.set_users(users());
    assert!(!decided(logins.authenticate(&login, false, host(1), at(2), 1)));
}

#[test]
fn a_user_without_a_hash_has_no_password() {
    let password = |name: &str| {
        Login::Password(Credentials { name: name.into(), password: Secret::new("secret") })
    };
    let mut logins = logins();
    logins.authenticate(&password("bob"), false, host(1), at(0), 1);
    let job = logins_job(&mut logins, at(0));
    assert_eq!(logins.finish(job.run(), at(0)).result, Err(Refusal::Unauthenticated));
    // With no hash at all there is nothing to compare with.
    let bob = User::new("bob", [], Password::of_verifier(verifier("secret"))).unwrap();
    let mut logins = Logins::new([bob].into_iter().collect(), &[7; 64], TIMEOUT);
    let refused = logins.authenticate(&password("bob"), false, host(1), at(0), 1);
    assert!(
        matches!(refused, Authentication::Decided(1, Err(Refusal::Unauthenticated))),
        "{refused:?}"
    );
}
