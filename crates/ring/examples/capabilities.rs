//! What the kernel below can do, one fact per line: for programs that compare kernels.
//!
//! Run it: `cargo run -p coronet-ring --example capabilities`. You should see a line `backend ...`,
//! and a line `capability NAME SINCE yes|no` for each of [`Capabilities`](coronet_ring::Capabilities).

fn main() -> std::io::Result<()> {
    let driver = coronet_ring::Driver::new(coronet_ring::Config::default())?;
    let report = driver.report();
    println!("backend {report}");
    for capability in report.capabilities.each() {
        let (major, minor) = capability.since;
        let there = if capability.there { "yes" } else { "no" };
        println!("capability {} {major}.{minor} {there}", capability.name);
    }
    Ok(())
}
