//! Builds again when the pages have been built again.

use std::path::Path;

fn main() {
    // A missing folder would mean a new build each time: until there is one, its parent is watched.
    let dist = Path::new("../../web/dist");
    let watched = if dist.exists() { dist } else { Path::new("../../web") };
    println!("cargo::rerun-if-changed={}", watched.display());
}
