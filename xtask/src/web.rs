use crate::{
    failure::{Failure, Outcome},
    paths, shell,
    stamp::Stamp,
    tools,
};

/// Builds the pages into `web/dist`, unless nothing has changed.
pub(crate) fn build() -> Outcome {
    let web = paths::root().join("web");
    let dist = web.join("dist");
    let stamp = Stamp::new(
        paths::target().join("stamps/web"),
        std::slice::from_ref(&web),
        "npm run build",
    )?;
    if stamp.is_set() && dist.join("index.html").is_file() {
        println!("web/dist is up to date");
        return Ok(());
    }
    tools::npm_ci(&web)?;
    shell::run(tools::npm(&web)?.args(["run", "build"]))?;
    if !dist.join("index.html").is_file() {
        return Err(Failure::failed("`npm run build` left no web/dist/index.html"));
    }
    stamp.set()
}

/// Checks types, style and behaviour of the pages' own code.
pub(crate) fn check() -> Outcome {
    let web = paths::root().join("web");
    tools::npm_ci(&web)?;
    shell::run(tools::npm(&web)?.args(["run", "check"]))?;
    shell::run(tools::npm(&web)?.arg("test"))
}
