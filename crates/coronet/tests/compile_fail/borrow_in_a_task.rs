//! A task owns what it uses: it may outlive the function that spawned it.

async fn count(bytes: &[u8]) -> usize {
    let task = coronet::spawn(async { bytes.len() });
    task.await.unwrap()
}

fn main() {}
