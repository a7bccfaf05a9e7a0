//! `cargo xtask kernels`: the tests on a kernel that is older than this machine's, in a virtual machine.
//!
//! The kernel is Debian's own package, the programs are this workspace's tests, linked statically, and
//! nothing else is in the machine but a shell. Three things fail: a test; a test that is skipped though the
//! kernel has what it needs; and a kernel that has more or fewer capabilities than `CORONET_MASK` hides when
//! it plays that kernel, because then every run of `cargo xtask masks` tests something else than it says.

mod machine;
mod image;
mod programs;
mod debian;
mod verdict;

use std::path::Path;
use std::time::Duration;

use clap::Args;

/// Which kernel, and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// The version of the kernel, as the names of Debian's packages begin.
    #[arg(long, default_value = "6.1")]
    kernel: String,
    /// Only test programs whose name contains one of these, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    only: Vec<String>,
    /// What continuous integration has time for: the ring on its own, and the programs that look at sockets,
    /// at cores and at what is left at the end.
    #[arg(long, conflicts_with = "only")]
    quick: bool,
    /// Minutes that the machine may run.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
}

/// Boots the kernel and runs the tests; true if nothing failed, and if there is nothing to boot with.
pub(crate) fn run(root: &Path, options: &Options) -> bool {
    if !machine::is_there() {
        println!("SKIP kernels: no qemu-system-x86_64 here (Debian: apt-get install qemu-system-x86)");
        return true;
    }
    match prepare_and_boot(root, options) {
        Ok(fine) => fine,
        Err(why) => {
            println!("kernels: {why}");
            false
        }
    }
}

/// The names of these programs begin so. All that look at what one kernel has and another has not are here.
const QUICK: [&str; 7] = [
    "coronet-blocked",
    "coronet-cores",
    "coronet-listener",
    "coronet-restricted",
    "coronet-tcp",
    "coronet-teardown",
    "ring-",
];

fn wanted(options: &Options, name: &str) -> bool {
    if options.quick {
        return QUICK.iter().any(|start| name.starts_with(start));
    }
    options.only.is_empty() || options.only.iter().any(|part| name.contains(part.as_str()))
}

fn prepare_and_boot(root: &Path, options: &Options) -> Result<bool, String> {
    let cache = root.join("target/kernels");
    std::fs::create_dir_all(&cache).map_err(|error| format!("{}: {error}", cache.display()))?;
    let fetched =
        debian::kernel(&cache, &options.kernel).and_then(|kernel| Ok((kernel, debian::shell(&cache)?)));
    let (kernel, shell) = match fetched {
        Ok(both) => both,
        Err(why) if options.quick => {
            println!("SKIP kernels: nothing to boot can be had here: {why}");
            return Ok(true);
        }
        Err(why) => return Err(why),
    };
    let mut programs = programs::build(root)?;
    programs.retain(|program| program.name == programs::CAPABILITIES || wanted(options, &program.name));
    println!("==> Linux {}, {} test programs", kernel.release, programs.len());
    let image = image::pack(&cache, &shell, &programs)?;
    let said = machine::boot(&kernel.image, &image, Duration::from_secs(60 * options.minutes))?;
    let log = cache.join(format!("{}.log", kernel.release));
    std::fs::write(&log, &said).map_err(|error| format!("{}: {error}", log.display()))?;
    let verdict = verdict::judge(&said, options.only.is_empty());
    print!("{}", verdict.text);
    println!("all that it said: {}", log.display());
    Ok(verdict.fine)
}
