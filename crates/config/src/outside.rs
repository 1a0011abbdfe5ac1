//! What a configuration takes from outside its file: the environment, other files, the command line.

use core::net::SocketAddr;
use std::{borrow::Cow, fmt, path::Path};

/// What stands for `${NAME}` and for `file:PATH` in a configuration.
pub trait Environment: fmt::Debug {
    /// The value of an environment variable, if there is one of this name.
    fn variable(&self, name: &str) -> Option<String>;

    /// The text of a file.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn file(&self, path: &Path) -> Result<String, String>;
}

/// An environment without variables and files.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEnvironment;

impl Environment for NoEnvironment {
    fn variable(&self, _name: &str) -> Option<String> {
        None
    }

    fn file(&self, _path: &Path) -> Result<String, String> {
        Err("no files are read here".to_owned())
    }
}

/// All of it.
#[derive(Clone, Copy, Debug)]
pub struct Outside<'a> {
    /// What variables and files stand for.
    pub environment: &'a dyn Environment,
    /// The address of the one `[[listen]]`, whatever the file says.
    pub listen: Option<SocketAddr>,
}

impl Default for Outside<'_> {
    fn default() -> Self {
        Self { environment: &NoEnvironment, listen: None }
    }
}

/// Puts the values of variables where a text has `${NAME}`. `$${` stands for `${`.
///
/// # Errors
/// When there is no such variable, or it is not named.
pub(crate) fn expand<'a>(
    text: &'a str,
    environment: &dyn Environment,
) -> Result<Cow<'a, str>, String> {
    if !text.contains("${") {
        return Ok(text.into());
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            expanded.extend([before, "${"]);
            rest = after;
            continue;
        }
        let named = after.split_once('}').filter(|(name, _)| is_variable(name));
        let (name, after) = named.ok_or(
            "`${` begins the name of an environment variable, such as ${TOKEN}; write $${ for these \
             two characters",
        )?;
        let value = environment.variable(name).ok_or_else(|| {
            format!("the environment has no variable {name}: set it where the gateway is started")
        })?;
        expanded.extend([before, &value]);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded.into())
}

/// As shells have them.
fn is_variable(name: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.bytes().all(is_word) && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Config, ConfigErrors, Listen};

    const HASH: &str =
        "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";

    #[derive(Debug)]
    struct Named;

    impl Environment for Named {
        fn variable(&self, name: &str) -> Option<String> {
            ["A", "_b2"].contains(&name).then(|| format!("<{name}>"))
        }

        fn file(&self, _path: &Path) -> Result<String, String> {
            Err(String::new())
        }
    }

    #[test]
    fn variables_are_replaced_by_their_values() {
        let name = "`${` begins the name of an environment variable, such as ${TOKEN}; write $${ for \
                    these two characters";
        let cases = [
            ("nothing to replace", "a $b {c} $", Ok("a $b {c} $")),
            ("all of it", "${A}", Ok("<A>")),
            ("within a text, twice", "x${A}y${_b2}z", Ok("x<A>y<_b2>z")),
            ("one that is meant", "$${A} $$${A}", Ok("${A} $${A}")),
            ("a hash has dollars", "$argon2id$v=19$m=64", Ok("$argon2id$v=19$m=64")),
            (
                "unknown",
                "${C}",
                Err("the environment has no variable C: set it where the gateway is started"),
            ),
            ("no name", "${}", Err(name)),
            ("no end", "${A", Err(name)),
            ("a digit first", "${2b}", Err(name)),
            ("what shells do besides", "${A:-b}", Err(name)),
        ];
        for (rule, text, expected) in cases {
            let actual = expand(text, &Named);
            assert_eq!(actual.as_deref().map_err(|error| &**error), expected, "{rule}");
        }
    }

    #[derive(Debug)]
    struct Surroundings;

    impl Environment for Surroundings {
        fn variable(&self, name: &str) -> Option<String> {
            let value = match name {
                "PORT" => "8081",
                "SIZE" => "1MiB",
                "TIME" => "3s",
                "ANN" => HASH,
                "BOB" => return Some(format!("{{ argon2id = \"{HASH}\" }}")),
                "BAD" => "{ argon = 'x' }",
                "BROKEN" => "{ argon2id",
                _ => return None,
            };
            Some(value.to_owned())
        }

        fn file(&self, path: &Path) -> Result<String, String> {
            match path.to_str() {
                Some("/etc/secrets/eve") => Ok(format!("password = {{ argon2id = \"{HASH}\" }}\n")),
                _ => Err("it is not there".to_owned()),
            }
        }
    }

    fn read_around(text: &str, listen: Option<&str>) -> Result<Config, ConfigErrors> {
        let listen = listen.map(|address| address.parse().unwrap());
        Config::read(text, "/etc/gw.toml", Outside { environment: &Surroundings, listen }).finish()
    }

    #[test]
    fn what_is_secret_stands_in_the_environment_or_in_a_file() {
        let text = "[[listen]]\naddress = \"127.0.0.1:${PORT}\"\n\
                    [limits]\nmessage-bytes-max = \"${SIZE}\"\nlogin-timeout = \"${TIME}\"\n\
                    [[user]]\nname = \"ann\"\npassword = \"${ANN}\"\n\
                    [[user]]\nname = \"bob\"\npassword = \"${BOB}\"\n\
                    [[user]]\nname = \"eve\"\npassword = \"file:secrets/eve\"\n\
                    [[user]]\nname = \"dan\"\npassword = { argon2id = \"${ANN}\" }\n";
        let config = read_around(text, None).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.listens[0].address.port(), 8081);
        assert_eq!(config.limits.connection.message_bytes_max, 1 << 20);
        assert_eq!(config.limits.connection.login_timeout, Duration::from_secs(3));
        assert_eq!(config.users.len(), 4);
    }

    #[test]
    fn what_the_environment_lacks_is_said_with_its_place_and_no_secret() {
        let cases = [
            (
                "password = \"${NONE}\"",
                "`password`: the environment has no variable NONE: set it where the gateway is started",
            ),
            ("password = \"file:none\"", "`password`: /etc/none cannot be read: it is not there"),
            (
                "password = \"${BAD}\"",
                "unknown key `argon` in user.password: expected one of `argon2id`, `scram-sha-1`, \
                 `scram-sha-256`",
            ),
            ("password = \"${BROKEN}\"", "`password`: what it stands for is no TOML"),
        ];
        for (line, expected) in cases {
            let said = read_around(&format!("[[user]]\nname = \"ann\"\n{line}\n"), None);
            let said = said.unwrap_err().to_string();
            let expected = format!("/etc/gw.toml:3:12: {expected}");
            assert!(said.lines().any(|line| line == expected), "{line}: {said}");
        }
    }

    #[test]
    fn the_command_line_may_name_the_address() {
        let user = format!("[[user]]\nname = \"ann\"\npassword = \"{HASH}\"\n");
        let one = "[[listen]]\naddress = \"127.0.0.1:1\"\nnames = [\"gw\"]\n";
        let said = |text: &str, address| {
            let config = read_around(text, Some(address)).map_err(|errors| errors.to_string())?;
            let Listen { address, anonymous, operations, ref names, .. } = config.listens[0];
            assert_eq!(config.listens.len(), 1);
            Ok::<_, String>(format!("{address} {anonymous} {operations} {}", names.len()))
        };
        let cases = [
            ("no table", String::new(), "127.0.0.1:9", "127.0.0.1:9 true true 0"),
            ("no table, for others", user.clone(), "0.0.0.0:9", "0.0.0.0:9 false false 0"),
            ("one table", one.to_owned(), "127.0.0.1:9", "127.0.0.1:9 true false 1"),
            (
                "one table, for others",
                format!("{user}{one}"),
                "0.0.0.0:9",
                "0.0.0.0:9 false false 1",
            ),
            (
                "one that says who",
                format!("{one}anonymous = true\n"),
                "0.0.0.0:9",
                "0.0.0.0:9 true false 1",
            ),
        ];
        for (rule, text, address, expected) in cases {
            assert_eq!(said(&text, address).as_deref(), Ok(expected), "{rule}");
        }
        let refused = said("", "0.0.0.0:9").unwrap_err();
        assert!(
            refused.starts_with("/etc/gw.toml: 0.0.0.0:9 is open to other machines"),
            "{refused}"
        );
        let refused = said(one, "0.0.0.0:9").unwrap_err();
        assert!(
            refused.starts_with("/etc/gw.toml:2:11: `address`: 0.0.0.0:9 is open"),
            "{refused}"
        );
        let two = format!("{one}[[listen]]\naddress = \"127.0.0.1:2\"\n");
        let refused = said(&two, "127.0.0.1:9").unwrap_err();
        assert!(refused.starts_with("/etc/gw.toml:4:1: the command line names one"), "{refused}");
    }
}
