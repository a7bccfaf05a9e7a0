//! The first file system of the machine: a shell, the programs, and a script that runs one after the other.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cpio::newc;

use super::programs::{CAPABILITIES, Program};

/// Emulated processors are slow: this many seconds for one program.
const PATIENCE: u32 = 600;
/// How many times slower than others it is to be thought, `CORONET_TEST_SLOWNESS` of the tests.
const SLOWNESS: u32 = 10;
/// Half of the seconds without a step after which the kernel says of a processor that it is locked up. By default that
/// is 20 s: an emulator that is stopped for so long on a busy machine looks like it. This is the most that it takes.
const LOCKED_UP: u32 = 60;
const DIRECTORY: u32 = 0o040_755;
const PLAIN: u32 = 0o100_644;
const EXECUTABLE: u32 = 0o100_755;

/// Packs the image.
pub(super) fn pack(cache: &Path, shell: &Path, programs: &[Program]) -> Result<PathBuf, String> {
    let path = cache.join("initramfs.cpio");
    write(&path, shell, programs).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn write(path: &Path, shell: &Path, programs: &[Program]) -> io::Result<()> {
    let mut archive = io::BufWriter::new(fs::File::create(path)?);
    let mut number = 0;
    let mut add = |name: &str, mode: u32, bytes: &[u8]| -> io::Result<()> {
        number += 1;
        let size = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        let mut entry = newc::Builder::new(name).ino(number).mode(mode).write(&mut archive, size);
        entry.write_all(bytes)?;
        entry.finish().map(drop)
    };
    for directory in ["bin", "dev", "etc", "proc", "sys", "tests", "tmp"] {
        add(directory, DIRECTORY, &[])?;
    }
    add("bin/busybox", EXECUTABLE, &fs::read(shell)?)?;
    // Names are looked up in a file: nobody answers questions here.
    add("etc/hosts", PLAIN, b"127.0.0.1 localhost\n::1 localhost\n")?;
    add("etc/nsswitch.conf", PLAIN, b"hosts: files\n")?;
    add("init", EXECUTABLE, init(programs).as_bytes())?;
    for program in programs {
        add(&format!("tests/{}", program.name), EXECUTABLE, &fs::read(&program.path)?)?;
    }
    newc::trailer(&mut archive)?;
    archive.flush()
}

/// What the machine does, in the words that `verdict.rs` reads.
fn init(programs: &[Program]) -> String {
    let mut script = format!(
        "#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin RUST_BACKTRACE=0
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
ip link set lo up
ulimit -n 65536
echo {LOCKED_UP} > /proc/sys/kernel/watchdog_thresh
export CORONET_TEST_SLOWNESS={SLOWNESS}
echo
echo \"CORONET_TEST_SLOWNESS $CORONET_TEST_SLOWNESS\"
echo \"KERNEL $(uname -r)\"
"
    );
    for Program { name, .. } in programs {
        // One test at a time: no line of a console is torn, and each test has the processors for itself.
        let arguments = if name == CAPABILITIES { "" } else { " --nocapture --test-threads 1" };
        script += &format!(
            "echo \"PROGRAM {name}\"\ntimeout {PATIENCE} /tests/{name}{arguments} 2>&1\necho \"EXIT {name} $?\"\n"
        );
    }
    // What the kernel complained of is a failure of ours, too.
    script += "dmesg | grep -E 'WARNING:|BUG:|Oops|blocked for more than' | sed 's/^/COMPLAINT /'
echo END
reboot -f
";
    script
}
