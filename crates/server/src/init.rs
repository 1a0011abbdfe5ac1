//! `passerelle init`: a configuration to begin with.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

/// Writes it, and returns what to do next; to the standard output where the file is `-`.
pub(crate) fn run(file: &Path) -> Result<String, String> {
    if file == Path::new("-") {
        return Ok(TEXT.trim_end().to_owned());
    }
    let shown = file.display();
    // One that is there is never overwritten.
    let written = File::create_new(file).and_then(|mut new| new.write_all(TEXT.as_bytes()));
    written.map_err(|error| {
        if error.kind() == io::ErrorKind::AlreadyExists {
            format!("{shown} is there already: name another file, or remove it")
        } else {
            format!("{shown} cannot be written: {error}")
        }
    })?;
    Ok(format!("wrote {shown}; next:\n  passerelle check {shown}\n  passerelle serve {shown}"))
}

/// What is written where no file is named.
pub(crate) const FILE: &str = "passerelle.toml";

const TEXT: &str = include_str!("init.toml");

#[cfg(test)]
mod tests {
    use config::Config;

    use super::*;

    #[test]
    fn it_does_what_no_configuration_does() {
        let config = Config::parse(TEXT, FILE).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(Config::default().differences(&config), [""; 0]);
        assert!(config.users.is_empty() && config.access.is_open());
    }

    #[test]
    fn each_part_that_is_left_out_is_right_and_so_are_all() {
        // What may be written begins without a blank, what explains it with one.
        let begins = |line: &str| line.strip_prefix('#').is_some_and(|rest| !rest.starts_with(' '));
        let mut parts: Vec<String> = Vec::new();
        let mut is_within = false;
        for line in TEXT.lines() {
            if begins(line) && line != "#" {
                if !is_within {
                    parts.push(String::new());
                }
                parts.last_mut().unwrap().extend([&line[1..], "\n"]);
            }
            is_within = begins(line);
        }
        assert!(parts.len() >= 8, "{parts:#?}");
        let all = TEXT.lines().map(|line| if begins(line) { &line[1..] } else { line });
        let all: Vec<_> = all.collect();
        let all = Config::parse(&all.join("\n"), FILE).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!((all.users.len(), all.access.rules().len()), (2, 3));
        assert!(!all.listens[0].tls.is_empty() && !all.listens[0].names.is_empty());
    }
}
