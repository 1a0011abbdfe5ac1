//! Tools that are not part of a Rust installation, brought once and kept under `target`.
use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    failure::{Doing, Failure, Outcome},
    paths, shell,
    stamp::Stamp,
};

/// A virtual environment of Python 3 with these packages; returns its folder of programs.
pub(crate) fn python(name: &str, packages: &[&str]) -> Outcome<PathBuf> {
    let folder = paths::folder("tools")?.join(name);
    let bin = folder.join("bin");
    let stamp = Stamp::new(folder.join("stamp"), &[], &packages.join(" "))?;
    if !stamp.is_set() {
        if !shell::is_there("python3") {
            return Err(Failure::missing("Python 3", "apt-get install python3 python3-venv"));
        }
        clear(&folder)?;
        shell::run(shell::command("python3").args(["-m", "venv"]).arg(&folder)).map_err(|_| {
            Failure::missing("Python's module venv", "apt-get install python3-venv")
        })?;
        shell::run(shell::command(bin.join("pip")).args(["install", "--quiet"]).args(packages))?;
        stamp.set()?;
    }
    Ok(bin)
}

/// A virtual environment of CPython 2.7, which the Autobahn test suite needs.
pub(crate) fn python27(name: &str, packages: &[&str]) -> Outcome<PathBuf> {
    let tools = paths::folder("tools")?;
    let folder = tools.join(name);
    let bin = folder.join("bin");
    let stamp = Stamp::new(folder.join("stamp"), &[], &packages.join(" "))?;
    if !stamp.is_set() {
        let python = find_python27().ok_or_else(|| {
            Failure::missing("CPython 2.7", "pyenv install 2.7.18 (or name one in PYTHON27)")
        })?;
        clear(&folder)?;
        // The last release for 2.7; kept out of that Python's own packages.
        let virtualenv = tools.join("virtualenv27");
        clear(&virtualenv)?;
        shell::run(
            shell::command(&python)
                .args(["-m", "pip", "install", "--quiet"])
                .arg("--target")
                .arg(&virtualenv)
                .arg("virtualenv==20.15.1"),
        )?;
        shell::run(
            shell::command(&python)
                .env("PYTHONPATH", &virtualenv)
                .args(["-m", "virtualenv", "--quiet", "--no-download"])
                .arg(&folder),
        )?;
        shell::run(shell::command(bin.join("pip")).args(["install", "--quiet"]).args(packages))?;
        stamp.set()?;
    }
    Ok(bin)
}

/// Installs what the lock file in `folder` says, when it has changed.
pub(crate) fn npm_ci(folder: &Path) -> Outcome {
    let modules = folder.join("node_modules");
    let lock = folder.join("package-lock.json");
    let stamp = Stamp::new(modules.join(".xtask-stamp"), &[lock], "npm ci")?;
    if stamp.is_set() {
        return Ok(());
    }
    shell::run(npm(folder)?.args(["ci", "--no-audit", "--no-fund"]))?;
    stamp.set()
}

/// npm, in a folder.
pub(crate) fn npm(folder: &Path) -> Outcome<Command> {
    node()?;
    if !shell::is_there("npm") {
        return Err(Failure::missing("npm", "apt-get install npm (11 or newer is needed)"));
    }
    let mut npm = shell::command("npm");
    npm.current_dir(folder).env("npm_config_cache", paths::folder("npm-cache")?);
    Ok(npm)
}

/// Node.js, new enough for its own test runner.
pub(crate) fn node() -> Outcome<Command> {
    let missing = || Failure::missing("Node.js 20 or newer", "apt-get install nodejs npm");
    if !shell::is_there("node") {
        return Err(missing());
    }
    let version = shell::output(shell::command("node").arg("--version"))?;
    let major = version.trim().trim_start_matches('v').split('.').next().map(str::parse::<u32>);
    match major {
        Some(Ok(20..)) => Ok(shell::command("node")),
        Some(Ok(_) | Err(_)) | None => Err(missing()),
    }
}

/// Checks that Ruby has a library.
pub(crate) fn ruby(library: &str, remedy: &str) -> Outcome {
    let works = Command::new("ruby").args(["-r", library, "-e", ""]).output();
    if works.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    Err(Failure::missing(&format!("Ruby with {library}"), remedy))
}

/// A cargo subcommand of this version, built from source the first time.
pub(crate) fn cargo_tool(name: &str, version: &str) -> Outcome<PathBuf> {
    let tools = paths::folder("tools")?;
    let stamp = Stamp::new(tools.join(format!("{name}.stamp")), &[], version)?;
    if !stamp.is_set() {
        shell::run(
            shell::cargo()
                .args(["install", "--locked", "--quiet", "--force", "--version", version, "--root"])
                .arg(&tools)
                .arg(name)
                .env_remove("CARGO_TARGET_DIR"),
        )?;
        stamp.set()?;
    }
    Ok(tools.join("bin").join(name))
}

/// A Chromium that can run without a display.
pub(crate) fn chromium() -> Outcome<PathBuf> {
    let named = env::var_os("CHROMIUM").map(PathBuf::from);
    let usual = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    named.into_iter().chain(usual.map(PathBuf::from)).find(|path| path.is_file()).ok_or_else(|| {
        Failure::missing("Chromium", "apt-get install chromium (or name it in CHROMIUM)")
    })
}

/// Checks that the proxies are there which the suites put in front of a gateway.
pub(crate) fn proxies() -> Outcome {
    const NGINX_STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
    // Only root looks where Debian has most of them.
    let is_there =
        |program| shell::is_there(program) || Path::new("/usr/sbin").join(program).is_file();
    for (program, package) in [("nginx", "nginx-light"), ("haproxy", "haproxy"), ("caddy", "caddy")]
    {
        if !is_there(program) {
            return Err(Failure::missing(program, &format!("apt-get install {package}")));
        }
    }
    if !Path::new(NGINX_STREAM).is_file() {
        return Err(Failure::missing(NGINX_STREAM, "apt-get install libnginx-mod-stream"));
    }
    Ok(())
}

fn find_python27() -> Option<PathBuf> {
    if let Some(named) = env::var_os("PYTHON27") {
        return Some(named.into());
    }
    if shell::is_there("python2.7") && works(Path::new("python2.7")) {
        return Some("python2.7".into());
    }
    let pyenv = env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| Some(Path::new(&env::var_os("HOME")?).join(".pyenv")))?;
    let mut versions = fs::read_dir(pyenv.join("versions")).ok()?.flatten();
    versions
        .find(|version| version.file_name().to_string_lossy().starts_with("2.7."))
        .map(|version| version.path().join("bin/python"))
}

/// A name on the path may be a stand-in that only says that no such Python is chosen.
fn works(python: &Path) -> bool {
    Command::new(python).arg("-V").output().is_ok_and(|output| output.status.success())
}

fn clear(folder: &Path) -> Outcome {
    if folder.exists() {
        fs::remove_dir_all(folder).doing(folder.display())?;
    }
    Ok(())
}
