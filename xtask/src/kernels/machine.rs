//! A virtual machine whose console is a text: it boots, speaks, and ends.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

const EMULATOR: &str = "qemu-system-x86_64";
/// Virtual machines inside of virtual machines may exist and not get anywhere: a real one is up in 2 s.
const KVM_BOOT: Duration = Duration::from_secs(20);
/// An emulated one needs 10 s on an idle machine.
const EMULATED_BOOT: Duration = Duration::from_secs(180);
const MEMORY: &str = "1024";

/// True if there is an emulator.
pub(super) fn is_there() -> bool {
    let version = Command::new(EMULATOR).arg("--version").stdout(Stdio::null()).status();
    version.is_ok_and(|status| status.success())
}

/// All that the machine says until it ends. With the processor's help, where that works.
pub(super) fn boot(kernel: &Path, image: &Path, limit: Duration) -> Result<String, String> {
    if Path::new("/dev/kvm").exists() {
        match speak(&["-accel", "kvm", "-cpu", "qemu64"], KVM_BOOT, kernel, image, limit) {
            Some(said) => return Ok(said),
            None => println!("KVM is there and boots nothing within {KVM_BOOT:?}: emulated"),
        }
    }
    let emulated = ["-accel", "tcg,thread=multi", "-cpu", "max"];
    speak(&emulated, EMULATED_BOOT, kernel, image, limit).ok_or_else(|| format!("{EMULATOR} boots nothing"))
}

/// `None` if the init of the machine never spoke.
fn speak(processor: &[&str], boot: Duration, kernel: &Path, image: &Path, limit: Duration) -> Option<String> {
    let mut command = Command::new(EMULATOR);
    command.args(processor).args(["-smp", "2", "-m", MEMORY, "-nographic", "-no-reboot", "-nic", "none"]);
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(image);
    command.args(["-append", "console=ttyS0 panic=-1 loglevel=4 quiet"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().ok()?;
    let lines = lines_of(child.stdout.take()?);
    let mut text = String::new();
    let (start, mut booted) = (Instant::now(), false);
    loop {
        let limit = if booted { limit } else { boot };
        match lines.recv_timeout(limit.saturating_sub(start.elapsed())) {
            Ok(line) => {
                booted |= line.starts_with("KERNEL ");
                if ["PROGRAM ", "CORONET_", "KERNEL "].iter().any(|start| line.starts_with(start))
                    || line.starts_with("test result: ")
                {
                    println!("{:5} s  {line}", start.elapsed().as_secs());
                }
                text.push_str(&line);
                text.push('\n');
            }
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    end(&mut child);
    booted.then_some(text)
}

fn end(child: &mut Child) {
    // It has ended by itself, unless time ran out.
    let _ = child.kill();
    let _ = child.wait();
}

/// Its lines as they come, so that waiting for one can have an end.
fn lines_of(console: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
