//! A kernel and a shell out of Debian's packages: downloaded once, unpacked, never installed.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A kernel to boot.
pub(super) struct Kernel {
    pub(super) release: String,
    pub(super) image: PathBuf,
}

/// The newest packaged kernel whose version begins with `version`, for clouds: with few drivers.
pub(super) fn kernel(cache: &Path, version: &str) -> Result<Kernel, String> {
    let directory = cache.join(version);
    if unpacked(&directory.join("boot"), "vmlinuz-").is_none() {
        let package =
            newest(version, &output("apt-cache", &["pkgnames", &format!("linux-image-{version}.")])?)
                .ok_or_else(|| format!("no package linux-image-{version}.*-cloud-amd64 (apt-get update?)"))?;
        unpack(&package, &directory)?;
    }
    let image = unpacked(&directory.join("boot"), "vmlinuz-").ok_or("the package holds no kernel")?;
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    Ok(Kernel { release: name.trim_start_matches("vmlinuz-").to_owned(), image: image.clone() })
}

/// A shell in one static file.
pub(super) fn shell(cache: &Path) -> Result<PathBuf, String> {
    let directory = cache.join("shell");
    let shell = directory.join("bin/busybox");
    if !shell.exists() {
        unpack("busybox-static", &directory)?;
    }
    Ok(shell)
}

/// The newest of the packages' names, by the numbers in them.
fn newest(version: &str, names: &str) -> Option<String> {
    let start = format!("linux-image-{version}.");
    let fit = names.lines().filter(|name| name.starts_with(&start) && name.ends_with("-cloud-amd64"));
    fit.max_by_key(|name| numbers(name)).map(str::to_owned)
}

fn numbers(name: &str) -> Vec<u64> {
    name.split(|letter: char| !letter.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

fn unpacked(directory: &Path, prefix: &str) -> Option<PathBuf> {
    let entries = std::fs::read_dir(directory).ok()?.flatten();
    let mut fit = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
    fit.next().map(|entry| entry.path())
}

fn unpack(package: &str, to: &Path) -> Result<(), String> {
    println!("==> apt-get download {package}");
    std::fs::create_dir_all(to).map_err(|error| format!("{}: {error}", to.display()))?;
    let mut download = Command::new("apt-get");
    succeed(download.args(["download", "-q", package]).current_dir(to))?;
    let archive = unpacked(to, &format!("{package}_")).ok_or(format!("apt-get brought no {package}"))?;
    succeed(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(to))?;
    std::fs::remove_file(&archive).map_err(|error| format!("{}: {error}", archive.display()))
}

fn output(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("cannot start `{program}`: {error}"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn succeed(command: &mut Command) -> Result<(), String> {
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{command:?}: {status}")),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The trap: as texts, 9 is newer than 56.
    #[test]
    fn the_newest_kernel_is_that_of_the_highest_number() {
        let names = "linux-image-6.1.0-9-cloud-amd64\nlinux-image-6.1.0-56-cloud-amd64\n\
                     linux-image-6.1.0-56-cloud-amd64-unsigned\nlinux-image-6.1.0-57-rt-amd64\n\
                     linux-image-6.12.117+deb12-cloud-amd64";
        assert_eq!(newest("6.1", names).as_deref(), Some("linux-image-6.1.0-56-cloud-amd64"));
        assert_eq!(newest("6.12", names).as_deref(), Some("linux-image-6.12.117+deb12-cloud-amd64"));
        assert_eq!(newest("5.15", names), None);
    }
}
