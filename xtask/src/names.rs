//! Checks the names of items, fields, variants and variables: one concept has one name, and it is
//! the one that engineers of the field know.

use std::{fs, path::Path};

use syn::visit::{self, Visit};

use crate::{
    failure::{Doing, Failure, Outcome},
    paths, tidy,
};

/// What no name may contain, as words with `_` between them, and what to call it instead.
const REFUSED: &[(&str, &str)] = &[
    ("admit", "authenticate, accept"),
    ("admitted", "accepted"),
    ("announce", "add interest"),
    ("ask", "command, request, call"),
    ("asked", "pending requests"),
    ("asker", "requester"),
    ("asks", "commands, pending requests"),
    ("back_end", "upstream"),
    ("backend", "upstream"),
    ("beats", "intervals"),
    ("beginnings", "protocol detection"),
    ("bury", "dead letter"),
    ("cut", "split, segment, truncated"),
    ("cuts", "segments"),
    ("death", "reason"),
    ("eager", "ready consumers"),
    ("engaged", "registered"),
    ("first_bytes", "protocol detection"),
    ("foreign", "cross-origin, third-party"),
    ("goodbye", "normal close"),
    ("guilt", "failures, throttle"),
    ("gust", "stimulus"),
    ("heart", "heartbeat"),
    ("held", "queued, unread, referenced"),
    ("in_vain", "failed attempt"),
    ("interested", "subscribers, interest"),
    ("keep_place", "reserve"),
    ("kin", "others"),
    ("last_words", "notify closed"),
    ("let_in", "accept"),
    ("lets_go", "shrinks"),
    ("letter", "shard message, batch"),
    ("letters", "shard messages, batch"),
    ("line_up", "enqueue"),
    ("nobody", "none"),
    ("nobody_reads_it", "`let _ =`"),
    ("occupied", "connection permit"),
    ("parcel", "outbox, batch"),
    ("patience", "timeout"),
    ("rage", "run"),
    ("say_close", "send close"),
    ("so_many", "count"),
    ("somebody", "a caller, a peer"),
    ("stand_in", "dummy, replacement"),
    ("tick", "turn"),
    ("ticket", "request id, transaction id"),
    ("tickets", "ids"),
    ("ticks", "turns"),
    ("under_way", "in flight, incomplete"),
    ("weather", "harness"),
    ("whoever", "a caller, a peer"),
    ("withdraw", "remove interest"),
    ("worked_off", "processed"),
    ("worthless", "expired"),
];

/// As [`REFUSED`], in some crates: elsewhere the word has a meaning.
const REFUSED_IN: &[(&[&str], &str, &str)] = &[
    (REPLYING, "answer", "reply, response"),
    (REPLYING, "answered", "replied"),
    (REPLYING, "answers", "replies, responses"),
    (REPLYING, "unanswered", "pending"),
    (&["auth"], "mark", "credential digest"),
    (&["auth"], "turns", "fair queue"),
    (&["broker"], "link", "name what it connects"),
    (&["broker"], "post", "shard message by direction"),
    (&["broker"], "rank", "queue position"),
    (&["broker"], "target", "subscriber"),
    (&["stomp", "websocket"], "head", "header"),
    (&["stomp", "websocket"], "heads", "headers"),
    (&["transports"], "awaited", "name what is waited for"),
    (&["websocket"], "mark", "message start"),
];

/// What replies to commands, and what responds to requests.
const REPLYING: &[&str] = &[
    "auth",
    "bench",
    "broadcast",
    "broker",
    "chaos",
    "config",
    "contract",
    "demo",
    "drive",
    "echo",
    "http",
    "server",
    "stomp",
    "testkit",
    "transports",
    "websocket",
    "wire",
    "xtask",
];

/// Names of the field that contain a refused word, in one crate or (`""`) in all.
const ACCEPTED: &[(&str, &str)] = &[
    ("", "dead_letter"),
    ("", "dead_letters"),
    // A market has an ask price, and prices are multiples of a tick.
    ("demo", "ask"),
    ("demo", "tick"),
    ("demo", "ticks"),
];

/// Checks the names in all crates.
pub(crate) fn check_all(faults: &mut Vec<String>) -> Outcome {
    for parent in ["", "crates", "crates/protocols", "tests"] {
        let parent = paths::root().join(parent);
        for entry in fs::read_dir(&parent).doing(parent.display())? {
            let folder = entry.doing(parent.display())?.path();
            let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if folder.join("Cargo.toml").is_file() {
                for sources in ["src", "tests", "fuzz_targets"] {
                    check(&name, &folder.join(sources), faults)?;
                }
            }
        }
    }
    Ok(())
}

fn check(package: &str, folder: &Path, faults: &mut Vec<String>) -> Outcome {
    if !folder.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).doing(folder.display())? {
        let path = entry.doing(folder.display())?.path();
        if path.is_dir() {
            check(package, &path, faults)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).doing(path.display())?;
            let shown = path.strip_prefix(paths::root()).unwrap_or(&path).display().to_string();
            let found = refused(package, &text)
                .map_err(|error| Failure::Failed(format!("{shown}: {error}")))?;
            faults.extend(found.into_iter().map(|(name, instead)| {
                let line = text.lines().position(|line| tidy::has_word(line, &name));
                format!("{shown}:{}: `{name}`: say {instead}", line.map_or(0, |line| line + 1))
            }));
        }
    }
    Ok(())
}

/// The refused names that a source defines, and what to call them instead.
fn refused(package: &str, text: &str) -> syn::Result<Vec<(String, &'static str)>> {
    let mut definitions = Definitions::default();
    definitions.visit_file(&syn::parse_file(text)?);
    let mut names = definitions.names;
    names.sort();
    names.dedup();
    let found = names.into_iter().map(|name| (instead(package, &name), name));
    Ok(found.filter_map(|(instead, name)| Some((name, instead?))).collect())
}

/// What to call a name instead, if a word in it is refused.
fn instead(package: &str, name: &str) -> Option<&'static str> {
    let mut words = format!("_{}_", snake_case(name));
    for (only, accepted) in ACCEPTED {
        if only.is_empty() || *only == package {
            words = words.replace(&format!("_{accepted}_"), "_");
        }
    }
    let here = REFUSED_IN.iter().filter(|(only, ..)| only.contains(&package));
    let mut refused =
        REFUSED.iter().copied().chain(here.map(|&(_, word, instead)| (word, instead)));
    refused.find(|(word, _)| words.contains(&format!("_{word}_"))).map(|(_, instead)| instead)
}

/// `TooLarge`, `too_large` and `TOO_LARGE` alike.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    let mut before_is_lower = false;
    for c in name.chars() {
        if c.is_uppercase() && before_is_lower {
            snake.push('_');
        }
        before_is_lower = c.is_lowercase() || c.is_numeric();
        snake.extend(c.to_lowercase());
    }
    snake
}

/// Collects the names that a source defines. Those within macros are not seen.
#[derive(Default)]
struct Definitions {
    names: Vec<String>,
}

impl Definitions {
    fn add(&mut self, name: &syn::Ident) {
        self.names.push(name.to_string());
    }
}

impl<'a> Visit<'a> for Definitions {
    fn visit_signature(&mut self, node: &'a syn::Signature) {
        self.add(&node.ident);
        visit::visit_signature(self, node);
    }

    fn visit_item_struct(&mut self, node: &'a syn::ItemStruct) {
        self.add(&node.ident);
        visit::visit_item_struct(self, node);
    }

    fn visit_item_enum(&mut self, node: &'a syn::ItemEnum) {
        self.add(&node.ident);
        visit::visit_item_enum(self, node);
    }

    fn visit_item_trait(&mut self, node: &'a syn::ItemTrait) {
        self.add(&node.ident);
        visit::visit_item_trait(self, node);
    }

    fn visit_item_type(&mut self, node: &'a syn::ItemType) {
        self.add(&node.ident);
        visit::visit_item_type(self, node);
    }

    fn visit_item_const(&mut self, node: &'a syn::ItemConst) {
        self.add(&node.ident);
        visit::visit_item_const(self, node);
    }

    fn visit_item_static(&mut self, node: &'a syn::ItemStatic) {
        self.add(&node.ident);
        visit::visit_item_static(self, node);
    }

    fn visit_item_mod(&mut self, node: &'a syn::ItemMod) {
        self.add(&node.ident);
        visit::visit_item_mod(self, node);
    }

    fn visit_impl_item_const(&mut self, node: &'a syn::ImplItemConst) {
        self.add(&node.ident);
        visit::visit_impl_item_const(self, node);
    }

    fn visit_field(&mut self, node: &'a syn::Field) {
        node.ident.iter().for_each(|name| self.add(name));
        visit::visit_field(self, node);
    }

    fn visit_variant(&mut self, node: &'a syn::Variant) {
        self.add(&node.ident);
        visit::visit_variant(self, node);
    }

    fn visit_pat_ident(&mut self, node: &'a syn::PatIdent) {
        self.add(&node.ident);
        visit::visit_pat_ident(self, node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_names_and_no_prose() {
        let cases: &[(&str, &str, &[&str])] = &[
            ("a function", "fn tick() {}", &["tick"]),
            ("a method", "impl A { fn say_close(&self) {} }", &["say_close"]),
            ("a type", "struct DeadWeather;", &["DeadWeather"]),
            ("a field", "struct A { bytes_held: usize }", &["bytes_held"]),
            ("a variant and its field", "enum A { Goodbye { cut: u8 } }", &["Goodbye", "cut"]),
            ("a constant", "const TICKS_MAX: u8 = 1;", &["TICKS_MAX"]),
            ("a variable", "fn f() { let (a, Some(mut letter)) = x; }", &["letter"]),
            ("a parameter", "fn f(under_way: u8) {}", &["under_way"]),
            ("a test", "mod tests { #[test] fn nobody_waits() {} }", &["nobody_waits"]),
            ("a comment", "/// The tick of a clock, cut.\n// held\nfn f() {}", &[]),
            ("a string", "fn f() { g(\"goodbye\") }", &[]),
            ("a use of another's name", "fn f() { std::iter::ask(x.held); }", &[]),
            ("a part of a word", "fn haircut(stick: u8, ticker: u8) {}", &[]),
            ("a name of the field", "struct DeadLetter { dead_letters_max: u8 }", &[]),
            ("a name of another crate", "struct Head;", &[]),
        ];
        for (rule, text, expected) in cases {
            let names: Vec<_> =
                refused("x", text).unwrap().into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, *expected, "{rule}");
        }
        assert_eq!(refused("websocket", "struct Head;").unwrap().len(), 1);
    }
}
