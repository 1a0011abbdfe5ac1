use std::net::{IpAddr, Ipv4Addr};

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, phc::PasswordHash},
};
use contract::Secret;

use super::*;
use crate::Password;

/// A hash of `secret` that takes little time.
fn quick() -> Password {
    let params = Params::new(64, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let hash: PasswordHash = argon2.hash_password_with_salt(b"secret", b"some salt").unwrap();
    Password::parse(&hash.to_string()).unwrap()
}

fn logins() -> Logins<u32> {
    let password = quick();
    let users = [("ann", "trader"), ("bob", "viewer")]
        .map(|(name, role)| User::new(name, [role.into()], password.clone()).unwrap());
    Logins::new(users.into_iter().collect(), &[7; 64], TIMEOUT)
}

const TIMEOUT: Duration = Duration::from_secs(10);

/// The address of a host.
fn host(number: u32) -> AddressKey {
    IpAddr::from(Ipv4Addr::from_bits(number)).into()
}

/// Begins a login that must be pending.
fn pending(
    logins: &mut Logins<u32>,
    login: &Login,
    address: AddressKey,
    now: Now,
    waiter: u32,
) -> LoginId {
    match logins.authenticate(login, false, address, now, waiter) {
        Authentication::Pending(id, evicted) if evicted.is_empty() => id,
        other @ (Authentication::Decided(..)
        | Authentication::Checked(_)
        | Authentication::Challenged(..)
        | Authentication::Pending(..)) => panic!("{other:?}"),
    }
}

fn password(name: &str, password: &str) -> Login {
    Login::Password(Credentials { name: name.into(), password: Secret::new(password) })
}

fn at(seconds: u64) -> Now {
    Now { mono_ns: seconds * 1_000_000_000, unix_ms: 0 }
}

/// The result, and how many hashes it took.
fn decide(logins: &mut Logins<u32>, login: &Login, anonymous: bool, now: Now) -> (String, u32) {
    let (result, hashes) = match logins.authenticate(login, anonymous, host(1), now, 1) {
        Authentication::Decided(_, result) => (result, 0),
        Authentication::Pending(..) => {
            let later = logins.next(now).or_else(|at| {
                let mono_ns = at.expect("a queued job");
                logins.next(Now { mono_ns, unix_ms: 0 })
            });
            let finished = logins.finish(later.unwrap().run(), now);
            assert_eq!(finished.waiters, [1]);
            (finished.result, 1)
        }
        other @ (Authentication::Checked(_) | Authentication::Challenged(..)) => {
            panic!("{other:?}")
        }
    };
    let name = |accepted: Accepted| accepted.principal.name.to_string();
    (result.map_or_else(|refusal| format!("{refusal:?}"), name), hashes)
}

#[test]
fn credentials_are_checked() {
    let no_users = || Logins::new(Users::default(), &[7; 64], TIMEOUT);
    let ann = password("ann", "secret");
    // The rule; users?; the login; anonymous accepted?; the result; hashes.
    let cases: &[(&str, bool, Login, bool, &str, u32)] = &[
        ("without users credentials are ignored", false, ann.clone(), true, "anonymous", 0),
        ("no users, no anonymous", false, ann.clone(), false, "Unauthenticated", 0),
        ("no credentials, none required", false, Login::Anonymous, true, "anonymous", 0),
        ("a right password", true, ann, false, "ann", 1),
        ("a wrong password", true, password("ann", "Secret"), false, "Unauthenticated", 1),
        ("wrong fails with anonymous too", true, password("ann", ""), true, "Unauthenticated", 1),
        (
            "an unknown name is hashed too",
            true,
            password("eve", "secret"),
            true,
            "Unauthenticated",
            1,
        ),
        ("an empty name", true, password("", ""), true, "Unauthenticated", 1),
        ("names have a case", true, password("Ann", "secret"), false, "Unauthenticated", 1),
        (
            "no user has the reserved name",
            true,
            password("anonymous", ""),
            true,
            "Unauthenticated",
            1,
        ),
        ("no credentials where none are required", true, Login::Anonymous, true, "anonymous", 0),
        (
            "no credentials where some are required",
            true,
            Login::Anonymous,
            false,
            "Unauthenticated",
            0,
        ),
    ];
    for (rule, users, login, anonymous, expected, hashes) in cases {
        let mut logins = if *users { logins() } else { no_users() };
        let actual = decide(&mut logins, login, *anonymous, at(0));
        assert_eq!(actual, ((*expected).to_owned(), *hashes), "{rule}");
    }
}

#[test]
fn roles_come_with_the_login() {
    let mut logins = logins();
    pending(&mut logins, &password("bob", "secret"), host(1), at(0), 1);
    let job = logins.next(at(0)).unwrap();
    assert_eq!(
        logins.finish(job.run(), at(0)).result,
        Ok(Principal::new("bob", ["viewer".into()]).into())
    );
}

#[test]
fn a_verified_secret_is_remembered_for_five_minutes() {
    let mut logins = logins();
    let (right, wrong) = (password("ann", "secret"), password("ann", "secreT"));
    for (second, login, expected) in [
        (0, &right, ("ann", 1)),
        (1, &right, ("ann", 0)),
        (2, &wrong, ("Unauthenticated", 1)),
        (3, &wrong, ("Unauthenticated", 1)),
        (299, &right, ("ann", 0)),
        (300, &right, ("ann", 1)),
        (301, &right, ("ann", 0)),
    ] {
        let (decided, hashes) = decide(&mut logins, login, false, at(second));
        assert_eq!((&*decided, hashes), expected, "at {second} s");
    }
}

#[test]
fn ten_thousand_reconnects_are_one_hash() {
    let mut logins = logins();
    let login = password("ann", "secret");
    for waiter in 0..10_000_u32 {
        // Half of them from one address.
        pending(&mut logins, &login, host(waiter.saturating_sub(5000)), at(0), waiter);
    }
    let job = logins.next(at(0)).unwrap();
    let finished = logins.finish(job.run(), at(0));
    assert!(logins.next(at(0)).is_err_and(|at| at.is_none()));
    assert_eq!(finished.waiters, (0..10_000).collect::<Vec<_>>());
    assert_eq!(&*finished.result.unwrap().principal.name, "ann");
    assert_eq!(decide(&mut logins, &login, false, at(1)), ("ann".to_owned(), 0));
}

#[test]
fn a_wrong_password_does_not_join_a_right_one() {
    let mut logins = logins();
    pending(&mut logins, &password("ann", "secret"), host(1), at(0), 1);
    pending(&mut logins, &password("ann", "other"), host(1), at(0), 2);
    let (right, wrong) = (logins.next(at(0)).unwrap(), logins.next(at(0)).unwrap());
    let finished = logins.finish(wrong.run(), at(0));
    assert_eq!((finished.waiters, finished.result), (vec![2], Err(Refusal::Unauthenticated)));
    let finished = logins.finish(right.run(), at(0));
    assert_eq!((finished.waiters, finished.result.is_ok()), (vec![1], true));
}

#[test]
fn the_digest_tells_the_name_from_the_password() {
    let logins = logins();
    assert_ne!(logins.digest("ann", "secret"), logins.digest("anns", "ecret"));
}

/// Runs jobs, one each 20 ms, until `waiter` has its result; returns how long that took.
fn time_to_result(logins: &mut Logins<u32>, waiter: u32, mut now: Now) -> Duration {
    let begin = now.mono_ns;
    loop {
        match logins.next(now) {
            Ok(job) => {
                now.mono_ns += 20_000_000;
                if logins.finish(job.run(), now).waiters.contains(&waiter) {
                    return Duration::from_nanos(now.mono_ns - begin);
                }
            }
            Err(next) => now.mono_ns = next.expect("a queued job"),
        }
        assert!(now.mono_ns - begin < 600_000_000_000, "no result");
    }
}

#[test]
fn a_flood_of_wrong_passwords_does_not_delay_others() {
    // Names and addresses that the 1,000 guesses come from.
    for (names, addresses) in [(1, 1), (1000, 1), (1, 20), (1000, 20), (1, 250), (1000, 250)] {
        let shown = format!("{names} names from {addresses} addresses");
        let mut logins = logins();
        for guess in 0..1000_u32 {
            let name = if names == 1 { "ann".to_owned() } else { format!("user {guess}") };
            let login = password(&name, &format!("guess {guess}"));
            logins.authenticate(&login, false, host(guess % addresses), at(0), guess);
        }
        // The flood's own name, and another, from elsewhere.
        let outcome =
            logins.authenticate(&password("ann", "secret"), false, host(5000), at(0), 5000);
        assert!(matches!(outcome, Authentication::Pending(..)), "{shown}: {outcome:?}");
        let took = time_to_result(&mut logins, 5000, at(0));
        assert!(took < TIMEOUT, "{shown}: {took:?}");
        let outcome =
            logins.authenticate(&password("bob", "secret"), false, host(5001), at(10), 5001);
        assert!(matches!(outcome, Authentication::Pending(..)), "{shown}: {outcome:?}");
        let took = time_to_result(&mut logins, 5001, at(10));
        assert!(took <= Duration::from_secs(1), "{shown}: {took:?}");
        // A remembered secret is accepted at once from any address.
        let outcome = logins.authenticate(&password("ann", "secret"), false, host(0), at(10), 0);
        assert!(matches!(outcome, Authentication::Decided(_, Ok(_))), "{shown}: {outcome:?}");
    }
}

#[test]
fn others_behind_a_guessers_address_are_served_in_time() {
    let mut logins = logins();
    let mut now = at(0);
    // One address guesses as fast as it may, for minutes.
    for guess in 0..100 {
        logins.authenticate(&password("ann", &guess.to_string()), false, host(1), now, guess);
        match logins.next(now) {
            Ok(job) => drop(logins.finish(job.run(), now)),
            Err(next) => now.mono_ns = next.unwrap(),
        }
    }
    assert!(now.mono_ns > 30_000_000_000, "it is slowed down: {now:?}");
    pending(&mut logins, &password("bob", "secret"), host(1), now, 1000);
    assert!(time_to_result(&mut logins, 1000, now) < TIMEOUT / 2);
}

#[test]
fn many_users_behind_one_address_are_served() {
    let mut logins = logins();
    // The names are unknown, which makes no difference to queueing.
    for user in 0..Logins::<u32>::ADDRESS_JOBS_MAX {
        let waiter = u32::try_from(user).unwrap();
        pending(&mut logins, &password(&format!("u{user}"), ""), host(1), at(0), waiter);
    }
    let outcome = logins.authenticate(&password("one more", ""), false, host(1), at(0), 0);
    assert!(matches!(outcome, Authentication::Decided(_, Err(Refusal::Busy))), "{outcome:?}");
    pending(&mut logins, &password("ann", "secret"), host(2), at(0), 1000);
    assert!(time_to_result(&mut logins, 1000, at(0)) < Duration::from_millis(100));
}

#[test]
fn a_mistyped_password_costs_little() {
    let mut logins = logins();
    for typed in ["s", "se"] {
        pending(&mut logins, &password("ann", typed), host(1), at(0), 1);
        time_to_result(&mut logins, 1, at(0));
    }
    pending(&mut logins, &password("ann", "secret"), host(1), at(1), 2);
    assert!(time_to_result(&mut logins, 2, at(1)) < Duration::from_millis(300));
    assert_eq!(
        logins.throttle.addresses.count(host(1), at(1)),
        1,
        "half of the failures are forgotten"
    );
}

#[test]
fn a_job_without_waiters_is_not_run() {
    let mut logins = logins();
    let mut ids = Vec::new();
    for waiter in 0..8 {
        let login = password(&format!("user {}", waiter / 2), "x");
        ids.push(pending(&mut logins, &login, host(waiter % 2), at(0), waiter));
    }
    // All of user 0, one of user 1.
    for id in [0, 1, 2] {
        logins.cancel(ids[id]);
    }
    let mut finished = Vec::new();
    while let Ok(job) = logins.next(at(60)) {
        logins.cancel(ids[3]);
        finished.extend(logins.finish(job.run(), at(0)).waiters);
    }
    finished.sort_unstable();
    assert!(finished.ends_with(&[4, 5, 6, 7]), "{finished:?}");
    assert!(!finished.contains(&0) && !finished.contains(&2), "{finished:?}");
    assert!(logins.jobs.is_empty() && logins.waiting.is_empty());
    assert!(logins.waiting_at.is_empty());
}

#[test]
fn few_half_closed_peers_are_served() {
    let mut logins = logins();
    let max = u32::try_from(Logins::<u32>::HALF_CLOSED_MAX).unwrap();
    let ids: Vec<_> = (0..3 * max)
        .map(|n| pending(&mut logins, &password(&format!("user {n}"), "x"), host(n), at(0), n))
        .collect();
    let stay: Vec<_> =
        ids[..2 * ids.len() / 3].iter().filter(|id| logins.half_closed(**id)).copied().collect();
    assert_eq!(stay, ids[..ids.len() / 3]);
    assert!(logins.half_closed(stay[0]), "saying it again changes nothing");
    // Where one of them has gone there is room for another.
    logins.cancel(stay[0]);
    assert!(logins.half_closed(ids[ids.len() - 1]));
    let mut finished = Vec::new();
    while let Ok(job) = logins.next(at(0)) {
        finished.extend(logins.finish(job.run(), at(0)).waiters);
    }
    finished.sort_unstable();
    assert_eq!(finished, (1..max).chain(2 * max..3 * max).collect::<Vec<_>>());
    assert!(logins.half_closed.is_empty());
}

#[test]
fn a_full_queue_evicts_jobs_of_the_address_with_most() {
    let mut logins = logins();
    let mut waiter = 0;
    for address in [1, 2] {
        for _ in 0..Logins::<u32>::ADDRESS_JOBS_MAX {
            let login = password(&format!("user {waiter}"), "x");
            pending(&mut logins, &login, host(address), at(0), waiter);
            waiter += 1;
        }
    }
    assert_eq!(logins.jobs.len(), Logins::<u32>::JOBS_MAX);
    let Authentication::Pending(_, evicted) =
        logins.authenticate(&password("ann", "secret"), false, host(3), at(0), 5000)
    else {
        panic!("refused");
    };
    assert_eq!(evicted.len(), 1);
    assert_eq!(logins.jobs.len(), Logins::<u32>::JOBS_MAX);
    assert!(time_to_result(&mut logins, 5000, at(0)) < Duration::from_millis(100));
}

#[test]
fn guesses_of_one_name_are_few_at_a_time() {
    let mut logins = logins();
    for guess in 0..4 {
        pending(&mut logins, &password("ann", &guess.to_string()), host(1), at(0), guess);
    }
    let outcome = logins.authenticate(&password("ann", "4"), false, host(1), at(0), 4);
    assert!(matches!(outcome, Authentication::Decided(4, Err(Refusal::Busy))), "{outcome:?}");
    // A queued job is joined; another address has a queue of its own.
    pending(&mut logins, &password("ann", "0"), host(1), at(0), 5);
    pending(&mut logins, &password("ann", "4"), host(2), at(0), 6);
}

#[test]
fn secrets_are_not_printed() {
    let mut logins = logins();
    let outcome = logins.authenticate(&password("ann", "secret"), false, host(1), at(0), 1);
    let job = logins.next(at(0));
    let shown = format!("{outcome:?} {job:?} {logins:?}");
    assert!(!shown.contains("secret") && !shown.contains("argon2"), "{shown}");
}
